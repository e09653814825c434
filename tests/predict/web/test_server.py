"""The page's server over real HTTP: answers, limits, hostile uploads; the model's answers are made up."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time

import pytest

from musclemap_jax.predict.outputs import read_muscles
from musclemap_jax.predict.web.server import MAX_UPLOADS
from tests.html_pages import Page
from tests.predict.videos import write_audio, write_video


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A video of 2.5 s."""
    return write_video(tmp_path_factory.mktemp("video") / "squat.mp4").read_bytes()


@pytest.fixture(scope="session")
def slow_video(tmp_path_factory):
    """A video that keeps a slow worker busy for 2 s."""
    return write_video(tmp_path_factory.mktemp("video") / "slow.mp4", num_frames=100).read_bytes()


@pytest.fixture(scope="session")
def endless_video(tmp_path_factory):
    """A video that keeps a slow worker busy for longer than the server waits for a visitor who is silent."""
    return write_video(tmp_path_factory.mktemp("video") / "slow.mp4", num_frames=590).read_bytes()


def parsed(html):
    page = Page()
    page.feed(html.decode())
    assert page.open == []
    return page


@pytest.mark.parametrize("path", ["/", "/style.css", "/page.js"])
def test_the_page_has_strict_headers_and_loads_nothing_from_elsewhere(client, path):
    response = client.get(path)
    assert response.status == 200
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "Server" not in response.headers
    assert not re.search(rb"https?://|//[a-z]+\.", response.body)


def test_a_video_becomes_a_report_and_data(client, video, tmp_path):
    token = client.answered(video)
    report = client.get(f"/videos/{token}/report.html")
    assert report.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "sandbox allow-same-origin" in report.headers["Content-Security-Policy"]
    assert "script-src" not in report.headers["Content-Security-Policy"]
    assert "squat.mp4" in parsed(report.body).text_of("", "title")[0]
    downloaded = client.get(f"/videos/{token}/muscles.json?download")
    assert downloaded.headers["Content-Disposition"] == "attachment; filename*=UTF-8''squat-muscles.json"
    (tmp_path / "muscles.json").write_bytes(downloaded.body)
    (prediction,) = read_muscles(tmp_path / "muscles.json")
    assert prediction.source == "squat.mp4"
    assert prediction.times_s.tolist() == [[0, 1], [1, 2], [2, 2.5]]
    assert client.get(f"/videos/{token}/muscles.csv").body.startswith(b"video,person,start_s")
    assert client.folders() == []  # the video is deleted once it is answered
    assert client.request("DELETE", f"/videos/{token}").status == 204
    assert client.get(f"/videos/{token}/report.html").status == 404


def test_an_expected_exercise_reaches_the_model(client, video):
    token = client.answered(video, expect="squat")
    assert client.get(f"/videos/{token}/muscles.json").json["predictions"][0]["warnings"] == ["expected squat"]
    assert client.get(f"/videos/{client.answered(video)}/muscles.json").json["predictions"][0]["warnings"] == []
    assert client.upload(video, expect="flying").error == (400, "Unknown exercise: choose one of the page")


def test_events_tell_the_progress_to_the_end(client, slow_video):
    token = client.uploaded(slow_video, "slow.mp4")
    states = []
    with contextlib.closing(client.connection()) as connection:
        connection.request("GET", f"/videos/{token}/events")
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "text/event-stream"
        while not states or states[-1]["state"] != "done":
            line = response.readline()
            if line.startswith(b"data: "):
                states.append(json.loads(line.removeprefix(b"data: ")))
    progress = [state["progress"] for state in states]
    assert progress == sorted(progress)
    assert len(set(progress)) > 3
    client.request("DELETE", f"/videos/{token}")


def test_two_visitors_are_answered_one_after_the_other(client, slow_video, video):
    first = client.uploaded(slow_video, "slow first.mp4")
    second = client.uploaded(video, "second.mp4")
    assert client.state(second) == {"state": "waiting", "ahead": 1, "progress": 0.0, "error": ""}
    while client.state(second)["state"] == "waiting":
        assert client.state(first)["state"] in ("waiting", "working", "done")
    assert client.state(first)["state"] == "done"
    assert client.wait(second, "done", "failed")["state"] == "done"
    for token, name in ((first, "slow first.mp4"), (second, "second.mp4")):
        assert client.get(f"/videos/{token}/muscles.json").json["source"] == name


