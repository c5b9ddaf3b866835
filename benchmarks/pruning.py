"""Measures pruned models beside dense ones: accuracy, bytes, size of exports.

    python -m benchmarks.pruning --data=DIR [--model=M] [--seed=S] [--page]

Trains `configs/compression/*prune.flags`, and the same without pruning. DIR
has the folder `mnist`. Each run's figures go to
`benchmarks/results/pruning.json` as soon as it has ended; a run that is there
is not repeated. --page writes all into the second table of docs/compression.md.
"""

import os
import shutil
from collections.abc import Mapping, Sequence

from benchmarks.baselines import training
from benchmarks.contenders import ROOT
from benchmarks.kept_table import KeptTable
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.directory import RunDirectory

_RESULTS = os.path.join(ROOT, "benchmarks", "results", "pruning.json")
_PAGE = os.path.join(ROOT, "docs", "compression.md")
_BEGIN, _END = "<!-- pruning -->\n", "<!-- end of pruning -->\n"
_DENSE, _PRUNED = "dense", "90%"
_EXPORT = ("--finishers=export",)
# Model -> name of a run -> (flagfile, more flags).
_RUNS: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "digits_cnn": {
        _DENSE: ("tasks/digits_cnn.flags", ()),
        _PRUNED: ("tasks/digits_cnn.flags", ("--prune_to=0.9",)),
    },
    "mnist_2nn": {
        _DENSE: (
            "papers/mcmahan2017/table1_2nn_iid_c0.1_b10.flags",
            ("--target_value=1", "--total_rounds=60", "--rounds_per_eval=5"),
        ),
        _PRUNED: ("compression/prune.flags", ()),
    },
    "mnist_cnn": {
        _DENSE: ("tasks/mnist_cnn.flags", ("--rounds_per_eval=1",)),
        _PRUNED: ("compression/mnist_cnn_prune.flags", ()),
    },
}


def main() -> None:
    """Trains what is missing, prints the table, and writes the page."""
    KeptTable(_RUNS, _run, _table, _RESULTS, _PAGE, _BEGIN, _END).main(__doc__)


def _run(
    model: str, name: str, flagfile: str, flags: Sequence[str]
) -> training.Run:
    data = "mnist" if model.startswith("mnist") else ""
    return training.Run(name, flagfile, _figures, (*flags, *_EXPORT), data)


def _figures(_: ExperimentConfig, directory: RunDirectory) -> dict[str, float]:
    """Takes accuracy and bytes, and zips the export."""
    rows = training.rows_of(directory)
    last = rows[-1]
    sent = [float(row["bytes_up"]) for row in rows]
    zipped = shutil.make_archive(
        os.path.join(os.path.dirname(directory.saved_model), "exported"),
        "zip",
        directory.saved_model,
    )
    return {
        "rounds": len(rows),
        "accuracy": round(float(last["eval_accuracy"]), 4),
        "sparsity": float(last.get("sparsity", 0.0)),
        "bytes_up": sent[-1],
        "mean_bytes_up": round(sum(sent) / len(sent), 1),
        "bytes_down": float(last["bytes_down"]),
        "zipped": os.path.getsize(zipped),
    }


def _table(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Makes the table's lines, each run beside the dense one."""
    lines = [
        "| model | zeros | seed | rounds | accuracy | bytes up, a client in "
        "the last round | in the mean of all rounds | down, in the last round "
        "| zipped export |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, found in results.items():
        model, name, seed = key.split(" | ")
        dense = results[f"{model} | {_DENSE} | {seed}"]
        cells = [
            f"{found[column]:,.0f}"
            + (
                ""
                if name == _DENSE
                else f" ({dense[column] / found[column]:.1f}x fewer)"
            )
            for column in ("bytes_up", "mean_bytes_up", "bytes_down", "zipped")
        ]
        lines.append(
            f"| {model} | {found['sparsity']:.1%} | {seed} | "
            f"{found['rounds']:g} | {found['accuracy']:.2%} | "
            + " | ".join(cells)
            + " |"
        )
    return lines


if __name__ == "__main__":
    main()
