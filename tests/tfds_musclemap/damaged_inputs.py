"""Damaged raw data sets: no traceback, each damaged input is reported with the reason, the good clips are stored.

python -m tests.tfds_musclemap.damaged_inputs --count=500 --seed=0

Most of the damage is to one clip's file, all in one build. A damaged annotations.csv affects a whole raw data set: each
is a build of its own, which must end with one line and leave nothing behind.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musclemap_jax.data.modalities import MODALITIES
from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.raw.flow import flow_paths
from musclemap_jax.data.skeletons.alphapose import write_alphapose
from musclemap_jax.errors import UserError
from tfds_musclemap.build.build_log import read_rejected
from tfds_musclemap.prepare import load_source, prepare

NUM_FRAMES, SIZE, NUM_JOINTS = 6, (32, 48), 17
NUM_GOOD = 10
_CSV_FRACTION = 0.06
"""Fraction of the damage that is to a CSV file."""

Rng = np.random.Generator


def write_clip(root: Path, clip_id: str, rng: Rng) -> None:
    """Writes a sound clip: video, skeleton and flow."""
    shift = rng.uniform(0, 6)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    times = np.arange(NUM_FRAMES)[:, None, None]
    waves = [np.sin(columns / 8 + times / 3 + shift), np.sin(rows / 6 + 0 * times), np.sin((rows + times) / 9 - shift)]
    video.encode_video(root / f"clips/{clip_id}.mp4", (128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8), 12.0)
    skeleton = rng.uniform(1, 30, (NUM_FRAMES, 1, NUM_JOINTS, 3))
    skeleton[..., 2] = 0.9
    write_alphapose(root / f"skeletons/{clip_id}.json", skeleton)
    for path in flow_paths(root, clip_id):
        video.encode_video(path, np.full((NUM_FRAMES, *SIZE, 3), 140, np.uint8), 12.0)


def _truncated(path: Path, rng: Rng) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(1, len(data))])


def _bits_flipped(path: Path, rng: Rng) -> None:
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = rng.integers(0, len(data), rng.integers(1, 40))
    data[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    path.write_bytes(data.tobytes())


def _empty(path: Path, _: Rng) -> None:
    path.write_bytes(b"")


def _noise(path: Path, rng: Rng) -> None:
    path.write_bytes(rng.bytes(int(rng.integers(1, 5000))))


def _absent(path: Path, _: Rng) -> None:
    path.unlink()


def _folder(path: Path, _: Rng) -> None:
    path.unlink()
    path.mkdir()


def _link_out(path: Path, rng: Rng) -> None:
    target = rng.choice(["/etc/passwd", "/dev/zero", "../../outside", "nowhere", path.name])
    if target == "../../outside":
        shutil.copy(path, path.parents[2] / "outside")
        target = str(path.parents[2] / "outside")
    path.unlink()
    path.symlink_to(target)


FILE_DAMAGES: tuple[Callable[[Path, Rng], None], ...] = (_truncated, _empty, _noise, _absent, _folder, _link_out)


def _odd_value(rng: Rng) -> Any:
    """A JSON value that is invalid anywhere in a detection."""
    values = (None, "text", {}, [], [[]], {"a": 1}, True, float("nan"), float("inf"), -1e308, 10**400, ["x"] * 51)
    return values[rng.integers(len(values))]


def _wrong_types(entries: list, rng: Rng) -> Any:
    name = rng.choice(["image_id", "keypoints", "box"])
    value = _odd_value(rng)
    entries[rng.integers(len(entries))][name] = {"no": "number"} if name == "image_id" else value
    return entries


def _not_a_list(entries: list, rng: Rng) -> Any:
    return [{"frames": entries}, "text", 3, None, [1, 2], [[entries]], [None]][rng.integers(7)]


def _infinite(entries: list, rng: Rng) -> Any:
    entry = entries[rng.integers(len(entries))]
    value = [float("inf"), float("-inf")][rng.integers(2)]
    field = rng.choice(["score", "box", "keypoints"])
    if field == "score":
        entry["score"] = value
    else:
        entry[field][rng.integers(len(entry[field]))] = value
    return entries


def _too_large(entries: list, rng: Rng) -> Any:
    entries[rng.integers(len(entries))]["keypoints"][3 * rng.integers(NUM_JOINTS)] = 1e300
    return entries


def _negative_sizes(entries: list, rng: Rng) -> Any:
    entry = entries[rng.integers(len(entries))]
    entry["box"][rng.integers(2, 4)] = -float(rng.uniform(1, 100))
    return entries


def _joint_count(entries: list, rng: Rng) -> Any:
    count = rng.choice([0, 1, 16, 18, 25, 26, 33, 136])
    for entry in entries:
        entry["keypoints"] = [1.0] * int(3 * count + rng.integers(0, 2))
    return entries


def _wrong_frames(entries: list, rng: Rng) -> Any:
    names = ("none.jpg", -3, "000099.jpg", "9" * 5000, "")
    entries[rng.integers(len(entries))]["image_id"] = names[rng.integers(len(names))]
    return entries


def _missing_field(entries: list, rng: Rng) -> Any:
    del entries[rng.integers(len(entries))][rng.choice(["image_id", "keypoints"])]
    return entries


def _other_unit(entries: list, rng: Rng) -> Any:
    """Coordinates from 0 to 1, pixels of a larger original, scores in per cent, numbers axis by axis."""
    kind = rng.integers(4)
    factors = [[1 / SIZE[1], 1 / SIZE[0], 1], [40, 40, 1], [1, 1, 100], [1, 1, 1]][kind]
    for entry in entries:
        joints = np.reshape(entry["keypoints"], (-1, 3)) * factors
        entry["keypoints"] = (joints.T if kind == 3 else joints).ravel().tolist()
    return entries


def _from_one(entries: list, rng: Rng) -> Any:
    for entry in entries:
        entry["image_id"] = f"{int(entry['image_id'].removesuffix('.jpg')) + 1}.jpg"
    return entries


def _nobody(entries: list, rng: Rng) -> Any:
    return []


JSON_DAMAGES: tuple[Callable[[list, Rng], Any], ...] = (
    _wrong_types, _not_a_list, _infinite, _too_large, _negative_sizes, _joint_count, _wrong_frames, _missing_field,
    _other_unit, _from_one, _nobody,
)  # fmt: skip


def _deep(text: str, _: Rng) -> bytes:
    return b"[" * 100_000


def _latin(text: str, rng: Rng) -> bytes:
    return text.encode().replace(b"image_id", "im\xe4ge".encode("latin-1"), 1)


def _cut_text(text: str, rng: Rng) -> bytes:
    return text.encode()[: rng.integers(1, len(text) - 2)]


TEXT_DAMAGES: tuple[Callable[[str, Rng], bytes], ...] = (_deep, _latin, _cut_text)


@dataclasses.dataclass(frozen=True)
class Damage:
    """The damage to a clip.

    Attributes:
      clip_id: The clip's id.
      file: The damaged file's path below the raw data set's folder.
      kind: Name of the damage.
      may_pass: Whether the result may still be a sound file, because no decoder checks the changed bits.
    """

    clip_id: str
    file: str
    kind: str
    may_pass: bool


def damage_clip(root: Path, clip_id: str, rng: Rng) -> Damage:
    """Damages one file of a clip."""
    place = rng.choice(["video", "flow", "skeleton"], p=[0.4, 0.1, 0.5])
    if place == "skeleton":
        path = raw_dataset.skeleton_path(root, clip_id)
        kinds = (*JSON_DAMAGES, *JSON_DAMAGES, *TEXT_DAMAGES, *FILE_DAMAGES)
    else:
        paths = (raw_dataset.video_path(root, clip_id),) if place == "video" else flow_paths(root, clip_id)
        path = paths[rng.integers(len(paths))]
        kinds = (*FILE_DAMAGES, _truncated, *[_bits_flipped] * 5)
    kind = kinds[rng.integers(len(kinds))]
    if kind in JSON_DAMAGES:
        path.write_text(json.dumps(kind(json.loads(path.read_text()), rng)))
    elif kind in TEXT_DAMAGES:
        path.write_bytes(kind(path.read_text(), rng))
    else:
        kind(path, rng)
    name = path.relative_to(root).as_posix()
    return Damage(clip_id, name, f"{place}{kind.__name__}", kind is _bits_flipped)


def _csv_not_utf8(text: str, rng: Rng) -> bytes:
    return text.encode().replace(b"squat", "Kniebeuge f\xfcr alle".encode("latin-1"), 1)


def _csv_utf16(text: str, rng: Rng) -> bytes:
    return text.encode("utf-16")


def _csv_empty(text: str, rng: Rng) -> bytes:
    return b""


def _csv_header_alone(text: str, rng: Rng) -> bytes:
    return text.encode().splitlines(keepends=True)[0]


def _csv_quote(text: str, rng: Rng) -> bytes:
    return text.replace(",squat", ',"squat', 1).encode()


def _csv_muscle(text: str, rng: Rng) -> bytes:
    return text.replace("13;17", str(rng.choice(["-1", "20", "1.5", "nan", "", "13;13"])), 1).encode()


def _csv_escape(text: str, rng: Rng) -> bytes:
    return text.replace("good_0", str(rng.choice(["../up", "/etc/passwd", "a//b", "a\x00b"])), 1).encode()


def _csv_split(text: str, rng: Rng) -> bytes:
    return text.replace(",train,", f",{rng.choice(['test', '', 'TRAIN', 'val_new'])},", 1).encode()


def _csv_nul(text: str, rng: Rng) -> bytes:
    return text.encode().replace(b"squat", b"\x00" * 50, 1)


CSV_DAMAGES: tuple[Callable[[str, Rng], bytes], ...] = (
    _csv_not_utf8, _csv_utf16, _csv_empty, _csv_header_alone, _csv_quote, _csv_muscle, _csv_escape, _csv_split, _csv_nul
)  # fmt: skip


def check_damaged_clips(folder: Path, count: int, rng: Rng, num_workers: int) -> collections.Counter:
    """Builds a raw data set of good clips and ``count`` damaged ones.

    Returns:
      How often each kind of damage occurred, and under ``... read`` how many files with flipped bits were still read.

    Raises:
      AssertionError: A damaged input was not reported, or a good clip was not stored.
    """
    root = folder / "raw"
    for name in ("clips", "skeletons", "flow"):
        (root / name).mkdir(parents=True)
    good = [f"good_{number}" for number in range(NUM_GOOD)]
    bad = [f"bad_{number:03d}" for number in range(count)]
    clip_ids = rng.permutation(good + bad).tolist()
    for clip_id in clip_ids:
        write_clip(root, clip_id, rng)
    raw_dataset.write_annotations(root, [raw_dataset.Clip(each, "train", "squat", (13, 17)) for each in clip_ids])
    damages = {clip_id: damage_clip(root, clip_id, rng) for clip_id in bad}

    data_dir = folder / "data"
    builder = prepare(
        "multimodal", data_dir, root, num_workers=num_workers, max_rejected_fraction=1.0, modalities=MODALITIES
    )
    stored = {record["clip_id"]: record for record in load_source(builder, "train")}
    rejected = {clip_id: reason for clip_id, _, reason in read_rejected(Path(builder.data_path))}
    assert set(good) <= set(stored), set(good) - set(stored)
    assert set(stored) | set(rejected) == set(clip_ids)
    assert not set(stored) & set(rejected)
    assert all(len(stored[clip_id]["frames"]) == NUM_FRAMES for clip_id in stored)
    counts = collections.Counter(damage.kind for damage in damages.values())
    for damage in damages.values():
        if damage.clip_id in rejected:
            reason = rejected[damage.clip_id]
            other = damage.file.replace("_x.mp4", "_y.mp4")
            assert reason.startswith((damage.file, other, damage.clip_id)), (damage, reason)
            assert len(reason.removeprefix(damage.file)) > 8, (damage, reason)
        else:
            assert damage.may_pass, damage
            counts[f"{damage.kind} read"] += 1
    return counts


def check_damaged_csv(folder: Path, rng: Rng) -> str:
    """Builds a raw data set whose CSV file is damaged; returns the kind of damage.

    Raises:
      AssertionError: The build did not end with one line that names the file, or it left something behind.
    """
    root = folder / "raw"
    for name in ("clips", "skeletons", "flow"):
        (root / name).mkdir(parents=True)
    clips = [raw_dataset.Clip(f"good_{number}", "train", "squat", (13, 17)) for number in range(3)]
    raw_dataset.write_annotations(root, clips)
    path = root / raw_dataset.ANNOTATIONS
    kind = CSV_DAMAGES[rng.integers(len(CSV_DAMAGES))]
    path.write_bytes(kind(path.read_text(), rng))
    with pytest.raises(UserError) as error:
        prepare("multimodal", folder / "data", root, num_workers=1)
    message = str(error.value)
    assert str(path) in message, (kind, message)
    assert "\n" not in message, (kind, message)
    assert not (folder / "data").exists(), kind
    return kind.__name__.removeprefix("_")


def check(count: int, seed: int, num_workers: int) -> collections.Counter:
    """Tries ``count`` damaged inputs; returns how often each kind of damage occurred."""
    rng = np.random.default_rng(seed)
    num_csv = round(_CSV_FRACTION * count)
    with tempfile.TemporaryDirectory() as folder:
        counts = check_damaged_clips(Path(folder) / "clips", count - num_csv, rng, num_workers)
        for number in range(num_csv):
            counts[check_damaged_csv(Path(folder) / f"csv_{number}", rng)] += 1
    return counts


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="damaged inputs (500)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (0)")
    parser.add_argument("--num_workers", type=int, default=2, help="processes of the build (2)")
    arguments = parser.parse_args()
    counts = check(arguments.count, arguments.seed, arguments.num_workers)
    for kind, number in sorted(counts.items()):
        print(f"{number:4d}  {kind}")
    print(f"{arguments.count} damaged inputs: no crash, each is reported, all {NUM_GOOD} good clips were stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
