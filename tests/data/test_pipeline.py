"""The input as a whole: coverage, determinism, resumption, masks, errors."""

import itertools
import json
from dataclasses import replace

import grain
import numpy as np
import pytest
from etils import epath

from musclemap_jax.data.augmentation import AugmentationSpec
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.images import encode_grey_jpeg, encode_jpeg
from musclemap_jax.data.pipeline import eval_batches, num_eval_batches, train_iterator
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import LAYOUTS
from tests.no_augmentation import NO_AUGMENTATION

SPEC = InputSpec(num_frames=4, frame_stride=2, crop_size=16, num_poses=8, num_persons=2, num_views=2)
PLAIN = replace(SPEC, augmentation=NO_AUGMENTATION)


class Clips:
    """Records as the prepared data has them; clip i has 10 + i grey frames, the left half of clip i i + 1 darker."""

    def __init__(self, num_clips: int):
        self.num_clips = num_clips
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, index: int) -> dict:
        self.reads.append(index)
        num_frames = 10 + index
        frames = []
        for frame in range(num_frames):
            image = np.full((32, 48, 3), 250 - 5 * frame, np.uint8)
            image[:, :24] //= index + 1
            frames.append(encode_jpeg(image, quality=95))
        rng = np.random.default_rng(index)
        skeleton = rng.uniform(1, 48, (num_frames, 1, 17, 3)).astype(np.float32)
        skeleton[..., 2] = 0.5 + index / 100
        return {
            "clip_id": f"clip{index}".encode(),
            "muscles": (np.arange(20) == index % 20).astype(np.uint8),
            "fps": np.float32(30),
            "frames": frames,
            "skeleton": skeleton,
            "skeleton_layout": b"coco17",
        }


def _take(iterator, count):
    batches = list(itertools.islice(iterator, count))
    iterator.close()
    return batches


def _assert_equal(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


RECIPE = replace(SPEC, augmentation=AugmentationSpec(rand_augment="rand-m7-n4-mstd0.5-inc1"))


def _train(num_clips=7, spec=SPEC, batch_size=3, seed=5, **options):
    return train_iterator(Clips(num_clips), spec, batch_size, seed, **({"num_threads": 0} | options))


def test_batch_has_the_documented_arrays():
    (batch,) = _take(_train(), 1)
    expected = {
        "video": ((3, 1, 4, 16, 16, 3), np.uint8),
        "skeleton": ((3, 8, 2, 19, 3), np.float32),
        "skeleton_valid": ((3, 8, 2), np.bool_),
        "muscles": ((3, 20), np.float32),
        "clip_valid": ((3,), np.bool_),
        "clip_index": ((3,), np.int32),
    }
    assert {key: (value.shape, value.dtype) for key, value in batch.items()} == expected
    assert batch["clip_valid"].all()
    np.testing.assert_array_equal(batch["muscles"].argmax(axis=1), batch["clip_index"])
    assert batch["skeleton_valid"][:, :, 0].all()
    assert not batch["skeleton_valid"][:, :, 1].any()
    assert (batch["skeleton"][:, :, 1] == 0).all()


def _stream(num_batches, batch_size, process_count=1, state=None, **options):
    """The global order of clips (num_batches * batch_size * process_count,), and the state after it."""
    spec = replace(PLAIN, modalities=("skeleton",))
    parts, states = [], []
    for index in range(process_count):
        iterator = _train(7, spec, batch_size, process_index=index, process_count=process_count, **options)
        if state is not None:
            iterator.set_state(state)
        parts.append([next(iterator)["clip_index"] for _ in range(num_batches)])
        states.append(json.dumps(iterator.get_state()))
        iterator.close()
    assert len(set(states)) == 1  # all processes give the same one
    return np.concatenate([clips for batch in zip(*parts, strict=True) for clips in batch]), json.loads(states[0])


def _assert_each_clip_once_an_epoch(order):
    epochs = order.reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.arange(7)[None].repeat(len(epochs), axis=0))
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


@pytest.mark.parametrize("process_count", [1, 2, 3, 4])
def test_every_clip_comes_exactly_once_an_epoch_over_all_processes(process_count):
    order, _ = _stream(21, 2, process_count)  # 21 batches of 2 per process: whole epochs of 7, which 2 does not divide
    _assert_each_clip_once_an_epoch(order)


