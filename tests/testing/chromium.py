"""A headless Chromium, driven over its DevTools protocol."""

import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import time

import pytest
from websockets.sync.client import connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--window-size=1000,900",
)


def executable():
    """The browser's path, or a skip that says what to install."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(
            "no Chromium on PATH; `apt-get install chromium` lets this test "
            "use the page"
        )
    return found


class Browser:
    """One page in a browser whose profile lies in an empty folder."""

    def __init__(self, profile):
        self._process = subprocess.Popen(
            [
                executable(),
                *_FLAGS,
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._attach()
        except BaseException:
            self._process.kill()
            raise

    def _attach(self):
        # "DevTools listening on ws://127.0.0.1:PORT/devtools/browser/ID".
        for line in self._process.stderr:
            if "DevTools listening on " in line:
                address = line.split()[-1]
                break
        else:
            raise RuntimeError("Chromium ended before it listened.")
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(
            connect(address, max_size=None, proxy=None)
        )
        self._number = 0
        self._session = None
        self.said = []  # What the page wrote to its console, and its errors.
        self.asked = []  # URLs that it asked for.
        target = self.call("Target.createTarget", url="about:blank")
        self._session = self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """The result of one DevTools command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _note(self, event):
        method, content = event["method"], event["params"]
        if method == "Runtime.exceptionThrown":
            self.said.append(json.dumps(content["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(content["args"]))
        elif method == "Log.entryAdded":
            self.said.append(json.dumps(content["entry"]))
        elif method == "Network.requestWillBeSent":
            self.asked.append(content["request"]["url"])

    def run(self, expression):
        """A JavaScript expression's value; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression, seconds=30):
        """Waits until a JavaScript expression is true; returns its value."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(expression)
            if value:
                return value
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait_for(
            "document.readyState === 'complete' && "
            "document.querySelector('#inputs *') !== null"
        )

    def stroke(self, selector, points):
        """Draws a line with the mouse; points are in shares of the element."""
        box = self.run(
            "(() => { const e = document.querySelector("
            f"{json.dumps(selector)}); e.scrollIntoView({{block: 'nearest'}});"
            "const b = e.getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        left, top, width, height = box
        places = [(left + x * width, top + y * height) for x, y in points]
        kinds = ["mousePressed"] + ["mouseMoved"] * (len(places) - 1)
        for kind, (x, y) in [
            *zip(kinds, places),
            ("mouseReleased", places[-1]),
        ]:
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=0 if kind == "mouseReleased" else 1,
                clickCount=1,
            )

    def click(self, selector):
        self.stroke(selector, [(0.5, 0.5)])

    def type(self, selector, text):
        """Types into a field, as by keyboard."""
        self.run(
            f"(f => {{ f.focus(); f.select(); }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.call("Input.insertText", text=text)

    def screenshot(self, path):
        shot = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True
        )
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self._session = None
        self.call("Browser.close")
        self._open.close()
        self._process.wait(30)
        self._process.stderr.close()
