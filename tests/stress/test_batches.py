"""Batches under conditions: what changes, what is shared, and that a clip's changes depend on the clip alone."""

import dataclasses
import itertools

import numpy as np
import pytest

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.pipeline import eval_batches
from musclemap_jax.stress.batches import Condition, conditions_of, stressed_batches
from musclemap_jax.stress.perturbations import PERTURBATIONS
from musclemap_jax.stress.perturbations.perturbation import clip_generator

SPEC = InputSpec(num_frames=4, frame_stride=2, crop_size=16, num_views=2, num_poses=8, num_persons=2)
KEYS = {"video": ("video",), "skeleton": ("skeleton", "skeleton_valid")}


def strongest(*names):
    return [Condition(PERTURBATIONS[name], PERTURBATIONS[name].strengths[-1]) for name in names]


def stressed(records, conditions, batch_size=4, seed=0, num_threads=2, spec=SPEC):
    clean = eval_batches(records, spec, batch_size, num_threads=0)
    return list(stressed_batches(clean, records, spec, conditions, seed, num_threads))


def by_clip(batches):
    """(condition, clip) -> its arrays, however they were batched."""
    return {
        int(batch["clip_index"][row]): {name: values[row] for name, values in batch.items() if name != "clip_index"}
        for batch in batches
        for row in np.flatnonzero(batch["clip_valid"])
    }


def test_conditions_are_all_strengths_one_perturbation_after_the_other():
    conditions = conditions_of([PERTURBATIONS["mirror"], PERTURBATIONS["tilt"]])
    assert [(each.perturbation.name, each.strength) for each in conditions] == [
        ("mirror", 1),
        ("tilt", 10),
        ("tilt", 20),
        ("tilt", 45),
        ("tilt", 90),
    ]


def test_each_batch_comes_as_it_is_and_then_once_a_condition(records):
    conditions = strongest("joint_noise", "blur")
    batches = stressed(records, conditions)
    assert len(batches) == 2 * 3
    assert [batch["clip_index"].tolist() for batch in batches[:3]] == [[0, 1, 2, 3], [5, 6, 7, 8], [10, 11, 12, 13]]
    for clean, changed in itertools.product(batches[3:4], batches[3:]):
        assert changed["clip_valid"].tolist() == [True, False, False, False]
        np.testing.assert_array_equal(changed["muscles"], clean["muscles"])
        assert not changed["video"][1:].any()
        assert not changed["skeleton"][1:].any()
        assert not changed["skeleton_valid"][1:].any()
    (clean,) = eval_batches(records[4:], SPEC, 4, num_threads=0)
    for name in ("video", "skeleton", "skeleton_valid", "muscles"):
        np.testing.assert_array_equal(batches[3][name], clean[name])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_condition_changes_its_modalities_and_shares_the_others(records, name):
    clean, changed = stressed(records[:4], strongest(name))
    assert changed.keys() == clean.keys()
    for modality, keys in KEYS.items():
        if modality in PERTURBATIONS[name].modalities:
            assert (clean[modality] != changed[modality]).reshape(4, -1).any(axis=1).all()
        else:
            assert all(changed[key] is clean[key] for key in keys)
    np.testing.assert_array_equal(changed["skeleton_valid"], (changed["skeleton"][..., 2] > 0).any(axis=-1))
    np.testing.assert_array_equal(changed["muscles"], clean["muscles"])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_clip_changes_by_seed_and_id_whatever_the_batches_and_threads(records, name):
    conditions = strongest(name)
    first, second = (by_clip(stressed(records, conditions, *sizes)) for sizes in ((4, 0, 2), (3, 0, 0)))
    assert first.keys() == second.keys() == set(range(10))
    for place, arrays in first.items():
        for key, values in arrays.items():
            np.testing.assert_array_equal(values, second[place][key])


def test_processes_change_their_own_clips_as_one_process_does(records):
    conditions = strongest("missing_joints", "clutter")
    whole = by_clip(stressed(records, conditions))
    parts = {}
    for process in range(2):
        clean = eval_batches(records, SPEC, 2, process, 2, num_threads=0)
        batches = list(stressed_batches(clean, records, SPEC, conditions, 0, 1))
        assert len(batches) == 2 * 3  # the same number in each process, whose last one may be all padding
        parts |= by_clip(batches)
    assert parts.keys() == whole.keys()
    for place, arrays in parts.items():
        for key, values in arrays.items():
            np.testing.assert_array_equal(values, whole[place][key])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_crop_is_changed(records, name):
    spec = dataclasses.replace(SPEC, num_crops=3)
    clean, changed = stressed(records[:1], strongest(name), batch_size=1, spec=spec)
    assert clean["video"].shape == changed["video"].shape == (1, 6, 4, 16, 16, 3)
    if "video" in PERTURBATIONS[name].modalities:
        assert (changed["video"] != clean["video"]).any(axis=(0, 2, 3, 4, 5)).all()


def test_another_seed_draws_other_noise(records):
    one, other = (stressed(records[:4], strongest("joint_noise"), seed=seed)[1]["skeleton"] for seed in (0, 1))
    assert (one != other).any()


def test_the_functions_get_the_clip_and_its_own_generator(records):
    clean, changed = stressed(records[:4], strongest("clutter"))
    clutter = PERTURBATIONS["clutter"]
    for row in range(4):
        rng = clip_generator(0, "clutter", f"clip_{row}")
        expected = clutter.of_clip({"video": clean["video"][row]}, clutter.strengths[-1], rng, SPEC)
        np.testing.assert_array_equal(changed["video"][row], expected["video"])


def test_joints_are_changed_before_they_are_normalised(records):
    """A person who is twice as large and elsewhere gives the same batch, also with noise in trunk lengths."""
    larger = [each | {"skeleton": each["skeleton"] * (2, 2, 1) + np.float32([30, -10, 0])} for each in records]
    larger = [each | {"skeleton": each["skeleton"].astype(np.float32)} for each in larger]
    one, two = (stressed(of, strongest("joint_noise"))[1]["skeleton"] for of in (records, larger))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_a_model_of_one_modality_gets_that_alone(records):
    spec = InputSpec(num_frames=4, frame_stride=2, crop_size=16, num_views=2, modalities=("video",))
    clean, tilted, noisy = stressed(records[:4], strongest("tilt", "joint_noise"), spec=spec)
    assert set(tilted) == set(clean) == {"video", "muscles", "clip_valid", "clip_index"}
    assert noisy["video"] is clean["video"]
