"""A loaded model answers for videos and arrays as the evaluator does, and says what it could not see."""

import dataclasses
import json
import shutil
import subprocess
import sys

import av
import jax
import numpy as np
import pytest

from musclemap_jax.data.examples import empty_batch
from musclemap_jax.data.pipeline import eval_batches
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.video import read_video
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.eval.evaluator import EvalSplit, Evaluator
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.pose.estimator import PosedPerson
from musclemap_jax.predict.answers import _spans
from musclemap_jax.predict.model import Model
from musclemap_jax.predict.sides import leading_side, limb_motion
from musclemap_jax.sharding.mesh import make_mesh, replicated
from musclemap_jax.skeleton_layouts import get_layout
from tests.predict.conftest import REAL_FPS, REAL_FRAMES
from tfds_musclemap.prepare import prepare
from tfds_musclemap.source import ClipSource


@pytest.fixture(scope="module")
def model(tiny_stored_model):
    return Model(tiny_stored_model)


@pytest.fixture
def skeleton(real_clip):
    """(T, 1, 17, 3) of the real clip."""
    return read_alphapose(real_clip.with_suffix(".json"), "coco17", REAL_FRAMES)


def evaluator_logits(model, video, tmp_path):
    """Logits by the builder, the input pipeline and the evaluator, for one clip."""
    root = tmp_path / "raw"
    clip = raw_dataset.Clip("person", "test_known", "balance", (1,))
    for source, target in (
        (video, raw_dataset.video_path(root, "person")),
        (video.with_suffix(".json"), raw_dataset.skeleton_path(root, "person")),
    ):
        target.parent.mkdir(parents=True)
        target.write_bytes(source.read_bytes())
    raw_dataset.write_annotations(root, [clip])
    builder = prepare("multimodal", tmp_path / "data", raw_dir=root)
    clips = ClipSource(builder.data_path, "test_known")
    split = EvalSplit(lambda: eval_batches(clips, model.input, 1), ["person"], ["balance"])
    mesh = make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    shardings = jax.tree.map(lambda _: replicated(mesh), model.variables)
    evaluator = Evaluator(model.module, mesh, shardings, {"test_known": split}, model.regions)
    return evaluator.predict(model.variables, "test_known").scores[0]


def test_a_video_gets_the_evaluators_scores(model, real_clip, tmp_path):
    prediction = model.predict(real_clip)
    expected = evaluator_logits(model, real_clip, tmp_path)
    np.testing.assert_allclose(prediction.logits, expected[None], atol=1e-5)
    np.testing.assert_allclose(prediction.times_s, [[0, REAL_FRAMES / REAL_FPS]])
    assert prediction.modalities == (("video", "skeleton"),)
    assert prediction.persons == ((1,),)
    assert prediction.warnings == ()
    assert np.abs(expected).max() > 1e-3


def test_a_variable_frame_rate_gets_the_evaluators_scores(model, real_clip, tmp_path):
    """Slow at first and fast in the end, at the same mean rate; the pose of each frame goes with it."""
    variable = tmp_path / "variable"
    variable.mkdir()
    clip = warped(real_clip, variable / "person.mp4")
    shutil.copy(real_clip.with_suffix(".json"), variable)
    numbers = []
    prediction = model.predict(clip, on_frame=lambda frame: numbers.append(frame.number))
    assert numbers == list(range(REAL_FRAMES))
    assert prediction.fps == pytest.approx(REAL_FPS, rel=1e-3)
    np.testing.assert_allclose(prediction.logits, evaluator_logits(model, clip, tmp_path)[None], atol=1e-5)
    assert np.abs(prediction.logits - model.predict(real_clip).logits).max() > 1e-4

    entries = json.loads(clip.with_suffix(".json").read_text())
    clip.with_suffix(".json").write_text(json.dumps([*entries, entries[0] | {"image_id": "000119.jpg"}]))
    with pytest.raises(
        UserError, match=r"got frame 119: is it the file of another video, or of another frame rate\? or made"
    ):
        model.predict(clip)


