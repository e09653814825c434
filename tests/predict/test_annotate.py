"""The annotated video: real frames with skeleton and panel, complete or not there."""

import av
import numpy as np
import pytest

from musclemap_jax.data.raw.video import VideoError, encode_video, read_video
from musclemap_jax.predict.annotate import annotate_video
from musclemap_jax.predict.joint_store import JointStore
from musclemap_jax.predict.panel import _MARGIN, _TITLE, draw_panel, panel_layout
from musclemap_jax.predict.shading import shading
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.predict.handmade import CLIP, FPS, NUM_FRAMES, Frame, prediction, real_frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The real clip at 270 x 480 pixels, so that a second encoding is quick."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    encode_video(path, read_video(CLIP, 270).frames, FPS)
    return path


@pytest.fixture(scope="module")
def originals(clip):
    return np.stack(list(read_video(clip, 270).frames))


@pytest.fixture(scope="module")
def joints():
    store = JointStore()
    for frame in real_frames():
        store(frame)
    return store


@pytest.fixture(scope="module")
def answer():
    """Two windows: nothing, then everything, in the clip's first and second half."""
    times_s = np.array([[0, 50], [50, 100]]) / FPS
    return prediction([[0.0] * 20, [1.0] * 20], duration_s=NUM_FRAMES / FPS, times_s=times_s)


@pytest.fixture(scope="module")
def annotated(clip, joints, answer, tmp_path_factory):
    path = tmp_path_factory.mktemp("annotated") / "annotated.mp4"
    drawn = []
    annotate_video(clip, path, answer, joints, drawn.append)
    assert drawn == list(range(1, NUM_FRAMES + 1))
    assert [each.name for each in path.parent.iterdir()] == ["annotated.mp4"]
    video = read_video(path)
    assert video.fps == FPS
    return np.stack(list(read_video(path, 270).frames))


def test_every_frame_is_there_at_the_videos_size(annotated):
    assert annotated.shape == (NUM_FRAMES, 480, 270, 3)


def test_skeletons_are_drawn_where_the_joints_are(annotated, joints):
    for number in (0, 30, 99):
        thigh = joints.persons_of(number)[1][[11, 13], :2].mean(axis=0)
        x, y = np.rint((thigh + 0.5) * 480 / joints.image_size[0] - 0.5).astype(int)
        near = annotated[number, y - 1 : y + 2, x - 1 : x + 2].astype(int)
        assert np.abs(near - (86, 180, 233)).max(axis=-1).min() < 60  # the line is two pixels wide


def test_the_panel_changes_with_the_window_and_hides_nobody(annotated, originals):
    height, width = panel_layout((480, 270), MUSCLE_REGIONS).size
    corners = [np.s_[:, rows, columns] for rows in (slice(0, height), slice(-height, None))
               for columns in (slice(0, width), slice(-width, None))]  # fmt: skip
    changes = [np.abs(annotated[corner].astype(int) - originals[corner]).mean() for corner in corners]
    chosen = int(np.argmax(changes))
    assert chosen in (2, 3)  # the person stands at the top, and in the middle
    panel = annotated[corners[chosen]]
    orange = ((panel[..., 0] > 200) & (panel[..., 2] < 110)).sum(axis=(1, 2))
    assert orange[:50].max() < 60
    assert orange[50:].min() > 1_000


def test_the_rest_of_the_frame_is_kept(annotated, originals):
    assert np.abs(annotated[:, :30].astype(int) - originals[:, :30]).mean() < 6


def test_times_without_a_window_have_no_answer(tmp_path):
    encode_video(tmp_path / "grey.mp4", np.full((40, 480, 640, 3), 128, np.uint8), 20)
    times_s = np.array([[0, 0.5], [1.5, 2]])
    annotate_video(
        tmp_path / "grey.mp4", tmp_path / "out.mp4", prediction([[1.0] * 20] * 2, times_s=times_s), JointStore()
    )
    drawn = np.stack(list(read_video(tmp_path / "out.mp4", 480).frames))
    orange = ((drawn[..., 0] > 200) & (drawn[..., 2] < 110)).sum(axis=(1, 2))
    assert orange[10:30].max() < 60
    assert min(orange[:10].min(), orange[30:].min()) > 1_000


