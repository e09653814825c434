"""Each perturbation on small arrays, by hand."""

import itertools
import re

import cv2
import numpy as np
import pytest

from musclemap_jax.data.augmentation import flip_poses, flip_video
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.examples import empty_batch, write_example
from musclemap_jax.data.images import encode_jpeg
from musclemap_jax.data.modalities import BATCH_MODALITIES
from musclemap_jax.data.skeletons.poses import normalise_poses
from musclemap_jax.skeleton_layouts import LAYOUTS, get_layout
from musclemap_jax.stress.perturbations import PERTURBATIONS
from musclemap_jax.stress.perturbations.clutter import CELLS
from musclemap_jax.stress.perturbations.darkness import dimmed
from musclemap_jax.stress.perturbations.joint_noise import trunk_lengths
from musclemap_jax.stress.perturbations.missing_frames import NUM_PARTS, kept_frames
from musclemap_jax.stress.perturbations.perturbation import Perturbation, clip_generator
from musclemap_jax.stress.perturbations.tilt import rotate_frames, rotation
from tests.conftest import ROOT

SPEC = InputSpec(num_frames=4, frame_stride=2, crop_size=32, num_poses=8, num_persons=1)
DOCS = (ROOT / "docs" / "robustness.md").read_text()
COCO17 = LAYOUTS["coco17"].joints


def generator(name="x"):
    return clip_generator(0, name, "clip")


def standing(num_frames=1, num_persons=1):
    """Joints (T, P, 17, 3) of somebody whose trunk is 40 px long, shoulders at y = 30 and hips at y = 70."""
    joints = np.zeros((num_frames, num_persons, 17, 3), np.float32)
    places = {"shoulder": 30, "elbow": 50, "wrist": 68, "hip": 70, "knee": 105, "ankle": 140}
    for part, y in places.items():
        for side, x in (("left", 60), ("right", 40)):
            joints[:, :, COCO17.index(f"{side}_{part}")] = x, y, 0.9
    joints[:, :, COCO17.index("nose")] = 50, 15, 0.8
    return joints


def record(joints, num_frames=None):
    """A record with frames whose brightness is their number times five."""
    count = len(joints) if num_frames is None else num_frames
    frames = [encode_jpeg(np.full((32, 32, 3), 5 * number, np.uint8), 95) for number in range(count)]
    labels = np.zeros(20, np.uint8)
    return {
        "clip_id": "clip",
        "muscles": labels,
        "fps": 16.0,
        "frames": frames,
        "skeleton": joints,
        "skeleton_layout": "coco17",
    }


def changed_record(name, strength, of):
    return PERTURBATIONS[name].of_record(of, strength, generator(name))


def changed_clip(name, strength, clip, spec=SPEC):
    return PERTURBATIONS[name].of_clip(clip, strength, generator(name), spec)


def noisy_video(height=32, width=32):
    return np.random.default_rng(0).integers(0, 256, (2, 4, height, width, 3), dtype=np.uint8)


def random_poses():
    joints = np.random.default_rng(1).uniform(10, 90, (8, 1, 19, 3)).astype(np.float32)
    joints[..., 2] = 0.9
    joints[:, :, 4] = 0
    return normalise_poses(joints)


@pytest.mark.parametrize("each", PERTURBATIONS.values(), ids=PERTURBATIONS)
def test_a_perturbation_is_described_and_changes_known_modalities(each):
    assert PERTURBATIONS[each.name] is each
    assert each.description.endswith(".")
    assert each.unit
    assert set(each.modalities) <= BATCH_MODALITIES.keys()


def test_the_page_of_the_documentation_lists_names_units_and_strengths():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([\d., ]+) \|", DOCS, re.MULTILINE)
    listed = {name: (unit, tuple(map(float, strengths.split(",")))) for name, unit, strengths in rows}
    assert list(listed) == list(PERTURBATIONS)
    for name, (unit, strengths) in listed.items():
        assert strengths == PERTURBATIONS[name].strengths
        assert unit.removesuffix(", clockwise") == PERTURBATIONS[name].unit


