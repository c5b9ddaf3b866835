"""Evaluates a saved round: the central test set, and client by client.

python scripts/evaluate.py --run_dir=runs/quickstart

Prints a table and writes it to RUN_DIR/evaluations/round_000030.json.
"""

from tff_pipeline.flags import runs


def define_flags() -> None:
    """Defines the flags of this command."""
    runs.define_run_dir_flags()


def main() -> None:
    """Evaluates the round and prints the table."""
    run_dir, round_number, data_dir = runs.run_dir()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import saved_runs

    path, report = saved_runs.evaluate(run_dir, round_number, data_dir)
    print(f"{report['task']}, round {report['round']}")
    if "notes" in report:
        print(report["notes"])
    if "chosen" in report:
        print(report["chosen"])
    width = 2 + max(map(len, ["best_10_percent", *report["central"]]))
    for key, words in (
        ("central", "Central test set"),
        ("validation", "Validation set"),
    ):
        if key in report:
            print(f"\n{words}")
            for name, value in report[key].items():
                print(f"  {name:<{width}}{value:>10.4f}")
    for group in report["clients"]:
        print(f"\nOver {group['count']} {group['which']}")
        metrics = group["metrics"]
        print(" " * (2 + width) + "".join(f"{name:>26}" for name in metrics))
        for statistic in next(iter(metrics.values())):
            numbers = [spread[statistic] for spread in metrics.values()]
            print(
                f"  {statistic:<{width}}"
                + "".join(f"{number:>26.4f}" for number in numbers)
            )
        for name, clients in group["worst"].items():
            worst = ", ".join(
                f"{each['client']} {each['value']:.4f}" for each in clients
            )
            print(f"  worst by {name}: {worst}")
    print(f"\nWritten to {path}")
