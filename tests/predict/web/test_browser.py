"""The page in a real Chromium, with the network cut: upload, camera, download, accessibility.

Pictures of the page are written to the folder that SCREENSHOTS names, if it is set, to be looked at.
"""

from __future__ import annotations

import os
import time
from fractions import Fraction
from pathlib import Path

import av
import pytest

from musclemap_jax.predict.outputs import read_muscles
from tests.browser import Browser
from tests.predict.handmade import CLIP
from tests.predict.videos import write_video

pytestmark = pytest.mark.browser

WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, with a file in the place of the camera and downloads in a folder."""
    folder = tmp_path_factory.mktemp("chromium")
    camera = write_y4m(folder / "camera.y4m")
    options = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    )
    with Browser(folder, *options) as browser:
        (folder / "downloads").mkdir()
        browser.downloads = folder / "downloads"
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(browser.downloads))
        yield browser


def write_y4m(path):
    """The real clip at a quarter of its size, uncompressed, as Chromium wants it; returns its path."""
    with av.open(str(CLIP)) as source, av.open(str(path), "w", format="yuv4mpegpipe") as target:
        stream = target.add_stream("wrapped_avframe", rate=30)
        stream.width, stream.height, stream.pix_fmt = 270, 480, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            small = frame.reformat(270, 480, "yuv420p")
            small.pts, small.time_base = number, Fraction(1, 30)
            target.mux(stream.encode(small))
        target.mux(stream.encode())
    return path


def picture(page, name):
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(Path(folder) / f"{name}.png")


def answer(page, path):
    """Uploads a video and waits for the answer."""
    page.choose_file("#file", path)
    page.wait_for("!document.getElementById('send').disabled")
    page.click("#send")
    page.wait_for("!document.getElementById('answer').hidden")
    page.wait_for("parseFloat(document.getElementById('report').style.height) > 400")


def check(page, name):
    """Nothing scrolls sideways, and axe finds nothing, at both widths and in both colours."""
    for width in WIDTHS:
        page.resize(width, 900)
        for is_dark in (False, True):
            page.dark(is_dark)
            assert page.overflow() <= 0
            assert page.axe() == []
        page.dark(False)
        time.sleep(0.3)  # the frame is measured again
        picture(page, f"{name}-{width}")
    page.resize(WIDTHS[0], 900)


def test_an_upload_is_answered_and_downloaded(client, browser, tmp_path):
    video = write_video(tmp_path / "squat.mp4")
    page = browser.open(client.url)
    check(page, "start")
    page.evaluate("document.getElementById('expect').value = 'squat'")
    answer(page, video)
    check(page, "answer")
    for link, name in (("#json-link", "squat-muscles.json"), ("#report-link", "squat-report.html")):
        page.click(link)
        deadline = time.monotonic() + 30
        while not (browser.downloads / name).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    (prediction,) = read_muscles(browser.downloads / "squat-muscles.json")
    assert prediction.source == "squat.mp4"
    assert len(prediction.times_s) == 3
    assert prediction.warnings == ("expected squat",)
    assert page.complaints == []
    assert {url.partition("/videos")[0] for url in page.requests if not url.startswith("data:")} <= {
        client.url,
        *(f"{client.url}/{name}" for name in ("", "style.css", "page.js")),
    }
    page.click("#again")
    page.wait_for("!document.getElementById('choose').hidden")
    page.close()
    report = browser.open(f"file://{browser.downloads / 'squat-report.html'}")
    check(report, "report")
    report.close()


def test_the_camera_is_recorded_and_answered(client, browser):
    page = browser.open(client.url)
    page.click("#open-camera")
    page.wait_for("document.getElementById('camera').videoWidth === 270")
    picture(page, "camera")
    page.click("#record")
    page.wait_for("document.getElementById('record').textContent.startsWith('Stop')")
    time.sleep(2.5)
    page.click("#record")
    page.wait_for("document.getElementById('chosen').textContent.startsWith('Chosen: camera.')")
    assert not page.is_visible("#camera")
    page.click("#send")
    page.wait_for("!document.getElementById('answer').hidden || !document.getElementById('failed').hidden")
    assert page.text("#error") == ""
    link = page.evaluate("document.getElementById('json-link').getAttribute('href')")
    data = client.get(f"/{link}").json
    assert data["source"].startswith("camera.")
    assert 1.5 < data["duration_s"] < 10
    assert page.complaints == []
    page.close()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("notes.mp4", b"These are notes. " * 9, "notes.mp4: cannot be decoded"),
        ("large.mp4", bytes(3 << 20), "The video is larger than 1 MB: cut it or record it again."),
    ],
)
def test_what_is_no_video_is_a_sentence(client, browser, tmp_path, name, content, error):
    (tmp_path / name).write_bytes(content)
    page = browser.open(client.url)
    page.choose_file("#file", tmp_path / name)
    page.wait_for("document.getElementById('chosen').textContent.startsWith('Chosen')")
    if page.evaluate("!document.getElementById('send').disabled"):
        page.click("#send")
    page.wait_for("!document.getElementById('failed').hidden")
    assert page.text("#error").startswith(error)
    assert page.is_visible("#choose")
    check(page, f"refused-{name.partition('.')[0]}")
    page.close()


def test_a_visitor_who_closes_the_tab_frees_the_server_for_the_one_who_waits(client, browser, tmp_path):
    slow, quick = write_video(tmp_path / "slow.mp4", num_frames=590), write_video(tmp_path / "quick.mp4")
    first, second = browser.open(client.url), browser.open(client.url)
    first.choose_file("#file", slow)
    first.click("#send")
    first.wait_for("document.getElementById('status').textContent === 'Watching the video'")
    check(first, "working")
    second.choose_file("#file", quick)
    second.click("#send")
    second.wait_for("document.getElementById('status').textContent === 'Waiting: 1 video is before yours'")
    first.close()
    second.wait_for("!document.getElementById('answer').hidden")
    second.close()
    client.wait_until_clean()
