"""CSV files, as everything in the project writes them: UTF-8, commas, Unix line ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from etils import epath

from musclemap_jax.storage.files import replace_text


def write_csv(path: epath.PathLike, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Writes a header and rows in a folder that exists, local or on cloud storage; replaces a file in one step.

    Raises ValueError, and writes nothing, if a row's length differs from the header's.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"{path}, row {number}: expected {len(header)} values, got {len(row)}")
        writer.writerow(row)
    replace_text(epath.Path(path), text.getvalue())
