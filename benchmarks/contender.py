"""One contender's process; started by `benchmarks.run`, in its environment."""

import argparse
import importlib

from benchmarks import processes
from benchmarks.contenders import CONTENDERS
from benchmarks.rounds import Rounds
from benchmarks.workloads import WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("commands", type=int, help="descriptor to read")
    parser.add_argument("answers", type=int, help="descriptor to write")
    options = parser.parse_args()
    processes.adopt_orphans()
    rounds = Rounds(options.commands, options.answers)
    module = CONTENDERS[options.contender].module
    contender = importlib.import_module(f"benchmarks.contenders.{module}")
    contender.run(WORKLOADS[options.workload], rounds)


if __name__ == "__main__":
    main()
