"""CSV files, as everything in the project writes them: UTF-8, commas, Unix line ends, and no cell that is a formula.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@``, and names of clips and activities come from
anybody. Such a text is written with an apostrophe in front, which `read_csv` takes away; numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TextIO

from etils import epath

from musclemap_jax.storage.files import replace_text

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""With the apostrophes of a text that has some already, so that reading takes away exactly what writing added."""


def write_csv(path: epath.PathLike, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Writes a header and rows in a folder that exists, local or on cloud storage; replaces a file in one step.

    Raises ValueError, and writes nothing, if a row's length differs from the header's.
    """

    def checked() -> Iterable[Sequence[object]]:
        for number, row in enumerate(rows, start=1):
            if len(row) != len(header):
                raise ValueError(f"{path}, row {number}: expected {len(header)} values, got {len(row)}")
            yield row

    text = io.StringIO(newline="")
    write_rows(text, [header])
    write_rows(text, checked())
    replace_text(epath.Path(path), text.getvalue())


def write_rows(file: TextIO, rows: Iterable[Sequence[object]]) -> None:
    """Writes rows to a text file that was opened with ``newline=""``."""
    minimal, quoted = (csv.writer(file, quoting=q, lineterminator="\n") for q in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for row in rows:
        # Readers take a bare carriage return for the end of a row, and csv does not quote it.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (quoted if has_return else minimal).writerow([escape_formula(cell) for cell in row])


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows of a file of `write_csv` by column, with the texts that were given.

    Raises ValueError if the text is no CSV, or a row's length differs from the header's.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header, *rows = [[unescape_formula(cell) for cell in row] for row in reader] or [[]]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: expected comma-separated values: {error}") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number}: expected {len(header)} values, got {len(row)}")
    return [dict(zip(header, row, strict=True)) for row in rows]


def escape_formula(cell: object) -> object:
    """The cell, or with an apostrophe in front if it is a text that a spreadsheet would run."""
    is_formula = isinstance(cell, str) and _FORMULA.match(cell) and not _is_number(cell)
    return f"'{cell}" if is_formula else cell


def unescape_formula(cell: str) -> str:
    """The inverse of `escape_formula` on texts."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
