"""NumPy's npz files, read without pickle; a damaged one is a ValueError, whatever NumPy and zipfile make of it."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np


def read_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name.

    Raises:
      ValueError: The content is damaged, or holds something else.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return dict(stored)
    except (AttributeError, EOFError, KeyError, OSError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"no npz file: {error}") from error