@pytest.mark.parametrize("process_count", [2, 3])
def test_the_stream_does_not_depend_on_the_number_of_processes(process_count):
    alone = _take(_train(batch_size=6), 3)
    by_process = [
        _take(_train(batch_size=6 // process_count, process_index=p, process_count=process_count), 3)
        for p in range(process_count)
    ]
    joined = [
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for parts in zip(*by_process, strict=True)
    ]
    _assert_equal(joined, alone)


@pytest.mark.parametrize(("batch_size", "process_count"), [(6, 1), (3, 2), (2, 3), (1, 6)])
def test_every_sample_of_a_clip_is_in_one_global_batch(batch_size, process_count):
    order, state = _stream(7, batch_size, process_count, samples_per_clip=3)
    np.testing.assert_array_equal(order.reshape(-1, 3), order[::3, None].repeat(3, axis=1))
    _assert_each_clip_once_an_epoch(order[::3])
    np.testing.assert_array_equal(order[::3], _stream(14, 1)[0])
    assert state["place"] == 42
    resumed, _ = _stream(7, batch_size, process_count, state=state | {"place": 12}, samples_per_clip=3)
    np.testing.assert_array_equal(resumed[:30], order[12:])


def test_samples_differ_and_the_first_is_the_clip_without_others():
    clips = Clips(3)
    iterator = train_iterator(clips, RECIPE, 6, 0, num_threads=0, samples_per_clip=2)
    (batch,) = _take(iterator, 1)
    assert len(clips.reads) == 3
    first, second = ({name: value[k::2] for name, value in batch.items()} for k in (0, 1))
    _assert_equal([first], _take(_train(3, RECIPE, seed=0), 1))
    np.testing.assert_array_equal(first["clip_index"], second["clip_index"])
    for name in ("video", "skeleton"):
        assert all((one != other).any() for one, other in zip(first[name], second[name], strict=True))


@pytest.mark.parametrize("num_threads", [1, 3])
def test_the_stream_does_not_depend_on_threads(num_threads):
    _assert_equal(_take(_train(num_threads=num_threads), 8), _take(_train(), 8))


def test_seed_epoch_and_clip_change_the_augmentation():
    assert (_take(_train(seed=1), 1)[0]["video"] != _take(_train(seed=2), 1)[0]["video"]).any()
    epochs = _take(_train(1, batch_size=1), 3)  # one clip over and over
    for first, second in itertools.combinations(epochs, 2):
        assert (first["skeleton"] != second["skeleton"]).any()
        assert (first["video"] != second["video"]).any()


@pytest.mark.parametrize("num_threads", [0, 2])
def test_resumed_stream_equals_the_uninterrupted_one(num_threads):
    uninterrupted = _take(_train(num_threads=num_threads), 6)
    iterator = _train(num_threads=num_threads)
    _assert_equal([next(iterator) for _ in range(2)], uninterrupted[:2])
    state = json.loads(json.dumps(iterator.get_state()))
    assert len(json.dumps(state)) < 200
    next(iterator)
    iterator.set_state(state)  # in the same iterator
    _assert_equal([next(iterator)], uninterrupted[2:3])
    iterator.close()
    resumed = _train(num_threads=num_threads)
    resumed.set_state(state)  # in a new one
    assert resumed.get_state() == state
    _assert_equal(_take(resumed, 4), uninterrupted[2:])


def test_checkpoints_hold_the_iterator(tmp_path):
    iterator = _train()
    expected = [next(iterator) for _ in range(3)][2:]
    iterator.set_state(iterator.get_state() | {"place": 6})
    grain.checkpoint.CheckpointHandler().save(epath.Path(tmp_path), iterator)
    iterator.close()
    restored = grain.checkpoint.CheckpointHandler().restore(epath.Path(tmp_path), _train())
    _assert_equal(_take(restored, 1), expected)


@pytest.mark.parametrize(("batch_size", "process_count"), [(4, 1), (2, 2), (1, 4)])
def test_another_number_of_processes_resumes_with_the_same_global_batches(batch_size, process_count):
    iterator = _train(batch_size=4)
    uninterrupted = [next(iterator) for _ in range(4)]
    iterator.close()
    resumed = []
    for index in range(process_count):
        part = _train(batch_size=batch_size, process_index=index, process_count=process_count)
        part.set_state(iterator.get_state() | {"place": 8})
        resumed.append(_take(part, 2))
    joined = [
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} for parts in zip(*resumed, strict=True)
    ]
    _assert_equal(joined, uninterrupted[2:])


@pytest.mark.parametrize(("batch_size", "process_count"), [(1, 1), (2, 1), (5, 1), (1, 3), (3, 4)])
def test_another_global_batch_size_resumes_without_a_clip_lost_or_repeated(batch_size, process_count):
    before, state = _stream(3, 2, 2)  # 12 clips by batches of 4: in the middle of the second epoch of 7
    assert state["place"] == 12
    num_batches = 30 // (batch_size * process_count) + 1
    after, _ = _stream(num_batches, batch_size, process_count, state)
    order = np.concatenate([before, after])[:42]
    np.testing.assert_array_equal(order, _stream(42, 1)[0])
    _assert_each_clip_once_an_epoch(order)


@pytest.mark.parametrize(("options", "name"), [({"num_clips": 8}, "num_clips"), ({"seed": 6}, "seed")])
def test_a_state_of_another_stream_is_refused(options, name):
    with pytest.raises(UserError, match=f"the checkpoint has {name}"):
        _train(**options).set_state(_train().get_state())


@pytest.mark.parametrize("place", [None, -1, "8"])
def test_a_damaged_state_is_refused(place):
    with pytest.raises(UserError, match="expected place, 0 or more"):
        _train().set_state(_train().get_state() | {"place": place})


def test_flip_is_shared_by_frames_and_joints():
    flipped_spec = replace(PLAIN, augmentation=replace(NO_AUGMENTATION, flip_probability=1.0))
    plain = _take(_train(1, PLAIN, 4, seed=0), 1)[0]
    flipped = _take(_train(1, flipped_spec, 4, seed=0), 1)[0]
    np.testing.assert_array_equal(flipped["video"], plain["video"][..., ::-1, :])
    mirrored = plain["skeleton"][..., list(LAYOUTS["coco19"].flip), :] * np.float32([-1, 1, 1])
    np.testing.assert_array_equal(flipped["skeleton"], mirrored)

    mixed = replace(PLAIN, augmentation=replace(NO_AUGMENTATION, flip_probability=0.5))
    # Clip 2: the left half of each frame is darker than the right one, until it is mirrored.
    batch = _take(_train(3, mixed, 60, seed=0), 1)[0]
    rows = batch["clip_index"] == 2
    video = batch["video"][rows].astype(float)
    is_flipped = video[..., :8, :].mean(axis=(1, 2, 3, 4, 5)) > video[..., 8:, :].mean(axis=(1, 2, 3, 4, 5))
    reference = _take(_train(3, PLAIN, 60, seed=0), 1)[0]["skeleton"][rows]
    same = (batch["skeleton"][rows] == reference).all(axis=(1, 2, 3, 4))
    np.testing.assert_array_equal(is_flipped, ~same)
    assert 0 < is_flipped.sum() < len(is_flipped)


def test_frames_in_eval_are_the_ones_of_the_views():
    (batch,) = eval_batches(Clips(1), SPEC, 1, num_threads=0)
    # 10 frames, window 8: views start at 0 and 2; frame f is 250 - 5 f.
    frames = np.array([[1, 3, 5, 7], [3, 5, 7, 9]])
    np.testing.assert_allclose(batch["video"][0, :, :, 8, 8, 0], 250 - 5 * frames, atol=2)
    assert batch["video"].shape == (1, 2, 4, 16, 16, 3)


def test_crops_in_eval_lie_along_the_longer_side_of_every_image():
    class Ramp(Clips):
        """A level is 5 times the column or, in clip 1, which stands upright, 5 times the row."""

        def __getitem__(self, index):
            image = np.repeat(np.broadcast_to(5 * np.arange(48, dtype=np.uint8), (32, 48))[..., None], 3, axis=-1)
            grey = encode_jpeg(image if index == 0 else image.transpose(1, 0, 2), quality=95)
            flow = encode_grey_jpeg(image[..., 0] if index == 0 else image[..., 0].T, quality=95)
            flows = {"flow_x": [flow] * 10, "flow_y": [flow] * 10, "flow_scale": np.ones(2, np.float32)}
            return super().__getitem__(index) | {"frames": [grey] * 10} | flows

    spec = replace(SPEC, num_views=2, num_crops=3, crop_size=32, modalities=("video", "flow", "skeleton"))
    (batch,) = eval_batches(Ramp(2), spec, 2, num_threads=0)
    assert batch["video"].shape == (2, 6, 4, 32, 32, 3)
    assert batch["skeleton"].shape == (2, 8, 2, 19, 3)
    for crop, start in enumerate((0, 8, 16)):
        ramp = 5 * (start + np.arange(32))
        for view in (2 * crop, 2 * crop + 1):
            for name in ("video", "flow"):
                wide, upright = batch[name][:, view]
                np.testing.assert_allclose(wide, np.broadcast_to(ramp[:, None], wide.shape), atol=4)
                np.testing.assert_allclose(upright, np.broadcast_to(ramp[:, None, None], wide.shape), atol=4)
    middle = next(eval_batches(Ramp(2), replace(spec, num_crops=1), 2, num_threads=0))
    np.testing.assert_array_equal(batch["video"][:, 2:4], middle["video"])
    for name in ("skeleton", "skeleton_valid", "muscles"):
        np.testing.assert_array_equal(batch[name], middle[name])


def test_crops_see_the_same_frames_of_a_view():
    (batch,) = eval_batches(Clips(1), replace(SPEC, num_crops=3), 1, num_threads=0)
    frames = np.array([[1, 3, 5, 7], [3, 5, 7, 9]])
    np.testing.assert_allclose(batch["video"][0, :, :, 8, 8, 0], np.tile(250 - 5 * frames, (3, 1)), atol=2)


@pytest.mark.parametrize("process_count", [1, 2, 4])
@pytest.mark.parametrize(("num_clips", "batch_size"), [(7, 2), (1, 2), (8, 2), (0, 2)])
def test_eval_covers_every_clip_once_in_the_same_order_with_padding(num_clips, batch_size, process_count):
    spec = replace(SPEC, modalities=("skeleton",))
    by_process = [
        list(eval_batches(Clips(num_clips), spec, batch_size, process_index, process_count, num_threads=0))
        for process_index in range(process_count)
    ]
    assert {len(part) for part in by_process} == {num_eval_batches(num_clips, batch_size, process_count)}
    rows = [batch for parts in zip(*by_process, strict=True) for batch in parts]
    assert all(batch["clip_valid"].shape == (batch_size,) for batch in rows)
    alone = list(eval_batches(Clips(num_clips), spec, 1, num_threads=0))
    for key in rows[0] if rows else ():
        joined = np.concatenate([batch[key] for batch in rows])
        np.testing.assert_array_equal(joined[:num_clips], np.concatenate([batch[key] for batch in alone]))
        assert not joined[num_clips:].any()
    np.testing.assert_array_equal([batch["clip_index"][0] for batch in alone], np.arange(num_clips))
    assert all(batch["clip_valid"].all() for batch in alone)


def test_eval_is_the_same_every_time_and_with_threads():
    spec = replace(SPEC, augmentation=AugmentationSpec(flip_probability=1.0, pose_span=0.5))
    first = list(eval_batches(Clips(5), spec, 2, num_threads=0))
    _assert_equal(list(eval_batches(Clips(5), spec, 2, num_threads=2)), first)
    _assert_equal(list(eval_batches(Clips(5), SPEC, 2, num_threads=0)), first)


class Replaced(Clips):
    """Clips whose record 1 has some fields replaced (None removes one)."""

    def __init__(self, num_clips: int, **fields):
        super().__init__(num_clips)
        self.fields = fields

    def __getitem__(self, index: int) -> dict:
        record = super().__getitem__(index)
        if index == 1:
            record |= self.fields
        return {name: value for name, value in record.items() if value is not None}


def test_modalities_that_are_not_asked_for_are_not_touched():
    no_video = Replaced(2, frames=[b"broken"] * 9)
    skeleton_only = replace(SPEC, modalities=["skeleton"])
    batch = _take(train_iterator(no_video, skeleton_only, 2, 0, num_threads=0), 1)[0]
    assert not {"video"} & batch.keys()
    assert batch["skeleton_valid"][..., 0].all()
    no_skeleton = Replaced(2, skeleton=None, skeleton_layout=None)
    batch = _take(train_iterator(no_skeleton, replace(SPEC, modalities=["video"]), 2, 0, num_threads=0), 1)[0]
    assert batch.keys() == {"video", "muscles", "clip_valid", "clip_index"}


@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_broken_frame_ends_the_run_and_names_the_clip(num_threads):
    broken = [encode_jpeg(np.zeros((32, 48, 3), np.uint8))[:-40]] * 9
    with pytest.raises(UserError, match=r"clip clip1: frame \d") as error:
        _take(train_iterator(Replaced(2, frames=broken), SPEC, 2, 0, num_threads=num_threads), 1)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"clip clip1: frame \d"):
        list(eval_batches(Replaced(2, frames=broken), SPEC, 2, num_threads=num_threads))


