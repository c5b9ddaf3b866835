"""Trains a federated model: flags in, a run directory out.

python scripts/train.py --flagfile=configs/quickstart.flags --output_dir=runs/1

Flags may be set in files (--flagfile) and after them on the command line, where
the last one counts. The same command again goes on where the run was stopped.
"""

import functools

from tff_pipeline.commands.main import as_typed, python
from tff_pipeline.flags import experiment as experiment_flags
from tff_pipeline.flags import parsing


def define_flags() -> None:
    """Defines the flags of this command."""
    experiment_flags.define_experiment_flags()


def main() -> None:
    """Trains, exports and prints the results and where they lie."""
    config = experiment_flags.experiment_config()
    print(f"{config.data.task}: starting TensorFlow Federated", flush=True)
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline import experiment
    from tff_pipeline.files import storage
    from tff_pipeline.privacy import paper

    result = experiment.run(
        config,
        overwrite=parsing.FLAGS.overwrite,
        profile=parsing.FLAGS.profile,
        announce=functools.partial(print, flush=True),
    )
    directory = result.directory
    if parsing.FLAGS.profile:
        print(f"\n{storage.read_text(directory.profile)}", end="")
    if result.interrupted_by is not None:
        print(
            f"Stopped by {result.interrupted_by} after round "
            f"{result.round_number} of {config.run.total_rounds}, which is "
            "saved; the same command goes on from there."
        )
        return
    reached = " (target reached)" if result.target_reached else ""
    if result.budget_spent:
        reached = " (another would exceed --dp_max_epsilon)"
    print(f"\nDone after {result.round_number} rounds{reached}. Test set:")
    for name, value in result.evaluation.items():
        print(f"  {name:<12} {value:.4f}")
    if storage.exists(directory.privacy_json):
        print(f"\nPrivacy         {directory.privacy_text}")
        print(paper.on_screen(storage.read_text(directory.privacy_json)))
    places = {
        "SavedModel": directory.saved_model,
        "Metrics": directory.metrics,
        "Learning curve": directory.learning_curve,
        "TensorBoard": directory.tensorboard,
        "Checkpoints": directory.checkpoints,
    }
    print()
    for name, path in places.items():
        # Which of them there are is for --sinks and --finishers to say.
        if storage.exists(path):
            print(f"{name:<15} {path}")
    print(
        f"""
Next:
  {as_typed("evaluate")} --run_dir={directory.path}
  {as_typed("export")} --run_dir={directory.path} --output=model"""
    )
    board = directory.tensorboard
    if storage.exists(board):
        print(f"  {python()} -m tensorboard.main --logdir={board}")
