"""A headless Chromium for tests, spoken to through a pipe (Chrome DevTools Protocol), so that no driver is needed."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

__all__ = ["Browser", "find_chromium", "needs_chromium"]


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def needs_chromium() -> None:
    """Skip the test where there is no Chromium; where UPSTAIRS_NO_SKIP is set, as in .ci/run, fail."""
    if find_chromium() is None:
        reason = "needs Chromium: apt-get install chromium"
        (pytest.fail if os.environ.get("UPSTAIRS_NO_SKIP") else pytest.skip)(reason)


class Browser:
    """One page of a browser; ``requests`` are the addresses that it asked for, ``faults`` what its console complained of."""

    def __init__(self):
        self._folder = tempfile.mkdtemp(prefix="upstairs-browser-")

        (theirs_in, self._write), (self._read, theirs_out) = os.pipe(), os.pipe()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={self._folder}"]
        # the pipe that Chromium reads is its file 3, the one that it writes 4; a shell lays them: JAX forbids to fork
        shell = ["bash", "-c", f'exec "$@" 8<&{theirs_in} 9>&{theirs_out} 3<&8 4>&9', "bash"]
        self._process = subprocess.Popen(
            [*shell, find_chromium(), *options], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
        )
        os.close(theirs_in), os.close(theirs_out)
        self._buffer, self._number, self._session = b"", 0, None
        self.requests, self.faults = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.prefer(dark=False)

    def call(self, method: str, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                chunk = os.read(self._read, 2**16)
                assert chunk, "the browser went away"
                self._buffer += chunk
            line, _, self._buffer = self._buffer.partition(b"\0")
            told = json.loads(line)
            self._note(told)
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    def prefer(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str):
        """The value of a piece of JavaScript."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, script
            time.sleep(0.02)

    def screenshot(self, path: Path, width: int = 1000, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(image))

    def print(self, path: Path) -> None:
        """The page on A4 paper, as PDF."""
        sheet = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", **sheet)["data"]))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write), os.close(self._read)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _note(self, told: dict) -> None:
        parameters = told.get("params", {})
        if told.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif told.get("method") == "Log.entryAdded":
            self.faults.append(parameters["entry"]["text"])
        elif told.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.faults.append(str([argument.get("value") for argument in parameters["args"]]))
        elif told.get("method") == "Runtime.exceptionThrown":
            self.faults.append(parameters["exceptionDetails"]["text"])
