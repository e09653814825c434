"""The video files that a command is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from musclemap_jax.errors import UserError
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.outputs import MUSCLES_JSON

VIDEO_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})  # fmt: skip
"""Extensions by which a folder's videos are known. A file that is named itself may have any."""

_HEAD_BYTES = 16


def find_videos(arguments: Sequence[str | os.PathLike]) -> list[Path]:
    """The videos among files and folders, each once, in the order given and in a folder by name.

    Args:
      arguments: Files, taken as they are, and folders, whose videos are taken: files with an extension in
        VIDEO_SUFFIXES, and files without any that begin like a video. Hidden files and subfolders are left out.

    Raises:
      UserError: No such file, or a folder without videos.
    """
    videos: dict[str, Path] = {}
    for path in map(Path, arguments):
        try:
            exists = path.exists()
        except OSError as error:  # such as a name that is too long, or a folder that may not be searched
            raise UserError(f"{shown(path)}: {error.strerror}") from error
        if not exists:
            raise UserError(f"{shown(path)}: no such file or folder")
        for video in _videos_of_folder(path) if path.is_dir() else [path]:
            videos.setdefault(os.path.abspath(video), video)
    return list(videos.values())


def videos_below(folder: Path) -> Iterator[Path]:
    """Yields the videos of a folder and its subfolders, by name within each.

    Left out are hidden files and folders, links to folders, and folders of results with the videos drawn there.
    """
    for path in _entries(folder):
        if path.is_dir():
            if path.is_symlink() or (path / MUSCLES_JSON).exists():
                continue
            yield from videos_below(path)
        elif _is_video(path):
            yield path


def _videos_of_folder(folder: Path) -> list[Path]:
    videos = [path for path in _entries(folder) if _is_video(path)]
    if not videos:
        raise UserError(f"{shown(folder)}: expected videos (.mp4, .mov, .mkv and others), found none in the folder")
    return videos


def _entries(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, by name."""
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=os.fsencode)
    except OSError as error:
        raise UserError(f"{shown(folder)}: cannot be read: {error.strerror}") from error


def _is_video(path: Path) -> bool:
    """Whether a file is taken for a video by its name or, if that has no extension, by its first bytes."""
    if not path.is_file():
        return False
    if path.suffix:
        return path.suffix.lower() in VIDEO_SUFFIXES
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return (
        head[4:8] == b"ftyp"  # MP4, QuickTime
        or head.startswith((b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba"))  # Matroska, Flash, MPEG
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
    )