def test_odd_sizes_and_turned_videos_are_written(tmp_path, answer):
    """A phone's video: the file holds it lying, its matrix turns it upright."""
    frames = np.zeros((6, 64, 98, 3), np.uint8)
    frames[:, :, :20] = 255
    encode_video(tmp_path / "lying.mp4", frames, 30)
    with av.open(str(tmp_path / "lying.mp4")) as source:
        assert source.streams.video[0].width == 98
    data = (tmp_path / "lying.mp4").read_bytes()
    one = (1 << 16).to_bytes(4, "big")
    zero, minus = bytes(4), (-(1 << 16)).to_bytes(4, "big", signed=True)
    identity = one + zero * 3 + one + zero * 3 + (1 << 30).to_bytes(4, "big")
    turned = zero + one + zero + minus + zero * 2 + (64 << 16).to_bytes(4, "big") + zero + (1 << 30).to_bytes(4, "big")
    place = data.index(identity, data.index(b"tkhd"))
    (tmp_path / "turned.mp4").write_bytes(data[:place] + turned + data[place + 36 :])
    annotate_video(tmp_path / "turned.mp4", tmp_path / "out.mp4", answer, JointStore())
    drawn = np.stack(list(read_video(tmp_path / "out.mp4").frames))
    assert drawn.shape == (6, 98, 64, 3)
    assert drawn[:, 2:16, 2:20].mean() > 200  # the left edge has become the top one
    assert drawn[:, 60:, :20].mean() < 30


def test_a_broken_video_leaves_nothing_behind(clip, joints, answer, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes()[:-2_000])
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(VideoError, match="truncated"):
        annotate_video(tmp_path / "clip.mp4", tmp_path / "out.mp4", answer, joints)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


def test_an_interrupted_run_leaves_nothing_behind(clip, joints, answer, tmp_path):
    def interrupt(number):
        if number == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        annotate_video(clip, tmp_path / "out.mp4", answer, joints, interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "num_rows", "with_map"),
    [((1080, 1920), 10, True), ((1920, 1080), 10, True), ((240, 426), 1, True), ((48, 64), 1, True)],
)
def test_the_panel_fits_into_the_frame(size, num_rows, with_map):
    layout = panel_layout(size, MUSCLE_REGIONS)
    assert layout.num_rows >= num_rows
    assert layout.with_map == with_map
    assert layout.size[0] <= size[0]
    assert layout.size[1] <= size[1] / 2
    panel = draw_panel(layout, shading(prediction([[0.5] * 20])), range(20))
    assert panel.shape == (*layout.size, 4)


def test_bars_are_as_long_as_probabilities():
    layout = panel_layout((1080, 1920), ("engine", "boiler"))
    assert (layout.with_map, layout.num_rows) == (False, 2)
    two = prediction([[1.0, 0.25]], ("engine", "boiler"), active=np.array([[True, True]]))
    panel = draw_panel(layout, shading(two), [0, 1])
    orange = ((panel[..., 0] > 240) & (panel[..., 2] < 80)).sum(axis=1)
    half = len(orange) - 20 - 33  # between the two rows, above the margin
    assert orange[half:].max() / orange[:half].max() == pytest.approx(0.25, abs=0.01)


def test_a_window_without_an_answer_has_no_bars():
    layout = panel_layout((1080, 1920), MUSCLE_REGIONS)
    panel = draw_panel(layout, shading(prediction([[np.nan] * 20])), range(20))
    assert not ((panel[..., 0] > 200) & (panel[..., 2] < 110)).any()


def test_the_side_that_moved_less_is_shaded_more_faintly():
    """The left leg moved: of the body from the front, at the panel's left, the legs' right half in the picture."""
    layout = panel_layout((1080, 1920), MUSCLE_REGIONS)
    leg = prediction([[0.0] * 13 + [0.4] + [0.0] * 6], limb_motion=np.array([[[0, 0], [0.9, 0.1]]], np.float32))
    assert MUSCLE_REGIONS[13] == "quadriceps"
    panel = draw_panel(layout, shading(leg), range(20))[: round((_TITLE + layout.map_height) * layout.scale)]
    middle = round((_MARGIN + layout.map_width / 2) * layout.scale)
    red = [int((half[..., 0] > threshold).sum()) for threshold in (100, 130)
           for half in (panel[80:, :middle], panel[80:, middle : 2 * middle])]  # fmt: skip
    assert red[2] == 0  # the right leg: 70 + 0.12 * 185 of red
    assert red[3] > 900  # the left leg: 70 + 0.4 * 185


def test_frames_without_persons_are_drawn_too(tmp_path):
    encode_video(tmp_path / "grey.mp4", np.full((4, 48, 64, 3), 128, np.uint8), 30)
    store = JointStore()
    store(Frame(0, 0.0, np.zeros((48, 64, 3), np.uint8), {}))
    nobody = prediction(np.zeros((0, 20)), duration_s=4 / 30)
    annotate_video(tmp_path / "grey.mp4", tmp_path / "out.mp4", nobody, store)
    drawn = np.stack(list(read_video(tmp_path / "out.mp4").frames))
    assert np.abs(drawn[:, :, :30].astype(int) - 128).max() < 4
    assert drawn[:, :40, 40:].mean() < 90  # the panel says that there is no answer