def test_a_visitor_who_leaves_is_forgotten_and_the_next_one_is_answered(client, endless_video, video):
    """One cancels, one closes the connection, one is never heard of again."""
    cancelled = client.uploaded(endless_video, "slow.mp4")
    client.wait(cancelled, "working")
    assert client.request("DELETE", f"/videos/{cancelled}").status == 204
    closed = client.uploaded(endless_video, "slow.mp4")
    client.wait(closed, "working")
    with contextlib.closing(client.connection()) as connection:
        connection.request("GET", f"/videos/{closed}/events")
        assert connection.getresponse().readline().startswith(b"data: ")
    silent = client.uploaded(endless_video, "slow.mp4")
    token = client.answered(video)
    assert client.get(f"/videos/{closed}").status == client.get(f"/videos/{silent}").status == 404
    client.wait_until_clean()
    client.request("DELETE", f"/videos/{token}")


def test_a_visitor_who_waits_with_the_page_open_is_not_forgotten(client, endless_video):
    """The connection says so, for longer than the server waits for one who is silent."""
    token = client.uploaded(endless_video, "slow.mp4")
    with contextlib.closing(client.connection()) as connection:
        connection.request("GET", f"/videos/{token}/events")
        time.sleep(6)
        assert client.state(token)["state"] == "working"
    client.request("DELETE", f"/videos/{token}")


def test_an_upload_that_breaks_off_leaves_nothing(client):
    with socket.create_connection(client.host.split(":")) as connection:
        head = f"POST /videos?name=a.mp4 HTTP/1.1\r\nHost: {client.host}\r\nContent-Length: 900000\r\n\r\n"
        connection.sendall(head.encode() + bytes(200_000))
        deadline = time.monotonic() + 30
        while not client.folders():
            assert time.monotonic() < deadline
    client.wait_until_clean()


def test_uploads_that_are_refused_leave_room_for_others(client, video):
    for _ in range(MAX_UPLOADS + 1):
        assert client.request("POST", "/videos?name=%ff", b"x", {"Content-Length": "1"}).status == 400
    client.answered(video)


def hostile(folder):
    """{name: (content, what the server says)}."""
    whole = write_video(folder / "whole.mp4", num_frames=60).read_bytes()
    (folder / "list").mkdir()
    return {
        "empty.mp4": (b"", r"empty\.mp4: empty file"),
        "notes.mp4": (b"These are notes. " * 100, r"notes\.mp4: cannot be decoded"),
        "list.mp4": (f"ffconcat version 1.0\nfile {folder / 'whole.mp4'}\n".encode(), r"list\.mp4: cannot be decoded"),
        "sound.mp4": (write_audio(folder / "sound.mp4").read_bytes(), r"sound\.mp4: no video stream"),
        "half.mp4": (whole[: len(whole) // 2], r"half\.mp4: truncated: \d+ bytes of box 'mdat' are missing"),
        "long.mp4": (
            write_video(folder / "long.mp4", 130, fps=2.0).read_bytes(),
            r"The video is longer than 1 min: cut it\.",
        ),
        "short.mp4": (write_video(folder / "wide.mp4", 4, size=(16, 8200)).read_bytes(), "at most 8192 pixels a side"),
    }


def test_hostile_uploads_are_one_sentence_and_the_server_goes_on(client, tmp_path, video):
    for name, (content, expected) in hostile(tmp_path).items():
        token = client.uploaded(content, name)
        state = client.wait(token, "done", "failed")
        assert state["state"] == "failed", name
        assert re.search(expected, state["error"]), state
        assert str(client.uploads) not in state["error"]
    client.answered(video)
    assert client.folders() == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("crash.mp4", "The server gave up on this video: it may be damaged."),
        ("hang.mp4", "The server gave up on this video: it may be damaged."),
        ("bug.mp4", "The server failed on this video."),
    ],
)
def test_a_worker_that_dies_hangs_or_fails_costs_one_answer(client, video, name, error):
    token = client.uploaded(video, name)
    assert client.wait(token, "failed")["error"].startswith(error)
    client.answered(video)


