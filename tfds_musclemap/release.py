"""``release.json`` of a distribution: which release it is, and which folders outside it its links may lead to.

    {"name": "MuscleMap", "linked_folders": ["/data/musclemap_rescale"]}

The file may be absent: then the distribution is nobody's release, and its files lie in its own folder. A link to
anywhere else is refused, since a distribution that somebody hands out could name any file of this machine.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from musclemap_jax.errors import UserError

RELEASE = "release.json"
MUSCLEMAP = "MuscleMap"
"""Name of the authors' release."""


@dataclasses.dataclass(frozen=True)
class Release:
    """What ``release.json`` states.

    Attributes:
      name: of the release; empty where there is none.
      linked_folders: absolute paths.
    """

    name: str = ""
    linked_folders: tuple[str, ...] = ()


def read_release(root: str | Path) -> Release:
    """The release that a distribution's folder states to be.

    Raises:
      UserError: the file cannot be read or is not of this form.
    """
    path = Path(root) / RELEASE
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Release()
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected a JSON object: {' '.join(str(error).split())}") from error
    name, folders = (value.get("name", ""), value.get("linked_folders", [])) if isinstance(value, dict) else (None, [])
    if not isinstance(name, str):
        raise UserError(f"{path}: expected an object with name, a text, got {value!r:.80}")
    if not isinstance(folders, list) or not all(isinstance(each, str) and Path(each).is_absolute() for each in folders):
        raise UserError(f"{path}, linked_folders: expected a list of absolute paths, got {folders!r:.80}")
    return Release(name, tuple(folders))


def write_release(root: str | Path, release: Release) -> None:
    """Writes ``release.json``."""
    text = json.dumps({"name": release.name, "linked_folders": list(release.linked_folders)}, indent=1)
    (Path(root) / RELEASE).write_text(text + "\n", encoding="utf-8")


def leads_outside(root: Path, path: Path, linked_folders: tuple[str, ...]) -> bool:
    """Whether a file under the distribution's folder is, links followed, neither in it nor in a folder named."""
    real = path.resolve()
    return not any(real.is_relative_to(Path(folder).resolve()) for folder in (root, *linked_folders))
