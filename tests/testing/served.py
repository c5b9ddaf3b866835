"""Servers to ask: scripts/serve.py in processes of their own."""

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys

from tests.testing.scripts import SCRIPTS


class Server:
    """scripts/serve.py on a free port of the loopback interface."""

    def __init__(self, model, *flags):
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(SCRIPTS / "serve.py")),
                *(f"--model={model}", "--port=0", *flags),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        found = re.search(r"Serving (\S+), .* (http://127.0.0.1:(\d+)/)", line)
        assert found, (line, self.process.communicate())
        self.name, self.url, port = found.groups()
        self.port = int(port)

    def ask(self, method, path, body=None, headers=()):
        """(status, headers, body) of one request."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        ) as connection:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get(self, path):
        """(status, JSON) of a GET."""
        status, _, body = self.ask("GET", path)
        return status, json.loads(body)

    def predict(self, content, path=None):
        """(status, JSON) of a prediction; `content` is JSON or its text."""
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        path = path or f"/v1/models/{self.name}:predict"
        status, _, body = self.ask("POST", path, content)
        return status, json.loads(body)

    def metrics(self):
        """Samples of /metrics, by name with labels."""
        status, headers, body = self.ask("GET", "/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=")
        return {
            name: float(value)
            for name, value in (
                line.rsplit(" ", 1)
                for line in body.decode().splitlines()
                if not line.startswith("#")
            )
        }

    @contextlib.contextmanager
    def connection(self):
        """A socket to it, to send what no HTTP client would."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as opened:
            yield opened

    def stop(self):
        """Ends it as an operator does; returns its standard error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return said


def answer_of(opened):
    """(status, JSON) of the response that a socket gives until its end."""
    received = b""
    while chunk := opened.recv(65536):
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)
