"""Evaluates a saved round: the central test set, and client by client.

python scripts/evaluate.py --run_dir=runs/quickstart

Prints a table and writes it to RUN_DIR/evaluations/round_000030.json.
"""

from tff_pipeline import flags

flags.define_run_dir_flags()


def main() -> None:
    run_dir, round_number, data_dir = flags.run_dir()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline import experiment

    path, report = experiment.evaluate(run_dir, round_number, data_dir)
    print(f"{report['task']}, round {report['round']}")
    print("\nCentral test set")
    for name, value in report["central"].items():
        print(f"  {name:<12}{value:>10.4f}")
    for group in report["clients"]:
        print(f"\nOver {group['count']} {group['which']}")
        columns = next(iter(group["metrics"].values()))
        print(" " * 14 + "".join(f"{name:>18}" for name in columns))
        for name, spread in group["metrics"].items():
            numbers = "".join(f"{value:>18.4f}" for value in spread.values())
            print(f"  {name:<12}{numbers}")
    print(f"\nWritten to {path}")


if __name__ == "__main__":
    flags.run(main)
