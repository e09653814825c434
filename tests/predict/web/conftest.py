"""A server in a process of its own, and a client for it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import signal
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.conftest import ROOT
from tests.processes import Processes

TIMEOUT_S = 120


@dataclasses.dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """(status, sentence) of a refusal."""
        return self.status, self.json["error"]


class Client:
    """A visitor without a browser."""

    def __init__(self, url: str, uploads: Path) -> None:
        self.url, self.uploads = url, uploads
        self.host = urlsplit(url).netloc

    def connection(self):
        return http.client.HTTPConnection(self.host, timeout=TIMEOUT_S)

    def request(self, method, path, body=None, headers=None):
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Response(response.status, dict(response.getheaders()), response.read())

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def upload(self, content, name="squat.mp4", expect="", **headers):
        return self.request("POST", f"/videos?name={quote(name)}&expect={quote(expect)}", content, headers)

    def uploaded(self, content, name="squat.mp4", expect=""):
        """The id of a video that the server takes."""
        response = self.upload(content, name, expect)
        assert response.status == 202, response.body
        return response.json["id"]

    def state(self, token):
        return self.get(f"/videos/{token}").json

    def wait(self, token, *states):
        """The first of the states that a job reaches; looking keeps it alive."""
        deadline = time.monotonic() + TIMEOUT_S
        while (state := self.state(token))["state"] not in states:
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        return state

    def answered(self, content, name="squat.mp4", expect=""):
        """The id of a video, once there is its answer."""
        token = self.uploaded(content, name, expect)
        assert self.wait(token, "done", "failed")["error"] == ""
        return token

    def folders(self):
        """Folders of videos on the server's disk."""
        return [folder for root in self.uploads.glob(".uploads.*.unfinished") for folder in root.iterdir()]

    def wait_until_clean(self):
        """Waits until no video is left on the server's disk."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.folders():
            assert time.monotonic() < deadline, self.folders()
            time.sleep(0.05)


def start_server(processes, cache, *arguments, module="tests.predict.web.fake_server"):
    """(process, client) of a server that is ready."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", module, "--port=0", "--pose=none", *arguments]
    process = processes.start(*command, env=environment, cwd=ROOT, stderr=None)
    url = process.stdout.readline().partition(" ")[0]
    return process, Client(url.rstrip("/"), cache / "musclemap_jax" / "web")


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    """A server that takes videos of up to a megabyte and a minute; two may wait."""
    with contextlib.closing(Processes()) as processes:
        arguments = ("--max_upload_mb=1", "--max_minutes=1", "--max_waiting=2")
        process, client = start_server(processes, tmp_path_factory.mktemp("cache"), *arguments)
        yield client
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0
        assert client.folders() == []