def warped(source, target):
    """Copies a video with times from 0 to its length that grow with the power of 1.5; returns the copy's path."""
    with av.open(str(source)) as original, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(original.streams.video[0])
        packets = [packet for packet in original.demux(video=0) if packet.size]
        length = max(packet.pts for packet in packets)
        times = sorted(packet.pts for packet in packets)
        for packet, decoded in zip(packets, times, strict=True):
            packet.pts = round(length * (packet.pts / length) ** 1.5)
            packet.dts = round(length * (decoded / length) ** 1.5) - length // 10
            packet.stream = stream
            copy.mux(packet)
    return target


def test_arrays_get_the_same_answer_as_their_file(model, real_clip, skeleton):
    video = read_video(real_clip)
    frames = np.stack(list(video.frames))
    scale = np.float32([frames.shape[2] / video.source_size[1], frames.shape[1] / video.source_size[0], 1])
    arrays = model.predict(frames, skeleton=skeleton * scale, fps=REAL_FPS)
    from_file = model.predict(real_clip)
    # Frames go to JPEG by way of RGB here, and by way of the video's own planes there.
    np.testing.assert_allclose(arrays.logits, from_file.logits, atol=0.05)
    np.testing.assert_array_equal(arrays.persons, from_file.persons)


def test_arrays_of_jax_are_arrays(model):
    frames, skeleton = np.zeros((8, 32, 32, 3), np.uint8), np.zeros((8, 1, 17, 3), np.float32)
    expected = model.predict(frames, skeleton=skeleton, fps=30)
    found = model.predict(jax.numpy.asarray(frames), skeleton=jax.numpy.asarray(skeleton), fps=30)
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_a_skeleton_of_every_second_frame_of_a_file_is_refused(model, real_clip, skeleton):
    with pytest.raises(UserError, match=f"skeleton: expected {REAL_FRAMES} frames as the video has, got"):
        model.predict(real_clip, skeleton=skeleton[::2])


def test_windows_cover_the_whole_video_and_memory_holds_one(model, real_clip):
    seen = []
    prediction = model.predict(real_clip, window_s=0.5, overlap=0.5, on_frame=lambda frame: seen.append(frame.number))
    starts = [0.0, 0.25, 0.5, 0.75, 1.0, 70 / 60]  # the last window ends with the video
    np.testing.assert_allclose(prediction.times_s, [[start, start + 0.5] for start in starts])
    assert seen == list(range(REAL_FRAMES))
    alone = model.predict(real_clip, window_s=0.5)
    np.testing.assert_allclose(alone.times_s[:, 0], [0, 0.5, 1.0, 70 / 60])
    np.testing.assert_allclose(alone.logits[:3], prediction.logits[[0, 2, 4]], atol=1e-5)


def test_a_window_has_the_motion_of_the_persons_whom_the_model_takes(model, real_clip, skeleton):
    """It takes one; the second person moves the other leg, and is asked for by number."""
    layout = get_layout("coco17")
    mirrored = skeleton[:, :, list(layout.flip)]
    both = np.concatenate([skeleton, mirrored], axis=1)
    expected = limb_motion(skeleton, layout.joints, REAL_FPS)
    assert leading_side(expected) == {"arms": None, "legs": "right"}
    np.testing.assert_array_equal(model.predict(real_clip, skeleton=both).limb_motion, [expected])
    second = model.predict(real_clip, skeleton=both, person=2).limb_motion
    np.testing.assert_array_equal(second, [expected[:, ::-1]])
    assert np.isnan(model.predict(real_clip, pose="none").limb_motion).all()


def test_a_person_lost_in_mid_video_is_reported_and_not_averaged_in(model, real_clip, skeleton):
    skeleton[50:] = 0
    prediction = model.predict(real_clip, skeleton=skeleton, window_s=50 / 60)
    assert prediction.modalities == (("video", "skeleton"), ("video",))
    assert prediction.warnings == ("No person found in 0.8-1.7 s: the answer rests on video alone.",)
    branches = prediction.branch_probabilities
    assert np.isnan(branches["skeleton"][1]).all()
    logits = np.log(branches["video"][1] / (1 - branches["video"][1]))
    np.testing.assert_allclose(prediction.logits[1], logits, atol=1e-5)


