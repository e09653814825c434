"""What a raw data set says of itself, and which files outside its folder its links may lead to.

    raw_dataset.json   optional: {"name": "MuscleMap", "video_root": "/data/videos", "skeleton_layout": "coco17"}

The rule on links: a clip's file counts when, all links followed, it is a regular file below the raw data set's folder
or below ``video_root``, the one folder that the manifest names. A link to anywhere else, a link to nothing, a pipe or a
device is a fault of that clip. So a folder of links, as the importer makes it of a release that stays where it is, can
be read, and a raw data set that a stranger packed cannot have other files of this machine read by a link, unless its
manifest says so openly. Moving the videos means changing one line.
"""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout

MANIFEST = "raw_dataset.json"
MAX_MANIFEST_BYTES = 1 << 16


class LinkError(ValueError):
    """A clip's file that is none, or lies outside of what the raw data set may read; one line that says why."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What ``raw_dataset.json`` holds; a raw data set without that file has the default values.

    Attributes:
      name: of the data set, such as ``MuscleMap``; empty if it has none.
      video_root: absolute path of the one folder outside the raw data set that its links may lead to; None for none.
      skeleton_layout: joint order of the skeleton files; None where the manifest does not say.
    """

    name: str = ""
    video_root: str | None = None
    skeleton_layout: str | None = None


def read_manifest(root: str | Path) -> Manifest:
    """Reads ``raw_dataset.json``.

    Args:
      root: the raw data set's folder.

    Returns:
      The manifest; the default one where there is no such file.

    Raises:
      UserError: the file cannot be read, or holds something else.
    """
    path = Path(root) / MANIFEST
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return Manifest()
    except OSError as error:
        raise UserError(f"{path}: expected a readable file: {error.strerror}") from error
    if len(data) > MAX_MANIFEST_BYTES:
        raise UserError(f"{path}: expected at most {MAX_MANIFEST_BYTES:,} bytes: remove what is no part of it")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON: {str(error)[:100]}") from error
    return _parse(path, content)


def write_manifest(root: str | Path, manifest: Manifest) -> None:
    """Writes ``raw_dataset.json``; fields that say nothing are left out.

    Raises:
      UserError: if ``read_manifest`` would refuse it.
    """
    path = Path(root) / MANIFEST
    content = {name: value for name, value in dataclasses.asdict(manifest).items() if value}
    _parse(path, content)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check_file(root: str | Path, path: str | Path) -> None:
    """Refuses a clip's file that is absent or, links followed, outside of what the raw data set may read.

    Args:
      root: the raw data set's folder.
      path: the file, by a path below that folder.

    Raises:
      LinkError: by the rule above; does not name the file, which the caller does.
      UserError: a faulty manifest.
    """
    root, path = Path(root), Path(path)
    try:
        target = path.resolve(strict=True)
        kind = target.stat().st_mode
        inside = target.is_relative_to(root.resolve(strict=True))
    except FileNotFoundError as error:
        raise LinkError("a link to nothing" if path.is_symlink() else "no such file") from error
    except RuntimeError as error:  # before Python 3.13: links in a circle
        raise LinkError("links that lead in a circle") from error
    except (OSError, ValueError) as error:
        raise LinkError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(kind):
        raise LinkError("expected a regular file, got something else")
    if inside:
        return
    video_root = read_manifest(root).video_root
    if video_root is None:
        raise LinkError(
            f"a link to {target}, out of the raw data set: copy the file, or name the folder in {MANIFEST}: "
            f'{{"video_root": FOLDER}}'
        )
    if not target.is_relative_to(Path(video_root).resolve()):
        raise LinkError(f"a link to {target}, neither in the raw data set nor in {video_root} (video_root, {MANIFEST})")


def _parse(path: Path, content: Any) -> Manifest:
    fields = [field.name for field in dataclasses.fields(Manifest)]
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected an object with {', '.join(fields)}, got {type(content).__name__}")
    for name, value in content.items():
        if name not in fields:
            raise UserError(f"{path}: expected the fields {', '.join(fields)}, got {name[:50]!r}")
        if value is not None and not isinstance(value, str):
            raise UserError(f"{path}, field {name}: expected text, got {type(value).__name__}")
    manifest = Manifest(**{name: value for name, value in content.items() if value})
    if manifest.skeleton_layout is not None:
        get_layout(manifest.skeleton_layout)
    if manifest.video_root is not None:
        folder = Path(manifest.video_root)
        if not folder.is_absolute() or folder == folder.parent or "\x00" in manifest.video_root:
            raise UserError(
                f"{path}, field video_root: expected the absolute path of a folder below the root, got "
                f"{manifest.video_root!r}: name the folder that holds the videos"
            )
    return manifest
