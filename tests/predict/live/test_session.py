"""A camera's answers are those of the same windows of a file, with one compilation, whatever is dropped on the way."""

import threading
import time

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.pose.estimator import PosedPerson
from musclemap_jax.predict.live import session
from musclemap_jax.predict.live.camera import FULL_SPEED, REAL_TIME
from musclemap_jax.predict.live.session import Live
from musclemap_jax.predict.model import Model
from tests.predict.videos import FPS, write_video

NUM_FRAMES, WINDOW = 40, 10


@pytest.fixture
def model(tiny_stored_model):
    """Windows of ten frames."""
    model = Model(tiny_stored_model)
    model.window_s = WINDOW / FPS
    return model


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "squat.mp4", NUM_FRAMES)


class Estimator:
    """Finds one person, whose joints follow the brightness of the image, in `delay_s` seconds."""

    name, layout = "fake", "coco17"

    def __init__(self, delay_s=0.0):
        self.delay_s, self.images, self.closed = delay_s, 0, False

    def detect(self, image, time_s):
        time.sleep(self.delay_s)
        self.images += 1
        joints = np.random.default_rng(int(image.mean())).uniform(4, 28, (17, 3)).astype(np.float32)
        return [PosedPerson(joints * np.float32([1, 1, 0]) + np.float32([0, 0, 0.9]), 0.9)]

    def close(self):
        self.closed = True


def starts_of(prediction):
    return np.rint(prediction.times_s[:, 0] * FPS).astype(int).tolist()


@pytest.mark.parametrize(("overlap", "starts"), [(0.0, [0, 10, 20, 30]), (0.7, list(range(0, 31, 3)))])
def test_streamed_windows_equal_those_of_the_file(model, video, overlap, starts):
    offline = model.predict(video, pose=Estimator(), overlap=overlap)
    with Live(model, str(video), pace=FULL_SPEED, pose=Estimator(), overlap=overlap) as live:
        newest = list(live)
    streamed = live.prediction()
    assert starts_of(streamed) == starts_of(offline) == starts
    np.testing.assert_allclose(streamed.logits, offline.logits, atol=1e-5)
    assert np.ptp(offline.logits, axis=0).max() > 1e-3
    assert streamed.persons == offline.persons == ((1,),) * len(starts)
    assert streamed.duration_s == NUM_FRAMES / FPS
    assert live.dropped == 0
    np.testing.assert_array_equal(np.concatenate([each.prediction.logits for each in newest]), streamed.logits)
    assert model._apply._cache_size() == 1


def test_in_real_time_the_answers_are_those_of_the_file(model, video, monkeypatch):
    """A busy machine may answer fewer windows, but not other ones; one that is not answers them all."""
    monkeypatch.setattr(session, "_BACKLOG_S", 60.0)  # no frame is dropped, however busy
    with Live(model, str(video), pose=Estimator()) as live:
        ages = [newest.age_s(newest.answered_at) for newest in live]
    offline = model.predict(video, pose=Estimator(), overlap=0.5)  # a window every half second
    streamed = live.prediction()
    places = [starts_of(offline).index(start) for start in starts_of(streamed)]
    assert places == sorted(set(places))
    assert places[-1] == len(offline.times_s) - 1
    np.testing.assert_allclose(streamed.logits, offline.logits[places], atol=1e-5)
    assert min(ages) > 0


def test_a_slow_model_answers_the_newest_window_and_counts_the_frames_that_it_never_saw(model, video, monkeypatch):
    """It takes the first window of a second, and then the last: the file has ended before it looks again."""
    ended = threading.Event()
    played = session.hand_on

    def hand_on(items, backlog):
        played(items, backlog)
        if threading.current_thread().name == "watch":
            ended.set()

    monkeypatch.setattr(session, "hand_on", hand_on)
    with Live(model, str(video), pace=REAL_TIME, pose=Estimator(), overlap=0.0) as live:
        answers = iter(live)
        next(answers)
        assert ended.wait(60)
        assert len(list(answers)) == 1
    assert starts_of(live.prediction()) == [0, 30]
    assert live.dropped == 20
    offline = model.predict(video, pose=Estimator())
    np.testing.assert_allclose(live.prediction().logits, offline.logits[[0, 3]], atol=1e-5)


def test_a_slow_pose_estimator_loses_frames_but_no_time(model, video):
    """It looks at half of the frames at most; the places of the others repeat the frame before them."""
    estimator = Estimator(delay_s=2 / FPS)
    with Live(model, str(video), pose=estimator, overlap=0.0) as live:
        list(live)
    assert estimator.images < 0.7 * NUM_FRAMES
    assert live._frames.dropped == NUM_FRAMES - estimator.images
    assert live.prediction().times_s[-1, 1] == pytest.approx(NUM_FRAMES / FPS, abs=0.5)


def test_leaving_ends_the_threads_and_closes_the_estimator(model, video, monkeypatch):
    estimator = Estimator()
    monkeypatch.setattr(model, "pose_estimator", lambda pose, choose, stack: (stack.callback(pose.close), pose)[1])
    with Live(model, str(video), pose=estimator) as live:
        next(iter(live))
        assert {"capture", "watch"} <= {thread.name for thread in threading.enumerate()}
    assert estimator.closed
    assert not {"capture", "watch"} & {thread.name for thread in threading.enumerate()}


def test_a_camera_that_stops_ends_the_answers_with_an_error(model, tmp_path, pipe, monkeypatch):
    """Its frames come all at once, so most are dropped; a window of four is left."""
    monkeypatch.setattr(session, "_STOPPED_S", 3.0)
    model.window_s = 4 / FPS
    path = pipe(write_video(tmp_path / "source.mkv", 25).read_bytes(), ends=False)
    with (
        Live(model, str(path), pose="none", overlap=0.0) as live,
        pytest.raises(UserError, match=rf"^--camera={path}: the camera stopped: no frame for [0-9.]+ s$"),
    ):
        list(live)
    assert len(live.answers) >= 1
    assert live.dropped > 0


def test_a_video_shorter_than_four_frames_is_refused(model, tmp_path):
    path = write_video(tmp_path / "short.mp4", 3)
    with (
        Live(model, str(path), pace=FULL_SPEED, pose="none") as live,
        pytest.raises(UserError, match="expected at least 4 frames of movement, got 3"),
    ):
        list(live)
