"""Which code a process runs."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import musclemap_jax

_TIMEOUT_S = 10


@functools.cache  # as it was when the process first asked: a commit while a run trains does not change its code
def code_version(folder: Path = Path(musclemap_jax.__file__).parents[1]) -> str:
    """The commit of the git checkout in a folder, by default the package's, such as "commit 57d9a3d, changed".

    The version of the package if the folder is not the top of a checkout, or git does not answer.
    """
    try:
        top, commit = _git(folder, "rev-parse", "--show-toplevel", "--short", "HEAD").split("\n")
        if Path(top).resolve() == folder.resolve():
            changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
            return f"commit {commit}{', changed' if changed else ''}"
    except (OSError, ValueError, subprocess.SubprocessError):
        pass
    return f"version {musclemap_jax.__version__}"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S).stdout.strip()
