"""`python -m musclemap_jax.predict.web` as a command: how it starts and ends."""

from __future__ import annotations

import signal
import socket
import sys

import pytest

from musclemap_jax.predict.model_folder import save_model
from musclemap_jax.predict.web.__main__ import main
from tests.predict.videos import write_video
from tests.predict.web.conftest import start_server


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port=70000"], "argument --port: expected a number from 0 to 65535, got '70000': see --help"),
        (["--max_upload_mb=0"], "argument --max_upload_mb: expected a number from 1 to 4096, got '0': see --help"),
        (
            ["--pose=none", "--pose_model=a.task"],
            "--pose_model: goes with a pose estimator, got --pose=none: leave one of them out",
        ),
    ],
)
def test_impossible_arguments_are_one_line(capsys, arguments, message):
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_a_port_that_is_taken_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([f"--port={port}"]) == 2
    expected = f"error: --host=127.0.0.1 --port={port}: cannot listen there: Address already in use: "
    assert capsys.readouterr() == ("", f"{expected}choose another --port\n")


def test_without_the_extra_the_error_names_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tornado", None)
    assert main([]) == 2
    assert capsys.readouterr().err == "error: the page needs the extra web: pip install 'musclemap_jax[web]'\n"


def test_a_model_that_is_absent_is_one_line(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["--port=0", f"--run={tmp_path / 'absent'}"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "absent" in line
    assert list((tmp_path / "musclemap_jax" / "web").iterdir()) == []


def test_a_killed_server_leaves_its_uploads_to_the_next_one(processes, tmp_path):
    video = write_video(tmp_path / "slow.mp4", num_frames=590).read_bytes()
    process, client = start_server(processes, tmp_path)
    client.wait(client.uploaded(video, "slow.mp4"), "working")
    process.kill()
    process.wait()
    assert len(client.folders()) == 1
    process, client = start_server(processes, tmp_path)
    assert client.folders() == []
    client.wait(client.uploaded(video, "slow.mp4"), "working")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert list(client.uploads.iterdir()) == []


def test_the_real_model_answers(processes, tmp_path, tiny_stored_model, real_clip):
    save_model(tmp_path / "model", tiny_stored_model)
    process, client = start_server(
        processes, tmp_path, f"--run={tmp_path / 'model'}", module="musclemap_jax.predict.web"
    )
    token = client.answered(real_clip.read_bytes(), real_clip.name)
    answer = client.get(f"/videos/{token}/muscles.json").json
    assert (answer["source"], len(answer["predictions"][0]["windows"])) == ("person.mp4", 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
