"""What batching is worth to a server: closed-loop clients on loopback.

python -m benchmarks.serving --model=runs/quickstart/saved_model

Two servers of the same model, one with scripts/serve.py's defaults and one with
--max_batch_size=1, take turns under the same load: every client sends its next
request when it has the answer to the last. Then the first is loaded for
--seconds. An answer that is not status 200 with predictions is an error.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from benchmarks import machine

_SCRIPT = pathlib.Path(__file__).parent.parent / "scripts" / "serve.py"
_WHOLE = (b"HTTP/1.1 200", b'{"predictions":')
_DIFFERENT = 32
_COMPARED = {"batched": (), "one by one": ("--max_batch_size=1",)}


@dataclasses.dataclass
class Load:
    """What clients saw: seconds of each answer, and how many were wrong."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    errors: int = 0
    took: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.took

    def milliseconds(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        place = min(len(ordered) - 1, int(len(ordered) * percent / 100))
        return 1000 * ordered[place]


class _Client(asyncio.Protocol):
    """One connection that asks again and again until `end`."""

    def __init__(self, requests: Iterator[bytes], load: Load, end: float):
        self._requests = requests
        self._load = load
        self._end = end
        self._got = b""
        self._transport: Any = None
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._got = b""
        self._began = time.perf_counter()
        if self._began > self._end:
            self._transport.close()
            return
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, gap, body = self._got.partition(b"\r\n\r\n")
        if not gap:
            return
        _, _, length = head.lower().partition(b"content-length: ")
        if len(body) < int(length.split(b"\r\n")[0]):
            return
        if head.startswith(_WHOLE[0]) and body.startswith(_WHOLE[1]):
            self._load.seconds.append(time.perf_counter() - self._began)
        else:
            self._load.errors += 1
        self._ask()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if time.perf_counter() <= self._end:
            self._load.errors += 1
        if not self.done.done():
            self.done.set_result(None)


async def _loaded(
    port: int, requests: Sequence[bytes], clients: int, seconds: float
) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    began = time.perf_counter()
    made = []
    for number in range(clients):
        turn = itertools.cycle(requests[number % len(requests) :])
        client = _Client(turn, load, began + seconds)
        await loop.create_connection(lambda c=client: c, "127.0.0.1", port)
        made.append(client)
    await asyncio.wait_for(
        asyncio.gather(*[client.done for client in made]), seconds + 60
    )
    load.took = time.perf_counter() - began
    return load


class _Server:
    """scripts/serve.py on a port of its own, until the end of the block."""

    def __init__(self, model: str, *flags: str):
        self._command = [
            *(sys.executable, str(_SCRIPT), f"--model={model}"),
            *("--name=model", "--port=0", *flags),
        ]

    def __enter__(self) -> "_Server":
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "http://" not in line:
            sys.exit(self._process.wait())
        self.port = int(line.split("/;")[0].rpartition(":")[2])
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def get(self, path: str) -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()

    def calls(self) -> tuple[float, float]:
        """Calls of TensorFlow so far, and rows in them."""
        values = dict(
            line.rsplit(" ", 1)
            for line in self.get("/metrics").decode().splitlines()
            if line.startswith("serving_batch_rows_")
        )
        return (
            float(values["serving_batch_rows_count"]),
            float(values["serving_batch_rows_sum"]),
        )


def _requests(server: _Server) -> list[bytes]:
    """Requests of a row each, of random numbers, for the model's inputs."""
    page = json.loads(server.get("/page/model.json"))
    inputs = page["signatures"][page["default"]]["inputs"]
    generator = random.Random(0)

    def value(dtype: str, shape: Sequence[int]) -> Any:
        if shape:
            return [value(dtype, shape[1:]) for _ in range(shape[0] or 1)]
        if dtype == "string":
            return "to be or not to be"
        if dtype.startswith("float"):
            return round(generator.random(), 3)
        return generator.randrange(17)

    made = []
    for _ in range(_DIFFERENT):
        row = {
            spec["name"]: value(spec["dtype"], spec["shape"][1:])
            for spec in inputs
        }
        if len(row) == 1:
            (row,) = row.values()
        body = json.dumps({"instances": [row]}, separators=(",", ":")).encode()
        made.append(
            b"POST /v1/models/model:predict HTTP/1.1\r\nhost: x\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--turn_seconds", type=float, default=4)
    parser.add_argument(
        "--serve_flags", default="", help="More flags for both servers."
    )
    asked = parser.parse_args()
    more = asked.serve_flags.split()
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(_Server(asked.model, *more, *flags))
            for name, flags in _COMPARED.items()
        }
        _measure(asked, servers)


def _measure(asked: argparse.Namespace, servers: dict[str, _Server]) -> None:
    # Of the extra that the server needs too.
    import uvloop

    uvloop.install()

    def load(server: _Server, seconds: float) -> tuple[Load, float]:
        calls, rows = server.calls()
        seen = asyncio.run(
            _loaded(server.port, requests, asked.clients, seconds)
        )
        more_calls, more_rows = server.calls()
        return seen, (more_rows - rows) / max(1, more_calls - calls)

    requests = _requests(servers["batched"])
    print(f"{asked.model}, {asked.clients} clients; {machine.words()}")
    print(
        f"{'':<22}{'requests/s':>11}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}"
        f"{'rows a call':>13}{'errors':>8}"
    )

    def show(name: str, seen: Load, rows: float) -> None:
        figures = [seen.milliseconds(percent) for percent in (50, 99, 100)]
        print(
            f"{name:<22}{seen.per_second:>11.0f}"
            + "".join(f"{figure:>8.1f}" for figure in figures)
            + f"{rows:>13.1f}{seen.errors:>8}",
            flush=True,
        )

    rates: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(asked.turns):
        for name, server in servers.items():
            seen, rows = load(server, asked.turn_seconds)
            rates[name].append(seen.per_second)
            show(f"turn {turn + 1}, {name}", seen, rows)
    seen, rows = load(servers["batched"], asked.seconds)
    show(f"{asked.seconds:g} s, batched", seen, rows)
    medians = {name: statistics.median(each) for name, each in rates.items()}
    ratio = medians["batched"] / medians["one by one"]
    print(
        f"median of turns: {medians['batched']:.0f} and "
        f"{medians['one by one']:.0f} requests/s, {ratio:.2f} times"
    )
    sys.exit(1 if seen.errors else 0)


if __name__ == "__main__":
    main()
