"""A full disk: recognised, and reported in one line that later errors of the same kind do not hide."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Generator

from etils import epath

from musclemap_jax.errors import UserError

FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded"}
"""Error numbers of a full disk, and their texts, by which libraries report them."""


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk is full."""
    return getattr(error, "errno", None) in FULL or any(text in str(error) for text in FULL.values())


@contextlib.contextmanager
def full_disk_is_user_error(folder: epath.PathLike) -> Generator[None]:
    """Turns an error of a full disk, raised in the block, into one sentence.

    When a save fails, closing the other files fails too; then the error of the save is raised.

    Args:
      folder: What the block writes to.

    Raises:
      UserError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        first: BaseException | None = error
        while first is not None:
            if isinstance(first, UserError):
                raise first from None
            first = first.__context__
        raise UserError(
            f"{folder}: the disk is full: free some space and run the same command to resume from the newest checkpoint"
        ) from error
