"""Measures compressors: rounds to a target, and the bytes that clients sent.

    python -m benchmarks.compression --data=DIR [--model=M] [--seed=S] [--page]

Trains the flagfiles of `configs/compression/` one after the other, first
without compression. DIR has the folder `mnist`. Each run's figures go to
`benchmarks/results/compression.json` as soon as it has ended; a run that is
there is not repeated. --page writes all into the table of docs/compression.md.
"""

import os
from collections.abc import Mapping, Sequence

from benchmarks.baselines import training
from benchmarks.contenders import ROOT
from benchmarks.kept_table import KeptTable
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.directory import RunDirectory

_RESULTS = os.path.join(ROOT, "benchmarks", "results", "compression.json")
_PAGE = os.path.join(ROOT, "docs", "compression.md")
_BEGIN, _END = "<!-- table -->\n", "<!-- end of the table -->\n"
_PLAIN = "none"
# All clients come in every round, for as many steps as one of 100 takes.
_SILOS = ("--num_clients=10", "--client_steps_per_round=60")
# Model -> name of a run -> (flagfile, more flags).
_RUNS: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "mnist_2nn": {
        _PLAIN: (
            "papers/mcmahan2017/table1_2nn_iid_c0.1_b10.flags",
            (),
        ),
        "uniform, 4 bits": ("uniform", ()),
        "uniform, 2 bits": ("uniform", ("--compression_bits=2",)),
        "qsgd, 4 bits": ("qsgd", ()),
        "drive": ("drive", ()),
        "top_k, 1%": ("top_k", ()),
        "random_k, 10%": ("random_k", ()),
        "shared_random_k, 10%, secure": ("shared_random_k", ()),
        "ef_sign": ("ef_sign", ()),
        "power_sgd, rank 4": ("power_sgd", ()),
    },
    "mnist_2nn of 10 clients": {
        _PLAIN: ("papers/mcmahan2017/table1_2nn_iid_c0.1_b10.flags", _SILOS),
        "top_k, 1%": ("top_k", _SILOS),
    },
    "mnist_cnn": {
        _PLAIN: (
            "tasks/mnist_cnn.flags",
            (
                *("--target_metric=eval_accuracy", "--target_value=0.985"),
                *("--total_rounds=40", "--rounds_per_eval=1"),
            ),
        ),
        "uniform, 4 bits": ("mnist_cnn_uniform", ()),
        "top_k, 1%": ("mnist_cnn_top_k", ()),
    },
}


def main() -> None:
    """Trains what is missing, prints the table, and writes the page."""
    KeptTable(_RUNS, _run, _table, _RESULTS, _PAGE, _BEGIN, _END).main(__doc__)


def _run(
    _: str, name: str, flagfile: str, flags: Sequence[str]
) -> training.Run:
    if not flagfile.endswith(".flags"):
        flagfile = f"compression/{flagfile}.flags"
    return training.Run(name, flagfile, _figures, flags, "mnist")


def _figures(
    config: ExperimentConfig, directory: RunDirectory
) -> dict[str, float]:
    """Takes rounds, accuracy, and the bytes that one client sent a round."""
    rows = training.rows_of(directory)
    last, target = rows[-1], config.run.target_value or 1.0
    sent = [float(row["bytes_up"]) for row in rows]
    return {
        "target": target,
        "reached": float(float(last["eval_accuracy"]) >= target),
        "rounds": len(rows),
        "accuracy": round(float(last["eval_accuracy"]), 4),
        "bytes_up": round(sum(sent) / len(sent), 1),
    }


def _table(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Makes the table's lines, each run beside that without compression."""
    lines = [
        "| model, target | `--compression` | seed | rounds | bytes up, a "
        "client and round | fewer | bytes up to the target, fewer |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, found in results.items():
        model, name, seed = key.split(" | ")
        plain = results[f"{model} | {_PLAIN} | {seed}"]
        fewer = plain["bytes_up"] / found["bytes_up"]
        rounds = f"{found['rounds']:g}"
        whole = f"{fewer * plain['rounds'] / found['rounds']:.1f}x"
        if not found["reached"]:
            rounds = f"not in {rounds}: {found['accuracy']:.2%}"
            whole = "-"
        lines.append(
            f"| {model}, {found['target']:.1%} | {name} | {seed} | {rounds} | "
            f"{found['bytes_up']:,.0f} | {fewer:.1f}x | {whole} |"
        )
    return lines


if __name__ == "__main__":
    main()