def test_a_worker_that_does_not_listen_is_killed_when_its_visitor_leaves(client, video):
    token = client.uploaded(video, "hang.mp4")
    client.wait(token, "working")
    client.request("DELETE", f"/videos/{token}")
    client.answered(video)
    client.wait_until_clean()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("../../../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..", "__"),
        ("", "video"),
        ("a\r\nSet-Cookie: b=c.mp4", "a__Set-Cookie_ b_c.mp4"),
        ("<script>alert(1)</script>.mp4", "script_.mp4"),
        ("x" * 3000 + ".MP4", "x" * 100 + ".mp4"),
        ("Kniebeuge für Ömer.mp4", "Kniebeuge für Ömer.mp4"),
        ("squat.mp4.exe", "squat.mp4"),
        ("results", "results"),
        ("nul\0.mp4", "nul_.mp4"),
    ],
)
def test_hostile_names_are_names_and_nothing_else(client, video, name, source):
    token = client.answered(video, name)
    assert client.get(f"/videos/{token}/muscles.json").json["source"] == source
    response = client.get(f"/videos/{token}/muscles.csv?download")
    assert "Set-Cookie" not in response.headers
    assert re.fullmatch(
        r"attachment; filename\*=UTF-8''[\w%.~-]+-muscles\.csv", response.headers["Content-Disposition"]
    )
    page = parsed(client.get(f"/videos/{token}/report.html").body)
    assert not [tag for tag, _ in page.elements if tag == "script"]
    client.request("DELETE", f"/videos/{token}")


def test_a_video_that_is_too_large_is_refused_before_it_is_sent(client):
    with contextlib.closing(client.connection()) as connection:
        connection.putrequest("POST", "/videos?name=a.mp4")
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["error"]) == (413, "The video is larger than 1 MB")
    assert client.folders() == []


def test_a_video_of_unknown_size_is_refused(client):
    with contextlib.closing(client.connection()) as connection:
        connection.putrequest("POST", "/videos?name=a.mp4")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        response = connection.getresponse()
        error = "The size of the video has to be stated"
        assert (response.status, json.loads(response.read())["error"]) == (411, error)
    assert client.folders() == []


@pytest.mark.parametrize("path", ["/", "/videos/" + "a" * 22, "/videos/a/b"])
def test_other_methods_have_a_small_body(client, path):
    assert client.request("POST", path, b"x" * 1000).status in (404, 405)


def test_a_full_queue_is_refused_and_empties_again(client, endless_video, video):
    tokens = [client.uploaded(endless_video, "slow.mp4")]
    client.wait(tokens[0], "working")
    tokens += [client.uploaded(video) for _ in range(2)]
    assert client.upload(video).error == (503, "2 videos are waiting already: try again in a few minutes.")
    for token in tokens:
        client.request("DELETE", f"/videos/{token}")
    client.answered(video)
    client.wait_until_clean()


def test_other_sites_and_other_host_names_are_refused(client, video):
    refused = (403, "Requests of other sites are refused")
    assert client.upload(video, Origin="https://evil.example").error == refused
    assert client.upload(video, Origin="null").error == refused
    assert client.get("/", Host="evil.example").status == 403
    assert client.get("/", Host="[").status in (400, 403)
    assert client.get("/", Host="localhost:1").status == 200
    assert client.upload(b"", Origin=client.url).status == 202


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/style.css/../../setup.py",
        "/worker.py",
        "/page.html",
        "/videos/../setup.py",
        "/videos/aaaaaaaaaaaaaaaaaaaaaa/..%2f..%2fsetup.py",
        "/videos/aaaaaaaaaaaaaaaaaaaaaa/muscles.json",
        "//etc/passwd",
    ],
)
def test_no_file_of_the_server_is_readable(client, path):
    response = client.get(path)
    assert response.status == 404
    assert set(response.json) == {"error"}


def test_many_visitors_at_once(client, video):
    """They all look at the page while two upload; nobody waits for another."""
    statuses = []

    def visit():
        statuses.extend(client.get("/").status for _ in range(5))

    threads = [threading.Thread(target=visit) for _ in range(20)]
    for thread in threads:
        thread.start()
    client.answered(video)
    for thread in threads:
        thread.join()
    assert statuses == [200] * 100
