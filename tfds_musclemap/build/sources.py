"""The raw files that prepared data was made of: the list of them next to the data, and which have changed since.

As in Git's index, a file of the same size and modification time is unchanged, and where only the time differs, the
content's hash decides. So comparing costs a look at each file, and a raw data set that was copied or rendered again is
not taken for another one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from etils import epath

from musclemap_jax.data.modalities import stored_modalities
from musclemap_jax.data.modalities.modality import ClipSettings, RawClip
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import LinkError, check_file
from musclemap_jax.storage.csv_files import read_csv, write_csv
from musclemap_jax.storage.files import is_remote

SOURCES = "sources.csv"
SOURCES_COLUMNS = ("clip_id", "file", "size", "mtime_ns", "sha256")

UNREADABLE = "unreadable"

_REMOTE_THREADS = 32
"""Questions to an object store at a time; each takes tens of milliseconds."""


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A raw file as a build found it.

    Attributes:
      name: Its path in the raw data set.
      size: In bytes.
      mtime_ns: Time of its last modification in nanoseconds; on object stores, whole seconds.
      sha256: Hash of the content; `UNREADABLE` if the build could not read it, empty if it did not come to it.
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str = ""


Sources = dict[str, list[SourceFile]]
"""Clip id -> its files."""


@dataclasses.dataclass
class FileChanges:
    """Names of raw files that were changed, added and removed since a build."""

    changed: list[str] = dataclasses.field(default_factory=list)
    added: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)


def find_sources(root: str | os.PathLike, clip_id: str, settings: ClipSettings) -> list[SourceFile]:
    """Those of a clip's raw files that exist and that a build with these settings reads, without their hashes."""
    root = os.fspath(root)
    look = functools.cache(lambda name: _look(root, name))
    is_there = look if is_remote(root) else lambda name: os.path.lexists(os.path.join(root, name))
    clip = RawClip(Path(), clip_id)
    paths = raw_dataset.find_videos("", clip_id, is_there)
    paths += [path for modality in stored_modalities(settings) for path in modality.raw_files(clip)]
    found = (look(path.as_posix()) for path in paths)
    return [source for source in found if source]


def with_hash(root: Path, source: SourceFile) -> SourceFile:
    """The source with the hash of the file in a local folder, `UNREADABLE` if the rule on links or the disk forbids."""
    path = root / source.name
    try:
        check_file(root, path)
        return dataclasses.replace(source, sha256=_sha256(epath.Path(path)))
    except (LinkError, OSError):
        return dataclasses.replace(source, sha256=UNREADABLE)


def write_sources(folder: epath.PathLike, sources: Sources) -> None:
    """Writes ``sources.csv`` into the folder of the prepared data, in the order of the clips."""
    rows = (
        (clip_id, source.name, source.size, source.mtime_ns, source.sha256)
        for clip_id, files in sources.items()
        for source in files
    )
    write_csv(epath.Path(folder) / SOURCES, SOURCES_COLUMNS, rows)


def read_sources(folder: epath.PathLike) -> Sources:
    """``sources.csv`` of prepared data."""
    sources: Sources = {}
    for row in read_csv((epath.Path(folder) / SOURCES).read_text(encoding="utf-8")):
        source = SourceFile(row["file"], int(row["size"]), int(row["mtime_ns"]), row["sha256"])
        sources.setdefault(row["clip_id"], []).append(source)
    return sources


def compare_sources(
    root: str | os.PathLike, clip_ids: Sequence[str], settings: ClipSettings, before: Mapping[str, Sequence[SourceFile]]
) -> tuple[FileChanges, Sources]:
    """What has changed in the files of these clips, and the files as they are, with hashes where nothing changed."""
    changes = FileChanges()
    now: Sources = {}
    for clip_id, found in zip(clip_ids, _look_at_all(root, clip_ids, settings), strict=True):
        known = {source.name: source for source in before.get(clip_id, ())}
        files = [_known_hash(root, source, known.get(source.name)) for source in found]
        if files:
            now[clip_id] = files
        changes.removed += sorted(known.keys() - {source.name for source in files})
        for source in files:
            if source.name not in known:
                changes.added.append(source.name)
            elif (source.size, source.sha256) != (known[source.name].size, known[source.name].sha256):
                changes.changed.append(source.name)
    return changes, now


def _look_at_all(
    root: str | os.PathLike, clip_ids: Sequence[str], settings: ClipSettings
) -> Iterable[list[SourceFile]]:
    if not is_remote(root):
        return (find_sources(root, clip_id, settings) for clip_id in clip_ids)
    with ThreadPoolExecutor(_REMOTE_THREADS) as threads:
        return list(threads.map(lambda clip_id: find_sources(root, clip_id, settings), clip_ids))


def _look(root: str, name: str) -> SourceFile | None:
    """A file's size and time; None if there is no regular file to read."""
    try:
        if is_remote(root):
            found = (epath.Path(root) / name).stat()
            return SourceFile(name, found.length, found.mtime * 10**9)
        status = os.stat(os.path.join(root, name))
    except OSError:
        return None
    return SourceFile(name, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _known_hash(root: str | os.PathLike, source: SourceFile, known: SourceFile | None) -> SourceFile:
    """The source with its hash, unless it is new or of another size; the file is read if its time differs."""
    if known is None or source.size != known.size:
        return source
    if known.sha256 == UNREADABLE and not is_remote(root):
        return with_hash(Path(root), source)
    if source.mtime_ns == known.mtime_ns:
        return known
    with contextlib.suppress(OSError):
        return dataclasses.replace(source, sha256=_sha256(epath.Path(root) / source.name))
    return source


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