def test_asking_again_after_an_error_does_not_skip_a_batch():
    class Flaky(Clips):
        failures = 1

        def __getitem__(self, index):
            if len(self.reads) == 4 and self.failures:
                self.failures -= 1
                raise OSError("gone for a moment")
            return super().__getitem__(index)

    iterator = train_iterator(Flaky(7), SPEC, 3, 5, num_threads=0)
    batches = [next(iterator)]
    with pytest.raises(OSError, match="gone for a moment"):
        next(iterator)
    _assert_equal(batches + _take(iterator, 2), _take(_train(), 3))


def test_records_without_a_modality_that_is_needed():
    with pytest.raises(UserError, match=r"expected records with 'skeleton'.*multimodal"):
        _take(train_iterator(Replaced(2, skeleton=None), SPEC, 2, 0, num_threads=0), 1)


def test_clips_without_a_person_have_no_valid_pose():
    nobody = Replaced(2, skeleton=np.zeros((11, 0, 17, 3), np.float32))
    (batch,) = eval_batches(nobody, SPEC, 2, num_threads=0)
    assert not batch["skeleton_valid"][1].any()
    assert batch["clip_valid"].all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": ()}, "input.modalities"),
        ({"num_frames": 0}, "input.num_frames: expected at least 1, got 0"),
        ({"frame_stride": 0}, "input.frame_stride"),
        ({"fps": float("nan")}, "input.fps"),
        ({"layout": "coco18"}, "coco17, coco19"),
    ],
)
def test_impossible_specifications_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        InputSpec(**fields)


