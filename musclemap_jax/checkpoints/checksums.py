"""Checksums of a checkpoint: SHA-256 of its files, written before the commit and compared before a read.

Orbax writes a checkpoint under a temporary name and commits it by a rename (on cloud storage by a last small file). The
sums are written just before that, so every committed checkpoint has them, and all files are on the disk before the
rename is. `SHA256SUMS` is in sha256sum's format: ``cd checkpoints/150 && sha256sum --check SHA256SUMS``.
"""

from __future__ import annotations

import asyncio
import hashlib
import re

from etils import epath
from orbax.checkpoint import path as ocp_path

from musclemap_jax.storage.files import is_remote, replace_text, sync_to_disk

SUMS = "SHA256SUMS"
_METADATA = "_CHECKPOINT_METADATA"
_BLOCK_BYTES = 2**20
_LINE = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<name>.+)")
_MAX_SHOWN = 100


def _digest(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: epath.Path) -> dict[str, epath.Path]:
    """Name -> path of the files of a checkpoint's items, at any depth; the others are Orbax's own and still change."""
    found, folders = [], [path for path in folder.iterdir() if path.is_dir()]
    while folders:
        for path in folders.pop().iterdir():
            (folders if path.is_dir() else found).append(path)
    return {path.relative_to(folder).as_posix(): path for path in sorted(found)}


def write_checksums(folder: epath.Path) -> None:
    """Writes the sums of a checkpoint's files into its folder; then all of them are on the disk."""
    files = _files(folder)
    replace_text(folder / SUMS, "".join(f"{_digest(path)}  {name}\n" for name, path in files.items()))
    for path in (*files.values(), *{path.parent for path in files.values()}):
        sync_to_disk(path)


def find_damage(folder: epath.Path) -> str | None:
    """What is wrong with the files in a checkpoint's folder: one line that names the invalid file, or None."""
    if not (folder / SUMS).exists():
        return f"{SUMS} is missing"
    files, listed = _files(folder), _listed((folder / SUMS).read_bytes())
    if not listed:
        return f"{SUMS} is empty or damaged"
    for name, expected in listed.items():
        # A name that leads out of the folder is no file of the checkpoint, whatever it leads to.
        if name not in files:
            return f"{name[:_MAX_SHOWN]} is missing, or {SUMS} is damaged"
        if _digest(files[name]) != expected:
            return f"{name} has changed since it was written"
    unlisted = [name for name in files if name not in listed and not _is_hidden(name)]
    return f"{unlisted[0]} has no checksum: {SUMS} is incomplete" if unlisted else None


def _listed(sums: bytes) -> dict[str, str]:
    """Name -> sum of each line; {} if any line is malformed."""
    lines = sums.decode(errors="replace").splitlines()
    matches = [_LINE.fullmatch(line) if line.isprintable() else None for line in lines]
    return {match["name"]: match["sum"] for match in matches if match} if all(matches) else {}


def _is_hidden(name: str) -> bool:
    """Whether a file is none of the checkpoint's, such as what a file browser or a network disk leaves in folders."""
    return name.rpartition("/")[2].startswith(".")


def _sync_commit(checkpoint: epath.Path) -> None:
    """Brings what the commit itself wrote to the disk: Orbax's own files, and the checkpoint's name."""
    if not is_remote(checkpoint):
        for path in (*checkpoint.iterdir(), checkpoint.parent):
            sync_to_disk(path)


class _WithChecksums(ocp_path.atomicity.TemporaryPathBase):
    """Writes the sums just before a temporary checkpoint is committed; runs on process 0 only."""

    async def finalize(self) -> None:
        # A checkpoint's items are finalized this way too; only the checkpoint itself has this metadata file.
        is_checkpoint = (self.get() / _METADATA).exists()
        if is_checkpoint:
            await asyncio.to_thread(write_checksums, self.get())
        await super().finalize()
        if is_checkpoint:
            await asyncio.to_thread(_sync_commit, self.get_final())


class _RenamedCheckpoint(_WithChecksums, ocp_path.atomicity.AtomicRenameTemporaryPath):
    pass


class _CommittedCheckpoint(_WithChecksums, ocp_path.atomicity.CommitFileTemporaryPath):
    pass


def checkpoint_path_class(directory: epath.Path) -> type[ocp_path.atomicity.TemporaryPathBase]:
    """How Orbax commits checkpoints in a directory: its own way for the directory's storage, with checksums."""
    own = ocp_path.atomicity_defaults.get_default_temporary_path_class(directory)
    renames = own is ocp_path.atomicity.AtomicRenameTemporaryPath
    return _RenamedCheckpoint if renames else _CommittedCheckpoint
