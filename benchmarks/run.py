"""Measures this pipeline and its peers at the same work.

python -m benchmarks.run [--workloads=2nn_10,...] [--contenders=pipeline,...]

Exit status 1 if a contender failed or ended with other weights than TFF.
"""

import argparse
import dataclasses
import datetime
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Optional

from benchmarks import machine, processes, report
from benchmarks.contenders import CONTENDERS, ROOT, Contender
from benchmarks.measure import Record, measure
from benchmarks.workloads import WORKLOADS

_MINIMUM_ROUNDS = 2


def _some_of(known: Mapping[str, Any]) -> Callable[[str], list[Any]]:
    """Reads names with commas between them."""

    def parse(text: str) -> list[Any]:
        for name in text.split(","):
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"there is no {name!r}; choose of: {', '.join(known)}."
                )
        return [known[name] for name in text.split(",")]

    return parse


def _rounds(text: str) -> int:
    if not text.isdigit() or int(text) < _MINIMUM_ROUNDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of rounds; give "
            f"{_MINIMUM_ROUNDS} or more."
        )
    return int(text)


def _options(arguments: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workloads",
        type=_some_of(WORKLOADS),
        default=list(WORKLOADS.values()),
        metavar="NAMES",
        help=f"with commas between; by default all: {', '.join(WORKLOADS)}",
    )
    parser.add_argument(
        "--contenders",
        type=_some_of(CONTENDERS),
        default=list(CONTENDERS.values()),
        metavar="NAMES",
        help=f"likewise: {', '.join(CONTENDERS)}",
    )
    parser.add_argument(
        "--rounds",
        type=_rounds,
        default=15,
        metavar="N",
        help="rounds to time; two at least (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        metavar="S",
        help="when a contender's timed rounds took so long, it does no more "
        "than two (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        default=os.path.join(ROOT, "benchmarks", "results"),
        metavar="FOLDER",
        help="for latest.json, latest.md, logs (default: benchmarks/results)",
    )
    return parser.parse_args(arguments)


def main() -> int:
    options = _options()
    logs = os.path.join(options.output, "logs")
    try:
        os.makedirs(logs, exist_ok=True)
    except OSError as error:
        print(
            f"--output={options.output} cannot be made ({error.strerror}); "
            "give a folder that can be written.",
            file=sys.stderr,
        )
        return 2
    # So that `finally` ends the children, as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    processes.adopt_orphans()
    try:
        return _run(options, logs)
    except KeyboardInterrupt:
        print("Stopped; nothing is written.", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        processes.end_descendants(os.getpid())


def _run(options: argparse.Namespace, logs: str) -> int:
    present: list[Contender] = []
    missing: list[str] = []
    for contender in options.contenders:
        if contender.installed:
            present.append(contender)
        else:
            missing.append(
                f"{contender.words}: not installed (make benchmark-peers)"
            )
    failures: list[str] = []
    records: list[Record] = []
    versions: dict[str, Mapping[str, str]] = {}
    for workload in options.workloads if present else ():
        outcome = measure(
            workload, present, options.rounds, options.seconds, logs, _say
        )
        records += outcome.records
        versions |= outcome.versions
        failures += [
            f"{CONTENDERS[name].words}, {workload.name}: {words}"
            for name, words in outcome.failures.items()
        ]
        if outcome.records:
            print(f"\n{workload.name}: {workload.words}\n")
            print(f"{report.of_workload(outcome.records)}\n", flush=True)
    notes = failures + missing
    if notes:
        print("\n".join(notes))
    if records:
        _write(options.output, records, notes, versions)
    different = [r for r in records if not report.is_equal(r)]
    for record in different:
        print(
            f"{CONTENDERS[record.contender].words}, {record.workload}: its "
            f"weights differ from those of {record.reference} by "
            f"{record.relative_difference:.1e} of what was learned."
        )
    return 1 if failures or different or not records else 0


def _write(
    folder: str,
    records: list[Record],
    notes: list[str],
    versions: Mapping[str, Mapping[str, str]],
) -> None:
    as_json = [dataclasses.asdict(record) for record in records]
    with open(
        os.path.join(folder, "latest.json"), "w", encoding="utf-8"
    ) as file:
        file.write(json.dumps(as_json, indent=2) + "\n")
    command = shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]])
    today = datetime.datetime.now(datetime.timezone.utc).date()
    header = [f"Made by `{command}` on {today}, on: {machine.words()}."]
    path = os.path.join(folder, "latest.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write(report.document(records, notes, versions, header))
    print(f"Written: {os.path.relpath(path)} and latest.json beside it.")


def _say(words: str) -> None:
    print(f"  {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