def test_an_unknown_modality_is_refused_before_a_record_is_read():
    spec = replace(SPEC, modalities=("video", "depth"))
    for batches in (train_iterator, eval_batches):
        with pytest.raises(UserError, match=r"input\.modalities: expected some of video, flow, skeleton, got .*depth"):
            batches(Clips(2), spec, 1, 0)


def test_impossible_sizes_are_refused():
    with pytest.raises(UserError, match="at least one clip"):
        train_iterator(Clips(0), SPEC, 2, 0)
    with pytest.raises(UserError, match="batch size"):
        train_iterator(Clips(2), SPEC, 0, 0)
    with pytest.raises(UserError, match="samples_per_clip: expected at least 1, got 0"):
        train_iterator(Clips(2), SPEC, 2, 0, samples_per_clip=0)
    with pytest.raises(UserError, match="process index: expected 0 to 1, got 2"):
        eval_batches(Clips(2), SPEC, 1, process_index=2, process_count=2)


def test_worker_processes_give_the_same_stream():
    # 7 clips, batches of 3: an epoch ends within a batch.
    iterator = _train(spec=RECIPE, num_workers=2, num_threads=1)
    reference = _take(_train(spec=RECIPE), 8)
    batches = [next(iterator) for _ in range(7)]
    state = iterator.get_state()
    iterator.close()
    _assert_equal(batches, reference[:7])
    _assert_each_clip_once_an_epoch(np.concatenate([batch["clip_index"] for batch in batches]))
    resumed = _train(spec=RECIPE)
    resumed.set_state(state)
    _assert_equal(_take(resumed, 1), reference[7:])
