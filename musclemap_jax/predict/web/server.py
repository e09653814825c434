"""The page over HTTP: what is fetched, what is uploaded, and what nobody may do.

    GET    /                      the page; /style.css and /page.js belong to it
    POST   /videos?name=squat.mp4 a video as the body, of a stated and bounded length -> {"id": ...}; &expect=EXERCISE
    GET    /videos/ID             the state of the job
    GET    /videos/ID/events      the same as server-sent events, whenever it changes; keeps the job alive
    GET    /videos/ID/FILE        a result, one of `jobs.RESULT_FILES`
    DELETE /videos/ID             forgets the video

No answer comes from a path that a request names: the page is in memory from the start, and so are results. Uploads are
named by us. Requests of other sites are refused, as is, on a local server, a host name that is not this machine's (DNS
rebinding).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import tornado.iostream
import tornado.web

from musclemap_jax.predict.names import folder_name
from musclemap_jax.predict.video_files import VIDEO_SUFFIXES
from musclemap_jax.predict.web.jobs import RESULT_FILES, BusyError, Job, Jobs, new_folder
from musclemap_jax.predict.web.worker import VIDEO
from musclemap_jax.reporting.html_pages import page_environment

MAX_UPLOADS = 4
"""Videos that are received at a time."""

MAX_RECORDING_S = 30
"""Length of a video that the page records."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox allow-same-origin"
)
"""The report runs no script; the page that frames it measures its height."""

HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_PING_S = 10.0
_LOOK_S = 0.2
"""How often the state of a job is compared with what its visitor knows."""


def make_application(
    jobs: Jobs, folder: Path, max_bytes: int, model: str, exercises: Sequence[str], is_local: bool
) -> tornado.web.Application:
    """The application.

    Args:
      jobs: The jobs, which somebody else works on.
      folder: Where uploads are put.
      max_bytes: Size of the largest video.
      model: Name of the model, which the page shows.
      exercises: Names of the exercises that can be expected.
      is_local: Whether the server listens on this machine's own addresses only.
    """
    settings: dict[str, Any] = {
        "jobs": jobs,
        "folder": folder,
        "max_bytes": max_bytes,
        "is_local": is_local,
        "uploads": set(),
        "exercises": frozenset({"", *exercises}),
        "files": page_files(max_bytes, model, exercises),
        "log_function": lambda handler: None,
        "default_handler_class": _Nothing,
    }
    token = r"/videos/([\w-]{22})"
    routes = [
        (r"/(|style\.css|page\.js)", _Page),
        (r"/videos", _Upload),
        (token, _State),
        (token + "/events", _Events),
        (f"{token}/({'|'.join(RESULT_FILES).replace('.', '[.]')})", _Result),
    ]
    return tornado.web.Application(routes, **settings)


