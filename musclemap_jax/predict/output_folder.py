"""The folder of one video's results: it appears when it is complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path

from musclemap_jax.errors import UserError
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.outputs import MUSCLES_JSON
from musclemap_jax.predict.unfinished import replace_folder, unfinished

_REFUSALS = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EEXIST, errno.ENOTEMPTY,
})  # fmt: skip


_RESULT = re.compile(r"muscles\.(json|csv)|report(_person[0-9]+)?\.html|annotated(_person[0-9]+)?\.mp4")
"""Names of the files of a folder of results."""


class OutputError(UserError):
    """Results cannot be written; other results would fail as well."""


def check_results(target: Path) -> None:
    """Refuses a path that exists and is not a folder of results.

    Raises:
      OutputError: It is something else.
    """
    if os.path.lexists(target) and (target.is_symlink() or not (target / MUSCLES_JSON).is_file()):
        raise OutputError(f"{shown(target)}: exists and is not a folder of results: choose another --out")


def check_replaceable(target: Path) -> None:
    """Refuses to replace a path unless it is a folder of results and of nothing else.

    Raises:
      OutputError: It is something else, or holds other files too.
    """
    check_results(target)
    others = sorted(path.name for path in target.glob("*") if not _RESULT.fullmatch(path.name))
    if others:
        raise OutputError(
            f"{shown(target)}: holds other files beside the results, such as {shown(others[0])}: move them elsewhere "
            "or choose another --out"
        )


@contextlib.contextmanager
def results_folder(target: Path) -> Generator[Path]:
    """A folder to write into, which becomes the target when the block ends; after an error or Ctrl-C nothing is left.

    Args:
      target: The folder of the results; an existing one is replaced.

    Raises:
      OutputError: The disk is full or does not allow writing.
    """
    folder, created = None, _make_parents(target)
    try:
        with disk_errors_are_output_errors(target), unfinished(target, Path.mkdir) as folder:
            yield folder
            replace_folder(folder, target)
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # a folder that holds other results by now
            for folder in created:
                folder.rmdir()
        raise


@contextlib.contextmanager
def disk_errors_are_output_errors(target: str | os.PathLike) -> Generator[None]:
    """Turns the system's refusal to write, such as that of a full disk, into an OutputError that names the target."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise _not_written(target, error) from error


def _make_parents(target: Path) -> list[Path]:
    """Makes the folders above the target that do not exist yet; returns them, the deepest first."""
    try:
        missing = [folder for folder in target.parents if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(target, error) from error
    return missing


def _not_written(target: str | os.PathLike, error: OSError) -> OutputError:
    return OutputError(
        f"{shown(target)}: the results could not be written: {error.strerror}: free some space or choose another --out"
    )