def test_the_example_of_the_documentation_enters_a_perturbation(monkeypatch):
    monkeypatch.setitem(PERTURBATIONS, "letterbox", None)  # so that the entry goes with the test
    (example,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    exec(example, {})
    video = noisy_video(height=40) // 2 + 1
    barred = changed_clip("letterbox", 0.2, {"video": video})["video"]
    assert (barred == 0).all(axis=(0, 1, 3, 4)).nonzero()[0].tolist() == [0, 1, 2, 3, 36, 37, 38, 39]
    np.testing.assert_array_equal(barred[:, :, 4:36], video[:, :, 4:36])


def test_an_impossible_entry_is_refused():
    def nothing(clip, strength, rng, spec):
        return clip

    with pytest.raises(ValueError, match="perturbation x: expected either of_record or of_clip"):
        Perturbation("x", "", "", (1,), ("video",))
    with pytest.raises(ValueError, match=r"perturbation x: expected strengths above 0, increasing, got \(2, 1\)"):
        Perturbation("x", "", "", (2, 1), ("video",), of_clip=nothing)
    with pytest.raises(ValueError, match=r"got \(0, 1\)"):
        Perturbation("x", "", "", (0, 1), ("video",), of_clip=nothing)


def test_draws_differ_by_seed_perturbation_and_clip_alone():
    drawn = {
        names: clip_generator(*names).integers(2**62)
        for names in [(0, "blur", "a"), (1, "blur", "a"), (0, "tilt", "a"), (0, "blur", "b")]
    }
    assert len(set(drawn.values())) == 4
    assert clip_generator(0, "blur", "a").integers(2**62) == drawn[0, "blur", "a"]


@pytest.mark.parametrize("name", [name for name, each in PERTURBATIONS.items() if each.of_record])
def test_records_are_left_as_they_are(name):
    original = record(standing(40))
    before = original | {"skeleton": original["skeleton"].copy(), "frames": list(original["frames"])}
    changed_record(name, PERTURBATIONS[name].strengths[-1], original)
    np.testing.assert_array_equal(original["skeleton"], before["skeleton"])
    assert {key: value for key, value in original.items() if key != "skeleton"} == {
        key: value for key, value in before.items() if key != "skeleton"
    }


@pytest.mark.parametrize("name", [name for name, each in PERTURBATIONS.items() if each.of_clip])
def test_clips_are_left_as_they_are(name):
    clip = {"video": noisy_video(), "flow": noisy_video()[..., :2], "skeleton": random_poses()}
    clip = {key: value for key, value in clip.items() if key in PERTURBATIONS[name].modalities}
    before = {key: value.copy() for key, value in clip.items()}
    changed = changed_clip(name, PERTURBATIONS[name].strengths[-1], clip)
    assert changed.keys() == clip.keys()
    for key, value in clip.items():
        np.testing.assert_array_equal(value, before[key])
        assert changed[key].shape == value.shape
        assert changed[key].dtype == value.dtype
        assert (changed[key] != value).any()


def test_a_trunk_is_measured_where_it_is_whole_and_estimated_where_it_never_is():
    joints = standing(5, 3)
    joints[0, 0, COCO17.index("left_hip")] = 0  # not whole in one frame
    joints[1, 0, COCO17.index("left_hip"), 1] = 400
    joints[:, 1, COCO17.index("left_hip")] = 0  # never whole: the box is 125 px high
    joints[:, 2] = 0
    np.testing.assert_allclose(trunk_lengths(joints, "coco17"), [40, 0.29 * 125, 0], rtol=1e-6)


def test_noise_has_the_stated_deviation_in_trunk_lengths_and_spares_absent_joints():
    joints = standing(400, 2)
    joints[:, 1] *= (2, 2, 1)
    changed = changed_record("joint_noise", 0.2, record(joints, 0))["skeleton"]
    present = joints[..., 2] > 0
    np.testing.assert_array_equal(changed[~present], joints[~present])
    np.testing.assert_array_equal(changed[..., 2], joints[..., 2])
    noise = (changed - joints)[..., :2]
    for person, trunk in enumerate((40, 80)):
        of_person = noise[:, person][present[:, person]]
        np.testing.assert_allclose(of_person.std(axis=0), 0.2 * trunk, rtol=0.05)
        np.testing.assert_allclose(of_person.mean(axis=0), 0, atol=0.02 * trunk)
    # The same noise, scaled: curves over strengths are smooth.
    twice = changed_record("joint_noise", 0.4, record(joints, 0))["skeleton"]
    np.testing.assert_allclose((twice - joints)[..., :2], 2 * noise, atol=1e-3)


def test_missing_joints_are_the_stated_fraction_for_the_whole_clip():
    joints = standing(6, 2)
    joints[..., 2] = 0.9
    missing = {}
    for strength in (0.25, 0.5):
        changed = changed_record("missing_joints", strength, record(joints, 0))["skeleton"]
        absent = (changed == 0).all(axis=-1)
        assert (absent == absent[:1]).all()
        assert absent[0].sum(axis=-1).tolist() == [round(strength * 17)] * 2
        np.testing.assert_array_equal(changed[~absent], joints[~absent])
        missing[strength] = absent[0]
    assert (missing[0.25] <= missing[0.5]).all()
    assert (missing[0.5][0] != missing[0.5][1]).any()


@pytest.mark.parametrize("num_frames", [1, 7, NUM_PARTS, 60])
def test_missing_frames_are_twentieths_and_one_stays(num_frames):
    kept = [kept_frames(num_frames, fraction, generator()) for fraction in (0, 0.25, 0.5, 1)]
    assert kept[0].all()
    assert all((more <= less).all() for less, more in itertools.pairwise(kept))
    assert kept[-1].any()
    if num_frames % NUM_PARTS == 0:
        assert [mask.mean() for mask in kept] == [1, 0.75, 0.5, 1 / NUM_PARTS]


def test_missing_frames_freeze_the_video_and_lose_the_person():
    original = record(standing(40))
    changed = changed_record("missing_frames", 0.5, original)
    kept = kept_frames(40, 0.5, generator("missing_frames"))
    np.testing.assert_array_equal((changed["skeleton"][..., 2] > 0).any(axis=(1, 2)), kept)
    for index in range(40):
        earlier = [before for before in range(index + 1) if kept[before]]
        assert changed["frames"][index] == original["frames"][earlier[-1] if earlier else int(kept.argmax())]


def test_a_lower_frame_rate_keeps_every_other_frame_and_shows_what_a_view_at_that_rate_sees():
    joints = np.tile(standing(1), (32, 1, 1, 1))
    joints[..., 1] += np.arange(32)[:, None, None] * (joints[..., 2] > 0)
    original = record(joints)
    changed = changed_record("frame_rate", 2, original)
    assert changed["fps"] == 4.0
    assert changed["frames"] == original["frames"][::4]
    np.testing.assert_array_equal(changed["skeleton"], joints[::4])

    def values(of, fps):
        spec = InputSpec(num_frames=4, frame_stride=2, fps=fps, crop_size=32, num_poses=8, modalities=("video",))
        batch = empty_batch(spec, 1)
        write_example(batch, 0, of, 0, spec)
        return batch["video"][0, 0, :, 0, 0, 0] / 5

    # At 8 fps with stride 2, frames are 0.25 s apart, which is one frame of the slower clip.
    np.testing.assert_allclose(np.diff(values(original, 8.0)), 4, atol=0.5)
    np.testing.assert_allclose(np.diff(values(changed, 8.0)), 4, atol=0.5)
    # Where views count the clip's own frames, they see it four times as fast.
    np.testing.assert_allclose(np.diff(values(original, 0.0)), 2, atol=0.5)
    np.testing.assert_allclose(np.diff(values(changed, 0.0)), 8, atol=0.5)


def test_mirrored_twice_is_the_clip_and_once_is_the_augmentation_of_training():
    clip = {"video": noisy_video(), "flow": noisy_video()[..., 1:].clip(1), "skeleton": random_poses()}
    once = changed_clip("mirror", 1, clip)
    twice = changed_clip("mirror", 1, once)
    for name, values in clip.items():
        np.testing.assert_array_equal(twice[name], values)
    flipped = clip["video"].reshape(-1, 32, 32, 3).copy()
    flip_video(flipped)
    np.testing.assert_array_equal(once["video"].reshape(flipped.shape), flipped)
    layout = get_layout(SPEC.layout)
    np.testing.assert_array_equal(once["skeleton"], flip_poses(clip["skeleton"], layout.flip))
    left, right = (layout.joints.index(f"{side}_wrist") for side in ("left", "right"))
    np.testing.assert_array_equal(once["skeleton"][..., left, 0], -clip["skeleton"][..., right, 0])
    np.testing.assert_array_equal(once["skeleton"][..., left, 1:], clip["skeleton"][..., right, 1:])
    # Motion to the right becomes motion to the left, about 128; 0 becomes 255, the nearest that 8 bits hold.
    flow = np.array([[[0, 7], [128, 7], [255, 7]]], np.uint8)
    mirrored = changed_clip("mirror", 1, {"flow": flow})["flow"]
    np.testing.assert_array_equal(mirrored, [[[1, 7], [128, 7], [255, 7]]])


@pytest.mark.parametrize("degrees", [30, 90, 200])
def test_tilt_moves_a_pixel_and_a_joint_alike(degrees):
    """A blob in the picture is at the joint before and after; the skeleton's other joints only hold the scale."""
    side, place = 65, np.array([44.0, 25.0])
    centre = np.full(2, (side - 1) / 2)
    frame = np.zeros((side, side, 3), np.uint8)
    cv2.circle(frame, tuple(place.astype(int).tolist()), 4, (255, 255, 255), -1)
    turned = rotate_frames(frame[None, None], degrees)[0, 0, ..., 0].astype(float)
    # Reflected corners show the blob again: only the part inside the circle that the picture holds is its own.
    rows, columns = np.indices(turned.shape)
    turned[np.hypot(rows - centre[1], columns - centre[0]) > side / 2] = 0
    found = np.array([(turned * columns).sum(), (turned * rows).sum()]) / turned.sum()
    np.testing.assert_allclose(found, centre + rotation(degrees) @ (place - centre), atol=0.05)
    if degrees == 90:  # clockwise: what is on the right comes to the bottom
        np.testing.assert_allclose(found - centre, [-(place - centre)[1], (place - centre)[0]], atol=0.05)

    joints = np.random.default_rng(0).uniform(5, 60, (8, 1, 19, 3)).astype(np.float32)
    joints[..., 2] = 0.9
    joints[:, 0, 0, :2] = place
    moved = joints.copy()
    moved[..., :2] = centre + (joints[..., :2] - centre) @ rotation(degrees).T
    tilted = changed_clip("tilt", degrees, {"skeleton": normalise_poses(joints)})["skeleton"]
    np.testing.assert_allclose(tilted, normalise_poses(moved), atol=2e-6)


def test_tilt_by_90_degrees_is_exact_on_pixels_and_turns_the_flow():
    video = noisy_video()
    tilted = changed_clip("tilt", 90, {"video": video})["video"]
    np.testing.assert_array_equal(tilted, np.rot90(video, -1, axes=(2, 3)))
    flow = np.full((1, 1, 8, 8, 2), (138, 128), np.uint8)  # to the right
    np.testing.assert_array_equal(changed_clip("tilt", 90, {"flow": flow})["flow"], np.full_like(flow, (128, 138)))


def test_tilt_leaves_absent_joints_absent():
    poses = random_poses()
    tilted = changed_clip("tilt", 20, {"skeleton": poses})["skeleton"]
    np.testing.assert_array_equal(tilted[:, :, 4], 0)


def test_blur_has_the_stated_width_at_any_size():
    for side in (64, 128):
        video = np.zeros((1, 1, side, side, 3), np.uint8)
        video[:, :, :, side // 2 :] = 255
        blurred = changed_clip("blur", 4, {"video": video})["video"][0, 0, side // 2, :, 0].astype(float)
        # The slope of a blurred edge is a Gaussian.
        slope = np.diff(blurred) / 255
        places = np.arange(side - 1)
        mean = (slope * places).sum()
        deviation = np.sqrt((slope * (places - mean) ** 2).sum())
        np.testing.assert_allclose(deviation, 0.04 * side, rtol=0.05)


def test_a_stop_halves_the_light():
    table = dimmed(1).astype(float) / 255
    light = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(light[255], 0.5, atol=0.003)
    assert dimmed(1)[[0, 128, 255]].tolist() == [0, 92, 188]  # by the standard's formula
    assert dimmed(0).tolist() == list(range(256))
    video = noisy_video()
    np.testing.assert_array_equal(changed_clip("darkness", 2, {"video": video})["video"], dimmed(2)[video])


def test_clutter_covers_the_stated_fraction_and_does_not_move():
    video = np.zeros((2, 4, 40, 40, 3), np.uint8)
    cell = 40 // CELLS
    covered = {}
    for strength in (0.25, 0.5):
        changed = changed_clip("clutter", strength, {"video": video})["video"]
        assert (changed == changed[:1, :1]).all()
        cells = changed[0, 0].reshape(CELLS, cell, CELLS, cell, 3)
        assert (cells == cells[:, :1, :, :1]).all()
        covered[strength] = cells[:, 0, :, 0].any(axis=-1)
        assert covered[strength].mean() == strength
    assert (covered[0.25] <= covered[0.5]).all()
