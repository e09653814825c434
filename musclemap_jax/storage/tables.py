"""Tables that people make: CSV files as spreadsheets and hands write them, of which `csv_files` reads only its own."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from musclemap_jax.errors import UserError
from musclemap_jax.storage.csv_files import unescape_formula
from musclemap_jax.storage.regular_file import check_regular_file

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What may separate the fields of a table that is read, and its name in errors; the comma is tried first."""


class TableRow(NamedTuple):
    """A row of a table: where it is, such as ``/path/annotations.csv, line 7``, and {column: text without margins}."""

    place: str
    values: dict[str, str]


def read_table(path: Path, columns: Sequence[str], advice: str = "") -> list[TableRow]:
    """Reads the rows of a CSV file that a person may have made, and that must have certain columns.

    Fields are separated by commas, semicolons or tabs; rows without any text are skipped; names of columns are compared
    without case, and a space or hyphen in them is an underscore; columns may have any order, and others are ignored.

    Args:
      path: The file, UTF-8.
      columns: Names of the columns, in lower case with underscores.
      advice: Added to the error of a row with too many or too few fields.

    Raises:
      FileNotFoundError: No such file.
      UserError: Another error, with the file, its line and the fix.
    """
    text = _read_text(path)
    delimiter = _delimiter(text, columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    rows = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            place = f"{path}, line {reader.line_num}"
            if header is None:
                header = [_column(field) for field in fields]
                _check_header(place, header, columns)
                continue
            if len(fields) != len(header):
                raise UserError(
                    f"{place}: expected {len(header)} fields, got {len(fields)}: quote fields that hold "
                    f"{DELIMITERS[delimiter]}{advice}"
                )
            row = dict(zip(header, fields, strict=True))
            rows.append(TableRow(place, {name: unescape_formula(row[name].strip()) for name in columns}))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: expected comma-separated values: {error}") from error
    if header is None:
        _check_header(f"{path}, line 1", [], columns)
    return rows


def _read_text(path: Path) -> str:
    try:
        check_regular_file(path)
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: expected a readable file: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: expected UTF-8 text, {error.reason}: save the file as UTF-8") from error


def _delimiter(text: str, columns: Sequence[str]) -> str:
    """The delimiter that gives the first line with text all of the columns; the comma if none does."""
    header = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
    for delimiter in DELIMITERS:
        if set(columns) <= {_column(field.strip('"')) for field in header.split(delimiter)}:
            return delimiter
    return ","


def _column(field: str) -> str:
    return re.sub(r"[\s_-]+", "_", field.strip().casefold())


def _check_header(place: str, header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        raise UserError(
            f"{place}: expected the columns {','.join(columns)}, got {','.join(header) or 'none'}: "
            f"add {','.join(missing)}"
        )
    repeated = sorted({name for name in columns if list(header).count(name) > 1})
    if repeated:
        raise UserError(f"{place}: expected each column once, got {','.join(repeated)} more than once: remove one")