def page_files(max_bytes: int, model: str, exercises: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """{path: (type, content)} of the page."""
    folder = importlib.resources.files("musclemap_jax.predict.web")
    page = page_environment("musclemap_jax.predict.web").get_template("page.html")
    shared = importlib.resources.files("musclemap_jax.reporting")
    base = b"".join(shared.joinpath(name).read_bytes() for name in ("colours.css", "base.css"))
    html = page.render(max_bytes=max_bytes, model=model, exercises=exercises, max_recording_s=MAX_RECORDING_S)
    return {
        "": ("text/html; charset=utf-8", html.encode()),
        "style.css": ("text/css; charset=utf-8", base + folder.joinpath("style.css").read_bytes()),
        "page.js": ("text/javascript; charset=utf-8", folder.joinpath("page.js").read_bytes()),
    }


def _hostname(host: str) -> str | None:
    """A host without its port; None if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class _Handler(tornado.web.RequestHandler):
    """What all answers share."""

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def prepare(self) -> None:
        host, origin = self.request.host, self.request.headers.get("Origin")
        if self.settings["is_local"] and _hostname(host) not in _LOCAL_HOSTS:
            raise tornado.web.HTTPError(403, reason="Unknown host name")
        if origin is not None and origin.partition("://")[2] != host:
            raise tornado.web.HTTPError(403, reason="Requests of other sites are refused")

    def write_error(self, status_code: int, **details: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": self._reason}))

    def job(self, token: str) -> Job:
        job = self.settings["jobs"].get(token)
        if job is None:
            raise tornado.web.HTTPError(404, reason="No such video: it was deleted, or its page was closed")
        return job


class _Nothing(_Handler):
    def prepare(self) -> None:
        raise tornado.web.HTTPError(404)


class _Page(_Handler):
    def get(self, name: str) -> None:
        content_type, content = self.settings["files"][name]
        self.set_header("Content-Type", content_type)
        self.finish(content)


@tornado.web.stream_request_body
class _Upload(_Handler):
    """Writes the body to a file as it comes."""

    _target: Path | None = None
    _file: BinaryIO | None = None

    def prepare(self) -> None:
        super().prepare()
        if self.request.method != "POST":
            return
        self._expect = self.get_query_argument("expect", "")
        if self._expect not in self.settings["exercises"]:
            raise tornado.web.HTTPError(400, reason="Unknown exercise: choose one of the page")
        length = self.request.headers.get("Content-Length", "")
        max_bytes: int = self.settings["max_bytes"]
        if not length.isdecimal():
            raise tornado.web.HTTPError(411, reason="The size of the video has to be stated")
        if int(length) > max_bytes:
            raise tornado.web.HTTPError(413, reason=f"The video is larger than {max_bytes / 2**20:.0f} MB")
        connection: Any = self.request.connection
        connection.set_max_body_size(max_bytes)
        try:
            self.settings["jobs"].check_room()
        except BusyError as error:
            raise tornado.web.HTTPError(503, reason=str(error)) from error
        if len(self.settings["uploads"]) >= MAX_UPLOADS:
            raise tornado.web.HTTPError(503, reason="Others are uploading: try again in a minute.")
        name = self.get_query_argument("name", "video")
        suffix = PurePath(name).suffix.lower()
        self._name = folder_name(name) + (suffix if suffix in VIDEO_SUFFIXES else "")
        self.settings["uploads"].add(self)
        try:
            self._target = new_folder(self.settings["folder"])
            self._file = (self._target / VIDEO / self._name).open("wb")
        except OSError as error:
            raise tornado.web.HTTPError(507, reason=_not_stored(error)) from error

    def data_received(self, chunk: bytes) -> None:
        if self._target is None or self._file is None:
            return
        try:
            self._file.write(chunk)
        except OSError as error:
            shutil.rmtree(self._received(), ignore_errors=True)
            self.send_error(507, reason=_not_stored(error))

    def post(self) -> None:
        target = self._received()
        try:
            job = self.settings["jobs"].add(self._name, self._expect, target)
        except BusyError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise tornado.web.HTTPError(503, reason=str(error)) from error
        self.set_status(202)
        self.finish({"id": job.token})

    def on_connection_close(self) -> None:
        """The visitor left in mid-upload."""
        super().on_connection_close()
        self.on_finish()

    def on_finish(self) -> None:
        self.settings["uploads"].discard(self)
        if self._target is not None:
            shutil.rmtree(self._received(), ignore_errors=True)

    def _received(self) -> Path:
        target, self._target = self._target, None
        assert target is not None
        self.settings["uploads"].discard(self)
        if self._file is not None:
            self._file.close()
        return target


def _not_stored(error: OSError) -> str:
    return f"The server cannot store the video: {error.strerror}"


class _State(_Handler):
    def get(self, token: str) -> None:
        self.finish(self.settings["jobs"].status(self.job(token)))

    def delete(self, token: str) -> None:
        self.settings["jobs"].drop(self.job(token))
        self.set_status(204)
        self.finish()


class _Events(_Handler):
    """Keeps a job alive, and its visitor informed."""

    _is_open = True

    async def get(self, token: str) -> None:
        self.set_header("Content-Type", "text/event-stream")
        jobs, known, written_at = self.settings["jobs"], None, 0.0
        job = self.job(token)
        with contextlib.suppress(tornado.iostream.StreamClosedError):
            while self._is_open and jobs.get(token) is job:
                status, now = jobs.status(job), time.monotonic()
                if status != known or now - written_at > _PING_S:
                    known, written_at = status, now
                    self.write(f"data: {json.dumps(status)}\n\n")
                    await self.flush()
                await asyncio.sleep(_LOOK_S)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._is_open = False


class _Result(_Handler):
    def get(self, token: str, name: str) -> None:
        job = self.job(token)
        if name not in job.results:
            raise tornado.web.HTTPError(404, reason="There is no answer yet")
        self.set_header("Content-Type", RESULT_FILES[name])
        if name == "report.html":
            self.set_header("Content-Security-Policy", REPORT_POLICY)
        if self.get_query_argument("download", None) is not None:
            stem = folder_name(job.name)
            self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(f'{stem}-{name}')}")
        self.finish(job.results[name])
