"""What has changed since data was prepared: settings, annotations, labels and raw files, each as a phrase of an error.

Without the raw data set, as on a machine that was sent the prepared data alone, there is nothing to compare with, and
the data is used as it is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from etils import epath

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST, Manifest
from musclemap_jax.data.raw.raw_dataset import Clip
from tfds_musclemap.build.build_log import read_rejected, read_stored_clips
from tfds_musclemap.build.builder_config import MuscleMapConfig
from tfds_musclemap.build.remote import read_raw_dataset
from tfds_musclemap.build.shards import choose_clips
from tfds_musclemap.build.sources import SOURCES, compare_sources, read_sources, write_sources

_MAX_NAMED = 3


def manifest_values(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says of the data, as JSON values.

    Without the folder of the videos, whose files are compared, and the skeletons' layout, which the settings hold.
    """
    values = json.loads(json.dumps(dataclasses.asdict(manifest)))
    del values["video_root"], values["skeleton_layout"]
    return {"release": values.pop("name")} | values


def find_changes(
    data_path: epath.Path,
    metadata: dict[str, Any],
    config: MuscleMapConfig,
    root: epath.Path | None,
    max_examples_per_split: int | None,
) -> list[str]:
    """What differs between prepared data, with its metadata, and what would be made now.

    The raw data set's folder, which may be remote, is compared if there is one. Raises UserError if its annotations or
    its manifest are invalid or do not suit the config.
    """
    found, expected = _flat(metadata.get("made_of", {})), _flat(config.made_of())
    changes = [
        f"it was made with {name}={_short(found.get(name))}, expected {_short(expected.get(name))}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ][:_MAX_NAMED]
    root = root if root and has_files(root) else None
    limit = metadata.get("max_examples_per_split")
    if (root or config.synthetic) and limit != max_examples_per_split:
        changes.append(f"it was made with max_examples_per_split={limit}, expected {max_examples_per_split}")
    if root and not changes:
        changes = _source_changes(data_path, metadata, root, config)
    return changes


def has_files(folder: epath.Path) -> bool:
    """Whether a folder exists and is not empty, as one where nothing is mounted."""
    return folder.is_dir() and any(folder.iterdir())


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """{name: value} with the fields of a value that is an object as names of their own, such as 'synthetic.size'."""
    flat = {}
    for name, value in values.items():
        fields = {f"{name}.{field}": of_field for field, of_field in value.items()} if isinstance(value, dict) else {}
        flat |= fields or {name: value}
    return flat


def _short(value: Any) -> str:
    return f"{value!r:.60}"


def _source_changes(
    data_path: epath.Path, metadata: dict[str, Any], root: epath.Path, config: MuscleMapConfig
) -> list[str]:
    if not (data_path / SOURCES).exists():
        return ["it was made by an earlier version of this project"]
    clips, manifest = read_raw_dataset(root, config.clip)
    values = manifest_values(manifest)
    fields = ["name" if key == "release" else key for key, value in values.items() if value != metadata.get(key)]
    changes = [f"{', '.join(fields)} changed in {MANIFEST}"] if fields else []
    try:
        return changes + _clip_changes(data_path, root, config, clips, metadata.get("max_examples_per_split"))
    except (KeyError, ValueError, AttributeError) as error:
        return [f"its lists are damaged ({type(error).__name__}: {error})"]


def _clip_changes(
    data_path: epath.Path, root: epath.Path, config: MuscleMapConfig, clips: list[Clip], max_per_split: int | None
) -> list[str]:
    """Changes of the annotations and of the raw files of the clips that are still there.

    Where only times differ, the list of sources is updated, so that their content is not compared again.
    """
    chosen = choose_clips(clips, max_per_split)
    now = {clip.clip_id: clip for of_split in chosen.values() for clip in of_split}
    stored = {each.clip.clip_id: each.clip for split in read_stored_clips(data_path).values() for each in split}
    rejected = {clip_id: split for clip_id, split, _ in read_rejected(data_path)}
    before = stored.keys() | rejected.keys()
    relabelled = [clip_id for clip_id, clip in stored.items() if now.get(clip_id, clip) != clip]
    relabelled += [clip_id for clip_id, split in rejected.items() if clip_id in now and now[clip_id].split != split]
    listed = read_sources(data_path)
    kept = [clip_id for clip_id in now if clip_id in before]
    files, found = compare_sources(root, kept, config.clip, listed)
    changes = [
        _phrase("clips", "added to", now.keys() - before),
        _phrase("clips", "removed from", before - now.keys()),
        _phrase("clips", "labelled differently in", relabelled),
        _phrase("files", "changed", files.changed),
        _phrase("files", "added", files.added),
        _phrase("files", "removed", files.removed),
    ]
    if not any(changes) and found != listed:
        _update_sources(data_path, found)
    return [change for change in changes if change]


def _update_sources(data_path: epath.Path, found: Any) -> None:
    try:
        write_sources(data_path, found)
    except OSError:  # read-only data: the content is compared again next time
        return


def _phrase(what: str, change: str, names: Iterable[str]) -> str:
    """Such as '2 files changed (clips/a.mp4, skeletons/a.json)'; empty without any name."""
    names = sorted(names)
    if not names:
        return ""
    place = f" {raw_dataset.ANNOTATIONS}" if what == "clips" else ""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    noun = what if len(names) > 1 else what[:-1]
    return f"{len(names)} {noun} {change}{place} ({', '.join(names[:_MAX_NAMED])}{more})"
