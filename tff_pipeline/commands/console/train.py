"""Trains a federated model: flags in, a run directory out.

python scripts/train.py --flagfile=configs/quickstart.flags --output_dir=runs/1

Flags may be set in files (--flagfile) and after them on the command line, where
the last one counts. The same command again goes on where the run was stopped.
"""

import functools
import typing
from typing import Union

from tff_pipeline.commands import before_start
from tff_pipeline.commands.main import as_typed, python
from tff_pipeline.config import ExperimentConfig, RunConfig
from tff_pipeline.config.algorithm import MODEL_OF_ALL
from tff_pipeline.files import storage
from tff_pipeline.flags import experiment as experiment_flags
from tff_pipeline.flags import parsing

if typing.TYPE_CHECKING:
    from tff_pipeline.experiment import Result
    from tff_pipeline.runs.complete import Complete
    from tff_pipeline.runs.directory import RunDirectory


def define_flags() -> None:
    """Defines the flags of this command."""
    experiment_flags.define_experiment_flags()


def main() -> None:
    """Trains, exports and prints the results and where they lie."""
    config = experiment_flags.experiment_config()
    # Here and not above: flags are refused before NumPy is imported.
    from tff_pipeline.runs import complete
    from tff_pipeline.runs.directory import RunDirectory

    overwrite, profile = parsing.FLAGS.overwrite, parsing.FLAGS.profile
    directory = RunDirectory(str(config.run.output_dir))
    if not overwrite and not profile:
        done = complete.find(directory, config)
        if done is not None:
            more = "--total_rounds trains on, "
            if done.target_reached or done.out_of_patience:
                more = ""
            print(
                f"{directory.path} holds this run, complete; {more}"
                "--overwrite starts again."
            )
            _print_results(directory, _why(config.run, done), config, done)
            return
    before_start.check(config)
    print(f"{config.data.task}: starting TensorFlow Federated", flush=True)
    # And this only now, for it takes TensorFlow's seconds to load.
    from tff_pipeline import experiment

    result = experiment.run(
        config,
        overwrite=overwrite,
        profile=profile,
        announce=functools.partial(print, flush=True),
    )
    if profile:
        print(f"\n{storage.read_text(directory.profile)}", end="")
    if result.interrupted_by is not None:
        print(
            f"Stopped by {result.interrupted_by} after round "
            f"{result.round_number} of {config.run.total_rounds}, which is "
            "saved; the same command goes on from there."
        )
        return
    reason = _why(config.run, result)
    if result.budget_spent:
        reason = " (another would exceed --dp_max_epsilon)"
    _print_results(directory, reason, config, result)


def _why(config: RunConfig, done: "Union[Complete, Result]") -> str:
    """Returns why a run ended before its last round, in brackets."""
    if done.target_reached:
        return " (target reached)"
    if done.out_of_patience:
        return (
            f" (no better {config.target_metric} in {config.patience} "
            "evaluations)"
        )
    return ""


def _print_results(
    directory: "RunDirectory",
    reason: str,
    config: ExperimentConfig,
    done: "Union[Complete, Result]",
) -> None:
    """Prints what a run reached, where it lies and what may follow."""
    from tff_pipeline.files import storage
    from tff_pipeline.privacy import paper
    from tff_pipeline.reporting import evaluation_text, personal_text
    from tff_pipeline.runs import best, metrics_file
    from tff_pipeline.runs.metric_names import TEST, VALIDATION

    model = MODEL_OF_ALL.get(config.algorithm.name, "")
    print(
        f"\nDone after {done.round_number} rounds{reason}. Test set"
        f"{model and f'; evaluated is {model}'}:"
    )
    width = max([12, *map(len, done.evaluation)])
    before = metrics_file.evaluation_before(directory.metrics)
    for name, value in done.evaluation.items():
        was = f"  (before {before[name]:.4f})" if name in before else ""
        print(f"  {name:<{width}} {value:.4f}{was}")
    constant = directory.read_environment().get("constant_answer", {})
    line = evaluation_text.standing(done.evaluation, constant)
    if line:
        print(line)
    if done.validation:
        print("Validation set:")
        for name, value in done.validation.items():
            print(f"  {name:<{width}} {value:.4f}")
    own = personal_text.in_words(metrics_file.read(directory.metrics))
    if own:
        print("Clients' own models, on their test examples, mean over clients:")
    for line in own:
        print(f"  {line}")
    if done.best.round_number:
        columns = [
            *(f"{TEST}{name}" for name in done.evaluation),
            *(f"{VALIDATION}{name}" for name in done.validation),
        ]
        print(
            f"\nBest round      {done.best.round_number}, with "
            f"{done.best.value:.4f} (--round=best). "
            f"{best.in_words(config.run.target_metric, columns)}"
        )
    if storage.exists(directory.privacy_json):
        print(f"\nPrivacy         {directory.privacy_text}")
        print(paper.on_screen(storage.read_text(directory.privacy_json)))
    places = {
        "SavedModel": directory.saved_model,
        "Adapter": directory.adapter,
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
    if storage.exists(directory.report):
        print(f"\n{'Report':<15} {directory.report}")
