"""The manifest of a raw data set: its labels, its skeletons, and where its links may lead.

    raw_dataset.json   optional, as is each of its fields: {
                         "name": "MuscleMap", "video_root": "/data/videos", "skeleton_layout": "coco17",
                         "regions": ["left arm", "right arm"], "allow_background": true}

Links: a clip's file is read if, with all links followed, it is a regular file below the raw data set's folder or below
``video_root``, the one other folder that the manifest may name. For a link to anywhere else, a dangling link, a pipe or
a device, the clip is rejected. The same rule holds for the annotations; the manifest itself must be below the raw data
set's folder. So a folder of links, such as the importer makes for a release that stays where it is, can be read, while
a raw data set from a stranger cannot use a link to read other files of this machine unless its manifest says so openly.
Moving the videos means changing one line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import LAYOUTS
from musclemap_jax.storage.json_files import unique_keys
from musclemap_jax.taxonomy import MUSCLE_REGIONS, check_regions

MANIFEST = "raw_dataset.json"
MAX_MANIFEST_BYTES = 1 << 16


class LinkError(ValueError):
    """A file that does not exist or must not be read; the message is one line that says why."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Content of ``raw_dataset.json``; a raw data set without that file has the default values.

    Attributes:
      name: Name of the data set, such as ``MuscleMap``; may be empty.
      video_root: Absolute path of the one folder outside the raw data set that its links may lead to, if any.
      skeleton_layout: Joint order of the skeleton files; None where the manifest does not say.
      regions: Names of the K muscle regions, in the order of the indices in the annotations.
      allow_background: Whether clips may have no active region.
    """

    name: str = ""
    video_root: str | None = None
    skeleton_layout: str | None = None
    regions: tuple[str, ...] = MUSCLE_REGIONS
    allow_background: bool = False


def read_manifest(root: str | Path) -> Manifest:
    """Reads ``raw_dataset.json``; without it, the manifest is the default one. Raises UserError if it is invalid."""
    path = Path(root) / MANIFEST
    try:
        if os.path.lexists(path):
            target, inside = _target(Path(root), path)
            if not inside:
                raise LinkError(f"a link to {target}, outside the raw data set: copy the file")
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return Manifest()
    except LinkError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: expected a readable file: {error.strerror}") from error
    if len(data) > MAX_MANIFEST_BYTES:
        raise UserError(f"{path}: expected at most {MAX_MANIFEST_BYTES:,} bytes: remove what does not belong to it")
    try:
        content = json.loads(data, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON: {str(error)[:100]}") from error
    return _parse(path, content)


def write_manifest(root: str | Path, manifest: Manifest) -> None:
    """Writes ``raw_dataset.json`` without default values. Raises UserError if ``read_manifest`` would refuse it."""
    path = Path(root) / MANIFEST
    content = {name: value for name, value in vars(manifest).items() if value != getattr(Manifest, name)}
    _parse(path, content)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check_file(root: str | Path, path: str | Path) -> None:
    """Refuses a file, a path below the raw data set's folder, if it is absent or the rule on links forbids it.

    Raises:
      LinkError: The file is refused; the message does not name it, which is left to the caller.
      UserError: Invalid manifest.
    """
    target, inside = _target(Path(root), Path(path))
    if inside:
        return
    video_root = read_manifest(root).video_root
    if video_root is None:
        raise LinkError(
            f"a link to {target}, outside the raw data set: copy the file, or name its folder in {MANIFEST}: "
            f'{{"video_root": FOLDER}}'
        )
    if not target.is_relative_to(Path(video_root).resolve()):
        raise LinkError(f"a link to {target}, neither in the raw data set nor in {video_root} (video_root, {MANIFEST})")


def _target(root: Path, path: Path) -> tuple[Path, bool]:
    """The regular file that a path leads to, and whether it is below the folder. Raises LinkError."""
    try:
        target = path.resolve(strict=True)
        kind = target.stat().st_mode
        inside = target.is_relative_to(root.resolve(strict=True))
    except FileNotFoundError as error:
        raise LinkError("a dangling link" if path.is_symlink() else "no such file") from error
    except RuntimeError as error:  # before Python 3.13: links in a circle
        raise LinkError("a circle of links") from error
    except (OSError, ValueError) as error:
        raise LinkError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(kind):
        raise LinkError("expected a regular file, got something else")
    return target, inside


def _parse(path: Path, content: Any) -> Manifest:
    fields = [field.name for field in dataclasses.fields(Manifest)]
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected an object with {', '.join(fields)}, got {type(content).__name__}")
    values = {}
    for name, value in content.items():
        if name not in fields:
            raise UserError(f"{path}: expected the fields {', '.join(fields)}, got {name[:50]!r}")
        if value not in (None, ""):
            values[name] = _PARSERS.get(name, _text)(f"{path}, field {name}", value)
    return Manifest(**values)


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where}: expected text, got {type(value).__name__}")
    return value


def _bool(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{where}: expected true or false, got {type(value).__name__}")
    return value


def _layout(where: str, value: Any) -> str:
    if _text(where, value) not in LAYOUTS:
        raise UserError(f"{where}: expected one of {', '.join(LAYOUTS)}, got {value[:50]!r}")
    return value


def _folder(where: str, value: Any) -> str:
    folder = Path(_text(where, value))
    if not folder.is_absolute() or folder == folder.parent or "\x00" in value:
        raise UserError(
            f"{where}: expected the absolute path of a folder below the root, got {value!r}: name the folder that "
            "holds the videos"
        )
    return value


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "video_root": _folder,
    "skeleton_layout": _layout,
    "regions": check_regions,
    "allow_background": _bool,
}
"""How a field's value is checked; text where it is not said. The first argument names the field in errors."""