def test_a_skeleton_model_without_a_person_gives_no_answer(tiny_stored_model, real_clip, skeleton):
    spec = tiny_stored_model.spec
    model_spec = dataclasses.replace(spec.model, branches=("skeleton",), sites="none", fusion="none")
    input_spec = dataclasses.replace(spec.input, modalities=("skeleton",))
    params = {name: tiny_stored_model.variables["params"][name] for name in ("skeleton", "head_skeleton")}
    # One set of tokens instead of two.
    tokens = params["skeleton"]["tokens"][:20]
    params["skeleton"] = _one_token_set(params["skeleton"] | {"tokens": tokens})
    stored = dataclasses.replace(
        tiny_stored_model,
        spec=dataclasses.replace(spec, model=model_spec, input=input_spec),
        variables=tiny_stored_model.variables | {"params": params},
    )
    skeleton[50:] = 0
    prediction = Model(stored).predict(real_clip, skeleton=skeleton, window_s=50 / 60)
    assert prediction.modalities == (("skeleton",), ())
    assert np.isnan(prediction.probabilities[1]).all()
    assert np.isfinite(prediction.probabilities[0]).all()
    assert not prediction.active[1].any()
    np.testing.assert_array_equal(prediction.mean_probabilities(), prediction.probabilities[0])
    assert prediction.warnings == ("No person found in 0.8-1.7 s: there is no answer.",)
    with pytest.raises(UserError, match=r"pose: expected 'auto' or a skeleton, got 'none'"):
        Model(stored).predict(np.zeros((8, 32, 32, 3), np.uint8), fps=30, pose="none")


def _one_token_set(params):
    """The skeleton branch's parameters for 20 tokens instead of 40."""
    return jax.tree.map_with_path(
        lambda path, leaf: (
            leaf[:20] if path[-1].key == "adjacency" else leaf[:, :20] if path[-1].key == "spread" else leaf
        ),
        params,
    )


def two_persons(skeleton):
    """The person, and from frame 50 on a smaller second one to the right."""
    second = skeleton * np.float32([0.5, 0.5, 1]) + np.float32([500, 0, 0]) * (skeleton[..., 2:] > 0)
    second[:50] = 0
    return np.concatenate([skeleton, second], axis=1)


def test_each_person_is_answered_for_on_their_own(model, real_clip, skeleton):
    both = two_persons(skeleton)
    first, second = model.predict_each_person(real_clip, skeleton=both, window_s=50 / 60)
    assert (first.person, second.person) == (1, 2)
    assert first.warnings == second.warnings == ()
    assert (len(first.times_s), len(second.times_s)) == (2, 1)
    alone = model.predict(real_clip, skeleton=both[:, 1:], window_s=50 / 60)
    np.testing.assert_allclose(second.logits[0], alone.logits[1], atol=1e-5)
    chosen = model.predict(real_clip, skeleton=both, window_s=50 / 60, person=2)
    np.testing.assert_allclose(chosen.logits[1], second.logits[0], atol=1e-5)
    assert chosen.person == 2
    with pytest.raises(UserError, match=r"person: expected one of those seen in the video, \[1, 2\], got 7"):
        model.predict(real_clip, skeleton=both, window_s=50 / 60, person=7)


def test_a_person_who_passes_by_is_not_spoken_of(model, real_clip, skeleton):
    both = two_persons(skeleton)
    both[60:, 1] = 0  # the second one is seen in 10 of 100 frames
    prediction = model.predict(real_clip, skeleton=both)
    assert prediction.persons == ((1,),)
    assert len(model.predict_each_person(real_clip, skeleton=both)) == 1


def test_more_persons_than_the_model_takes_are_reported(model, real_clip, skeleton):
    prediction = model.predict(real_clip, skeleton=two_persons(skeleton), window_s=50 / 60)
    assert prediction.persons == ((1,), (1, 2))
    assert len(prediction.warnings) == 1
    assert "More persons are seen than the model takes (1)" in prediction.warnings[0]


class FakeEstimator:
    """Finds the person of a given skeleton in images of 720 pixels."""

    name, layout = "fake", "coco17"

    def __init__(self, skeleton):
        self.skeleton, self.times = skeleton * np.float32([720 / 1080, 1280 / 1920, 1]), []

    def detect(self, image, time_s):
        assert image.shape == (1280, 720, 3)
        self.times.append(time_s)
        return [PosedPerson(self.skeleton[len(self.times) - 1, 0], 0.9)]

    def close(self):
        pass


