"""Names of files as text, and names of folders that are made from them."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

_MAX_BYTES = 100
"""Longest name of a folder; file systems allow 255 bytes, of which suffixes take some."""


def shown(path: str | os.PathLike) -> str:
    """A path as one line of valid text: control characters and bytes that are not UTF-8 are escaped."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    """Text as one line: line ends and other characters that do not print are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def folder_name(path: str | os.PathLike) -> str:
    r"""A file's name without extension, safe as the name of a folder and on a command line.

    Characters other than letters, digits, spaces and `._-+()` become underscores; so does a dot or dash at the start.
    """
    stem = PurePath(path).stem
    name = unicodedata.normalize("NFC", os.fsencode(stem).decode("utf-8", "replace"))
    name = re.sub(r"[^\w ._+()-]|^[.-]|[. ]$", "_", name).strip()
    return name.encode()[:_MAX_BYTES].decode("utf-8", "ignore").strip() or "video"


def folder_names(paths: Sequence[Path]) -> list[str]:
    """Different names for different files, the same in any order and on any file system.

    Files of the same name, upper and lower case alike, get the start of a digest of their absolute paths as a suffix.
    """
    names = [folder_name(path) for path in paths]
    uses = Counter(name.casefold() for name in names)
    return [
        f"{name}-{digest(os.path.abspath(path))}" if uses[name.casefold()] > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]


def digest(name: str, length: int = 8) -> str:
    """The first hexadecimal digits of a digest of a name, whatever its bytes."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:length]
