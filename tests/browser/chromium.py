"""Headless Chromium over its debugging pipe: no driver, no package, only the browser that Debian ships."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
]  # fmt: skip
LAUNCHER = "import os, sys; [os.dup2(int(sys.argv[1 + i]), 3 + i) for i in (0, 1)]; os.execv(sys.argv[3], sys.argv[3:])"
TALLEST_PX = 16_000  # Chromium's own limit on one picture


def find() -> str | None:
    """Path of the browser, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page in one browser; use as a context manager. Keeps console messages and requests."""

    def __enter__(self) -> Browser:
        self.profile = tempfile.TemporaryDirectory(prefix="tunebook-browser-", ignore_cleanup_errors=True)
        theirs_in, self.commands = os.pipe()
        self.answers, theirs_out = os.pipe()
        # Descriptors from 10 on cannot be in the way of 3 and 4, where the browser reads and writes
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        command = [find(), *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"]
        launch = [sys.executable, "-c", LAUNCHER, *map(str, ends), *command]
        self.process = subprocess.Popen(
            launch, pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        self.buffer, self.number, self.session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        try:
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        os.close(self.commands)
        os.close(self.answers)
        self.profile.cleanup()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; waits for its answer and keeps the events that come before it."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            read = os.read(self.answers, 1 << 16)
            if not read:
                raise RuntimeError("the browser went away")
            self.buffer += read
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, url: str, width: int, dark: bool, height: int = 900, scripts: bool = True) -> None:
        """Load a page at a width (CSS pixels) in a colour scheme, and wait until it is drawn."""
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        seen = len(self.events)
        self.send("Page.navigate", url=url)
        deadline = time.monotonic() + 60
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events[seen:]):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{url} did not load in 60 s")
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def height(self) -> int:
        """Height of the whole page in CSS pixels."""
        return int(self.send("Page.getLayoutMetrics")["cssContentSize"]["height"])

    def picture(self, path: Path, whole: bool, top: int = 0) -> None:
        """Write a PNG of the window, or of the whole page from `top` (pixels) down to the browser's limit."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        more: dict[str, Any] = {}
        if whole:
            height = min(size["height"] - top, TALLEST_PX)
            clip = {"x": 0, "y": top, "width": size["width"], "height": height, "scale": 1}
            more = {"clip": clip, "captureBeyondViewport": True}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", **more)["data"]))

    def pdf(self, path: Path) -> None:
        """Print the page to A4."""
        answer = self.send(
            "Page.printToPDF", printBackground=False, paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    def console(self) -> list[str]:
        """Everything that the page or the browser said about it so far: messages, warnings, exceptions."""
        said = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.consoleAPICalled":
                said.append(" ".join(str(value.get("value")) for value in params["args"]))
            elif event.get("method") == "Runtime.exceptionThrown":
                said.append(params["exceptionDetails"]["text"])
            elif event.get("method") == "Log.entryAdded":
                said.append(params["entry"]["text"])
        return said

    def requests(self, page: str) -> list[str]:
        """URLs asked for so far, besides the page itself and data: URLs."""
        asked = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in asked if url.split("#")[0] != page and not url.startswith("data:")]
