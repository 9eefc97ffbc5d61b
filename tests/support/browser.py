"""A headless Chromium for tests, driven by the DevTools protocol over a pair of pipes: no port, no driver, no library.

Messages are JSON, each ended by a NUL byte. One thread uses a `Browser`; it asks, and waits for the response.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"
).split()
ANSWER_SECONDS_MAX = 180.0  # of a browser that takes half a second to start: the machine may be busy
WAIT_SECONDS_MAX = 120.0


def path_of_browser() -> str | None:
    """Where the browser is; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser process with one page.

    Args:
        path: the program.
        profile: an empty directory of its own.

    Attributes:
        complaints: what the page has written to its console, thrown and not caught, or failed to load.
    """

    def __init__(self, path: str, profile: Path) -> None:
        self.complaints: list[str] = []
        self._number = 0
        self._buffer = b""
        ours_in, its_out = (_out_of_the_way(fd) for fd in os.pipe())
        its_in, ours_out = (_out_of_the_way(fd) for fd in os.pipe())
        self._in, self._out = ours_in, ours_out
        actions = [(os.POSIX_SPAWN_DUP2, its_in, 3), (os.POSIX_SPAWN_DUP2, its_out, 4)]
        actions += [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        arguments = [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._pid = os.posix_spawn(path, arguments, os.environ, file_actions=actions, setpgroup=0)
        os.close(its_in)
        os.close(its_out)
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and all of its processes."""
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._in)
        os.close(self._out)

    def look(self, width: int, height: int, scheme: str = "light", scale: float = 1.0) -> None:
        """Set the window's size in CSS pixels, the colour scheme that the user prefers, and pixels a CSS pixel."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        """Load a page."""
        response = self.call("Page.navigate", url=url)
        assert "errorText" not in response, response

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is, in the page; of a promise, what it becomes.

        Raises:
            RuntimeError: it threw.
        """
        response = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in response:
            raise RuntimeError(f"{expression}: {response['exceptionDetails']}")
        return response["result"].get("value")

    def wait(self, expression: str, seconds: float = WAIT_SECONDS_MAX) -> None:
        """Wait until an expression holds, looking whenever the page changes.

        Raises:
            RuntimeError: it does not hold in time.
        """
        self.value(
            f"""new Promise((resolve, reject) => {{
                const holds = () => {{ try {{ return {expression}; }} catch {{ return false; }} }};
                const done = () => {{ watcher.disconnect(); clearTimeout(late); resolve(true); }};
                const watcher = new MutationObserver(() => holds() && done());
                const late = setTimeout(() => reject(new Error("not in time")), {seconds * 1000});
                watcher.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
                if (holds()) done();
            }})"""
        )

    def press(self, key: str) -> None:
        """Press and release a key, by its name such as `Tab` or `ArrowLeft`."""
        codes = {"Tab": 9, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key])

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window, in CSS pixels."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        response = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(response["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for what it returns."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._send(json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while (response := self._receive(deadline)).get("id") != self._number:
            self._note(response)
        if "error" in response:
            raise RuntimeError(f"{method}: {response['error']['message']}")
        result: dict[str, Any] = response["result"]
        return result

    def _send(self, message: bytes) -> None:
        while message:
            message = message[os.write(self._out, message) :]

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._in, 1 << 16) if ready else b""
            if not more:
                raise RuntimeError("the browser has ended" if ready else "the browser does not answer")
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what the page complains of."""
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled":
                texts = [str(one.get("value", one.get("description"))) for one in parameters["args"]]
                self.complaints.append(f"{parameters['type']}: {' '.join(texts)}")
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters["exceptionDetails"]))
            case "Log.entryAdded":
                entry = parameters["entry"]
                self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")


def _out_of_the_way(fd: int) -> int:
    """Another number for a descriptor, clear of those that the browser expects its pipes at."""
    other = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return other
