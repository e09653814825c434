"""Labels of the user's own, from the raw data set to a batch: five regions, and a clip of background."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.pipeline import eval_batches
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import MANIFEST, Manifest, write_manifest
from musclemap_jax.errors import UserError
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tfds_musclemap.prepare import load_source, prepare
from tfds_musclemap.source import split_annotations
from tfds_musclemap.verify.report import verify

REGIONS = ("left arm", "right arm", "trunk", "left leg", "right leg")
MUSCLES = {"train_0": (4,), "train_1": ()}
"""Clips whose muscles are stated; the others have region 2."""

SPEC = InputSpec(num_frames=2, frame_stride=1, crop_size=8, num_poses=4, num_regions=5)


@pytest.fixture
def own_labels(folder):
    """A raw data set with five regions and a clip of background."""
    clips = raw_dataset.read_annotations(folder)
    write_manifest(folder, Manifest(regions=REGIONS, allow_background=True))
    activities = {(): "standing", (4,): "kick", (2,): "crunch"}
    labelled = []
    for clip in clips:
        muscles = MUSCLES.get(clip.clip_id, (2,))
        prefix = "new " if clip.split.endswith("new") else ""
        labelled.append(raw_dataset.Clip(clip.clip_id, clip.split, prefix + activities[muscles], muscles))
    raw_dataset.write_annotations(folder, labelled)
    return folder


def test_own_labels_arrive_in_the_batch(own_labels, tmp_path):
    builder = prepare("multimodal", tmp_path, own_labels, num_workers=1)
    source = load_source(builder, "train")
    assert source.regions == REGIONS
    assert source.allow_background
    assert {clip.clip_id: clip.muscles for clip in split_annotations(source)} == MUSCLES
    (batch,) = eval_batches(source, SPEC, 3, num_threads=0)
    assert batch["muscles"].shape == (3, 5)
    np.testing.assert_array_equal(batch["clip_valid"], [True, True, False])
    for record, muscles in zip(source, batch["muscles"], strict=False):
        assert tuple(np.flatnonzero(muscles)) == MUSCLES[record["clip_id"]]


def test_data_of_own_labels_verifies_without_faults(own_labels, tmp_path):
    report = verify(Path(prepare("multimodal", tmp_path, own_labels, num_workers=1).data_path))
    assert report["faults"] == []
    assert set(report["regions"]) == set(REGIONS)
    assert report["regions"]["right leg"]["clips"]["train"] == 1
    assert report["splits"]["train"]["clips"] == 2


def test_without_a_manifest_the_regions_are_those_of_musclemap(prepared):
    source = load_source(prepared[1], "train")
    assert source.regions == MUSCLE_REGIONS
    assert not source.allow_background


def test_labels_of_another_number_do_not_enter_a_batch(prepared):
    with pytest.raises(UserError, match="expected labels of 5 muscle regions, got 20"):
        next(eval_batches(load_source(prepared[1], "train"), SPEC, 2, num_threads=0))


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest(regions=(*REGIONS[:4], "head"), allow_background=True),
        Manifest(regions=(*REGIONS, "head"), allow_background=True),
    ],
)
def test_prepared_data_of_other_labels_is_refused(own_labels, tmp_path, manifest):
    prepare("multimodal", tmp_path, own_labels, num_workers=1)
    write_manifest(own_labels, manifest)
    with pytest.raises(UserError, match=r"regions changed in raw_dataset\.json") as error:
        prepare("multimodal", tmp_path, own_labels, num_workers=1)
    assert "\n" not in str(error.value)


def test_data_of_an_earlier_version_is_refused_in_one_sentence(own_labels, tmp_path):
    folder = Path(prepare("skeleton", tmp_path, own_labels, num_workers=1).data_path)
    metadata = json.loads((folder / "metadata.json").read_text())
    del metadata["regions"]
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="prepared by an earlier version of this project: prepare the data again"):
        load_source(folder, "train")


def test_background_is_an_error_where_the_manifest_does_not_allow_it(own_labels, tmp_path):
    (own_labels / MANIFEST).write_text(json.dumps({"regions": REGIONS}))
    with pytest.raises(UserError, match=r"line 3, column muscles: .*at least one.*\"allow_background\": true"):
        prepare("multimodal", tmp_path, own_labels, num_workers=1)