def test_a_pose_estimator_gives_the_same_answer_as_its_file(model, real_clip, skeleton):
    real_clip.with_suffix(".json").unlink()
    estimator = FakeEstimator(skeleton)
    prediction = model.predict(real_clip, pose=estimator)
    np.testing.assert_allclose(prediction.logits, model.predict(real_clip, skeleton=skeleton).logits, atol=1e-4)
    np.testing.assert_allclose(estimator.times, np.arange(REAL_FRAMES) / REAL_FPS)


def test_optical_flow_is_computed_for_a_model_that_needs_it(tiny_stored_model):
    spec = tiny_stored_model.spec
    model_spec = dataclasses.replace(spec.model, branches=("optical_flow",), sites="none", fusion="none")
    spec = dataclasses.replace(
        spec, model=model_spec, input=dataclasses.replace(spec.input, modalities=model_spec.modalities)
    )
    module, batch = TransM3E(model_spec), empty_batch(spec.input, 1, 1)
    variables = jax.jit(lambda key: module.init(key, batch))(jax.random.key(0))
    flow_model = Model(dataclasses.replace(tiny_stored_model, spec=spec, variables=variables))
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 96, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    still = np.stack([picture] * 8)
    moving = np.stack([np.roll(picture, 4 * number, axis=1) for number in range(8)])
    first, second = (flow_model.predict(frames, fps=30) for frames in (still, moving))
    assert first.modalities == (("flow",),)
    assert np.abs(first.logits - second.logits).max() > 1e-4


def test_long_lists_of_times_are_cut():
    times = [(4.0 * number, 4.0 * number + 1) for number in range(9)]
    assert _spans([(0, 2), (1, 3), (5, 6)]) == "0.0-3.0 s, 5.0-6.0 s"
    assert _spans(times).endswith("20.0-21.0 s and 3 more")


def test_without_an_estimator_the_error_names_the_way_without_and_a_bad_video_comes_first(
    model, real_clip, monkeypatch
):
    def missing(*_):
        raise UserError("MediaPipe is not installed")

    monkeypatch.setattr("musclemap_jax.predict.model.open_estimator", missing)
    real_clip.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"MediaPipe is not installed.*; or go without a skeleton: pose='none'"):
        model.predict(real_clip)
    real_clip.write_bytes(real_clip.read_bytes()[:50_000])
    with pytest.raises(UserError, match=r"person\.mp4: truncated"):
        model.predict(real_clip)


def test_apply_takes_arrays_without_labels(model, tiny_batch):
    batch = tiny_batch(2)
    output = model.apply({name: batch[name] for name in ("video", "skeleton", "skeleton_valid")})
    assert output.logits.shape == (2, 20)
    assert output.branches["skeleton"].final_classification.shape == (2, 20, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fps": None}, "fps: expected the frames per second of the array, got None"),
        ({"overlap": 1.0}, r"windows: expected a length above 0 s and an overlap in \[0, 1\), got 1.66"),
        ({"skeleton": np.zeros((8, 1, 18, 3))}, r"skeleton: expected \(T, P, 17, 3\) of layout coco17, got \(8, 1, 18"),
        ({"skeleton": np.zeros((7, 1, 17, 3))}, "skeleton: expected 8 frames as the video has, got 7"),
        ({"window_s": 0.0}, "windows: expected a length above 0 s"),
        ({"pose": "openpose"}, "pose: expected 'auto', 'none', a .task file or a pose estimator, got 'openpose'"),
    ],
)
def test_impossible_arguments_are_refused(model, arguments, message):
    given = {"fps": 30.0, "skeleton": np.zeros((8, 1, 17, 3))} | arguments
    if "pose" in arguments:
        del given["skeleton"]
    with pytest.raises(UserError, match=message):
        model.predict(np.zeros((8, 32, 32, 3), np.uint8), **given)


def test_too_few_frames_are_refused(model):
    with pytest.raises(UserError, match="frames: expected at least 4 frames of movement, got 3"):
        model.predict(np.zeros((3, 32, 32, 3), np.uint8), fps=30, pose="none")


def test_importing_the_package_is_light():
    code = "import musclemap_jax, sys; print(sorted({'jax', 'numpy', 'tensorflow_datasets'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"
