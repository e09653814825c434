"""The content check of a checkpoint: SHA-256 of its files, written before the commit and compared before a read.

Orbax writes a checkpoint beside its final name and commits it by a rename (on cloud storage by a last small file). The
sums are written just before, so that every checkpoint that counts has them. They lie in `SHA256SUMS` in the form of the
command of that name: ``cd checkpoints/150 && sha256sum --check SHA256SUMS``.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

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
    """The files of a checkpoint's items, at any depth; those beside the items are Orbax's own and still change."""
    found, folders = [], [path for path in folder.iterdir() if path.is_dir()]
    while folders:
        for path in folders.pop().iterdir():
            (folders if path.is_dir() else found).append(path)
    return sorted(found)


def write_checksums(folder: epath.Path) -> None:
    """Writes the sums of a checkpoint's files into the folder of the checkpoint."""
    lines = [f"{_digest(path)}  {path.relative_to(folder)}\n" for path in _files(folder)]
    (folder / SUMS).write_text("".join(lines))


def find_damage(folder: epath.Path) -> str | None:
    """What is wrong with a checkpoint's files, or None.

    Args:
      folder: of the checkpoint.

    Returns:
      One line that names the file at fault.
    """
    if not (folder / SUMS).exists():
        return f"{SUMS} is missing"
    for line in (folder / SUMS).read_text().splitlines():
        expected, _, name = line.partition("  ")
        if not name or not (folder / name).exists():
            return f"{name or SUMS} is missing or cut short"
        if _digest(folder / name) != expected:
            return f"{name} is not as it was written"
    return None


class _WithChecksums:
    """Adds the sums as the last thing before a temporary checkpoint becomes a real one; on process 0 alone."""

    async def finalize(self: Any) -> None:
        # The items of a checkpoint are made in the same way before it; the whole alone has metadata of its own.
        if (self.get() / _METADATA).exists():
            await asyncio.to_thread(write_checksums, self.get())
        await super().finalize()


class _RenamedCheckpoint(_WithChecksums, ocp_path.atomicity.AtomicRenameTemporaryPath):
    pass


class _CommittedCheckpoint(_WithChecksums, ocp_path.atomicity.CommitFileTemporaryPath):
    pass


def checkpoint_path_class(directory: epath.Path) -> type[ocp_path.atomicity.TemporaryPathBase]:
    """How Orbax is to commit checkpoints in a directory: as it would by itself, with checksums."""
    own = ocp_path.atomicity_defaults.get_default_temporary_path_class(directory)
    renames = own is ocp_path.atomicity.AtomicRenameTemporaryPath
    return _RenamedCheckpoint if renames else _CommittedCheckpoint
