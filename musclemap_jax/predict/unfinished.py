"""Files and folders that are being written, and what a killed process left of them.

They are hidden, beside what they become, and their owner holds a lock that ends with its process:

    .<name>.<token>.unfinished    becomes <name> when it is complete
    .<name>.<token>.replaced      an old folder of that name, which is about to be deleted
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Generator
from pathlib import Path

from musclemap_jax.storage.files import UNFINISHED

REPLACED = ".replaced"
_NAME = re.compile(rf"\.(?P<target>.+)\.[0-9a-f]{{32}}({UNFINISHED}|{REPLACED})", re.DOTALL)


@contextlib.contextmanager
def unfinished(target: Path, make: Callable[[Path], None]) -> Generator[Path]:
    """A new path beside the target, which belongs to this process until the block ends.

    Args:
      target: What it is going to be; moving it there, or removing it, is up to the caller.
      make: Makes it: `Path.mkdir` or `Path.touch`.
    """
    new = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    make(new)
    descriptor = os.open(new, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # without locks, nothing is ever taken for abandoned
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # It has its lock before it has the name by which others look for it.
        yield new.rename(new.with_name(new.name + UNFINISHED))
    finally:
        os.close(descriptor)


def replace_folder(new: Path, target: Path) -> None:
    """Moves an unfinished folder to the target; if that fails, an existing target stays."""
    if not target.exists():
        new.rename(target)
        return
    old = new.with_suffix(REPLACED)
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Removes what killed processes left in a folder: the unfinished files and folders whose lock nobody holds.

    What this user may not read or remove stays.
    """
    try:
        names = sorted(os.listdir(folder), reverse=True)  # an unfinished folder before the old one that it replaces
    except OSError:
        return
    for name in names:
        match, path = _NAME.fullmatch(name), folder / name
        if match and not path.is_symlink():
            with contextlib.suppress(OSError):
                _remove_if_abandoned(path, folder / match["target"])


def _remove_if_abandoned(path: Path, target: Path) -> None:
    if path.suffix == REPLACED:
        if not path.with_suffix(UNFINISHED).exists():
            shutil.rmtree(path)
    elif _is_abandoned(path):
        if path.with_suffix(REPLACED).exists():  # killed between the two steps of `replace_folder`
            path.rename(target)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_abandoned(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
