"""Checksums of a checkpoint: SHA-256 of its files, written before the commit and compared before a read.

Orbax writes a checkpoint under a temporary name and commits it by a rename (on cloud storage by a last small file). The
sums are written just before that, so every committed checkpoint has them. `SHA256SUMS` is in sha256sum's format:
``cd checkpoints/150 && sha256sum --check SHA256SUMS``.
"""

from __future__ import annotations

import asyncio
import hashlib

from etils import epath
from orbax.checkpoint import path as ocp_path

SUMS = "SHA256SUMS"
_METADATA = "_CHECKPOINT_METADATA"
_BLOCK_BYTES = 2**20


def _digest(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: epath.Path) -> list[epath.Path]:
    """The files of a checkpoint's items, at any depth; the others are Orbax's own and still change."""
    found, folders = [], [path for path in folder.iterdir() if path.is_dir()]
    while folders:
        for path in folders.pop().iterdir():
            (folders if path.is_dir() else found).append(path)
    return sorted(found)


def write_checksums(folder: epath.Path) -> None:
    """Writes the sums of a checkpoint's files into its folder."""
    lines = [f"{_digest(path)}  {path.relative_to(folder)}\n" for path in _files(folder)]
    (folder / SUMS).write_text("".join(lines))


def find_damage(folder: epath.Path) -> str | None:
    """What is wrong with the files in a checkpoint's folder: one line that names the invalid file, or None."""
    if not (folder / SUMS).exists():
        return f"{SUMS} is missing"
    for line in (folder / SUMS).read_text().splitlines():
        expected, _, name = line.partition("  ")
        if not name or not (folder / name).exists():
            return f"{name or SUMS} is missing or truncated"
        if _digest(folder / name) != expected:
            return f"{name} has changed since it was written"
    return None


class _WithChecksums(ocp_path.atomicity.TemporaryPathBase):
    """Writes the sums just before a temporary checkpoint is committed; runs on process 0 only."""

    async def finalize(self) -> None:
        # A checkpoint's items are finalized this way too; only the checkpoint itself has this metadata file.
        if (self.get() / _METADATA).exists():
            await asyncio.to_thread(write_checksums, self.get())
        await super().finalize()


class _RenamedCheckpoint(_WithChecksums, ocp_path.atomicity.AtomicRenameTemporaryPath):
    pass


class _CommittedCheckpoint(_WithChecksums, ocp_path.atomicity.CommitFileTemporaryPath):
    pass


def checkpoint_path_class(directory: epath.Path) -> type[ocp_path.atomicity.TemporaryPathBase]:
    """How Orbax commits checkpoints in a directory: its own way for the directory's storage, with checksums."""
    own = ocp_path.atomicity_defaults.get_default_temporary_path_class(directory)
    renames = own is ocp_path.atomicity.AtomicRenameTemporaryPath
    return _RenamedCheckpoint if renames else _CommittedCheckpoint
