"""Exports a run's model when its last round is saved."""

from tff_pipeline.export import adapter_folder, saved_model
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.runs import environment, metrics_file
from tff_pipeline.runs.metric_names import VALIDATION
from tff_pipeline.runs.state_files import digest, flatten
from tff_pipeline.training.finish import FinishContext


def export(context: FinishContext) -> None:
    """Writes the run's SavedModel, and a record of it to the round log.

    Of a model whose base stays as it was the adapter is written; and it alone
    where the two can be made one, for the whole model is large.

    Args:
      context: The run that ended. A model that is there is replaced.

    Raises:
      RunDirectoryError: If a file cannot be written.
    """
    directory = context.directory
    provenance = Provenance(
        context.config.to_json(),
        context.round_number,
        context.state_digest,
        {
            **_metrics(directory.metrics),
            "constant_answer": directory.read_environment().get(
                "constant_answer", {}
            ),
        },
        directory.privacy_statement(),
        directory.read_travels(),
    )
    if context.task.adapter_fn is not None:
        adapter_folder.write(
            context.task, context.weights, directory.adapter, provenance
        )
        _record(context, directory.adapter)
    if context.task.merged_fn is not None:
        return
    saved_model.export(
        context.task,
        context.weights,
        directory.saved_model,
        overwrite=True,
        provenance=provenance,
    )
    _record(context, directory.saved_model)


def _record(context: FinishContext, folder: str) -> None:
    """Adds to the round log what was exported."""
    context.log.add(
        "exported",
        round=context.round_number,
        weights=digest(flatten(context.weights)),
        files=environment.hashes(folder),
    )
    context.log.sync()


def _metrics(metrics_csv: str) -> dict[str, dict[str, float]]:
    """Reads how well the model did when it was last evaluated."""
    last = metrics_file.last_evaluation
    found = {"central": last(metrics_csv)}
    if before := metrics_file.evaluation_before(metrics_csv):
        found["before"] = before
    if validation := last(metrics_csv, VALIDATION):
        found["validation"] = validation
    return found
