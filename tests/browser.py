"""A real Chromium without a window, for tests of pages: DevTools over a pipe, so nothing but Chromium is needed."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 120

OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-sandbox",  # it needs user namespaces, which containers lack
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    # No address but this machine's can be found: the network is cut.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)


def chromium() -> str:
    """The installed Chromium; skips the test if there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    return found


def axe_script() -> str:
    """axe-core's JavaScript, of a package of Python's that has it; skips the test if it is not installed."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not installed: pip install --no-deps axe-playwright-python")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


class Browser:
    """A context manager that runs Chromium."""

    def __init__(self, folder: Path, *options: str) -> None:
        """
        Args:
          folder: For its profile.
          options: Of its command line, beside OPTIONS.
        """
        self._command = [chromium(), *OPTIONS, f"--user-data-dir={folder / 'profile'}", *options, "about:blank"]
        self._folder = folder
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self.pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        to_read, self._writes = os.pipe()
        self._reads, to_write = os.pipe()
        # Chromium reads from descriptor 3 and writes to descriptor 4.
        script = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        with (self._folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", script, *self._command], pass_fds=(to_read, to_write), stdout=log, stderr=log
            )
        os.close(to_read)
        os.close(to_write)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._writes)
        self._thread.join(20)
        os.close(self._reads)

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Calls a method of DevTools; returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._answers, TIMEOUT_S), f"no answer to {method}"
            answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def open(self, url: str, width: int = 1280, height: int = 900) -> Page:
        """Opens a page in a window of a size."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Network", "Runtime", "Log", "DOM"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        page.go(url)
        return page

    def _listen(self) -> None:
        rest = b""
        while chunk := os.read(self._reads, 1 << 20):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    with self._changed:
                        self._answers[message["id"]] = message
                        self._changed.notify_all()
                elif message.get("sessionId") in self.pages:
                    self.pages[message["sessionId"]].hear(message["method"], message["params"])


class Page:
    """A tab.

    Attributes:
      requests: Addresses of all that it asked for.
      complaints: What its console says: errors, warnings and violations of its policy.
    """

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def hear(self, event: str, details: dict[str, Any]) -> None:
        """Takes an event of DevTools."""
        if event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif event == "Log.entryAdded":
            self.complaints.append(details["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(details["exceptionDetails"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of DevTools for this tab."""
        return self._browser.call(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Goes to an address, and waits until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    def resize(self, width: int, height: int) -> None:
        """Sets the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def dark(self, is_dark: bool) -> None:
        """Prefers dark colours, or light ones."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def evaluate(self, script: str) -> Any:
        """The value of an expression, or what its promise becomes."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Waits until an expression is true; returns its value."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, (script, self.evaluate("document.body.innerText"), self.complaints)
            time.sleep(0.05)
        return value

    def click(self, selector: str) -> None:
        """Clicks on an element, which has to be visible, by the mouse."""
        script = f"""(() => {{
          const element = document.querySelector({json.dumps(selector)});
          element.scrollIntoView({{block: "center"}});
          const box = element.getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = self.evaluate(script)
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)

    def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def text(self, selector: str) -> str:
        """The visible text of an element; empty if it is hidden."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def is_visible(self, selector: str) -> bool:
        """Whether an element takes space."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).getClientRects().length > 0")

    def screenshot(self, path: Path) -> None:
        """Writes a picture of the whole page."""
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(image))

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def axe(self) -> list[str]:
        """What axe-core finds in the page, without its frames."""
        self.evaluate(axe_script() + "; true")
        found = self.evaluate("axe.run(document, {iframes: false}).then((result) => result.violations)")
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]
        ]

    def close(self) -> None:
        """Closes the tab, as a visitor who leaves."""
        self._browser.call("Target.closeTarget", targetId=self._target)
