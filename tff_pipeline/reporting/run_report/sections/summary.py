"""The first section: a verdict, and the last metrics."""

from typing import Optional

from tff_pipeline.config.algorithm import MODEL_OF_ALL
from tff_pipeline.reporting import personal_text
from tff_pipeline.reporting.evaluation_text import number
from tff_pipeline.reporting.run_report import verdict
from tff_pipeline.reporting.run_report.blocks import (
    Block,
    Preformatted,
    Section,
    Table,
    Text,
)
from tff_pipeline.reporting.run_report.record import Record
from tff_pipeline.runs.metric_names import TEST, VALIDATION


def section(record: Record) -> Optional[Section]:
    """Returns the verdict, warnings and a table of the last metrics.

    Args:
      record: The run.
    """
    blocks: list[Block] = [verdict.verdict(record)]
    if warning := verdict.overfitting(record):
        blocks.append(warning)
    planned = record.config.run.total_rounds
    if record.last_round < planned:
        blocks.append(
            Text(
                f"{record.last_round:,} of {planned:,} rounds were trained.",
                "note",
            )
        )
    model = MODEL_OF_ALL.get(record.config.algorithm.name)
    if model:
        blocks.append(Text(f"Evaluated is {model}.", "note"))
    if table := _metrics(record):
        blocks.append(table)
    own = personal_text.in_words(record.rows)
    if own:
        blocks.append(
            Text("Clients' own models, on their test examples, over clients:")
        )
        blocks.append(Preformatted("Clients' own models", "\n".join(own)))
    if record.missing:
        blocks.append(
            Text(
                "The final model was not evaluated for this report: "
                f"{record.missing}",
                "note",
            )
        )
    return Section("Result", blocks)


def _metrics(record: Record) -> Optional[Table]:
    test = {**record.model.test.get("central", {}), **record.last(TEST)}
    before = {}
    if record.rows[0]["round"] == 0:
        before = {
            name[len(TEST) :]: float(value)
            for name, value in record.rows[0].items()
            if name.startswith(TEST)
        }
    constant = {
        **record.model.test.get("constant_answer", {}),
        **record.constant,
    }
    columns = {
        "test set": test,
        "constant answer": constant,
        "validation set": record.last(VALIDATION),
        "training, last round": record.last("train_"),
        "test set before training": before,
    }
    columns = {name: values for name, values in columns.items() if values}
    names = list(
        dict.fromkeys(
            name
            for column, values in columns.items()
            if column != "constant answer"
            for name in values
        )
    )
    if not names:
        return None
    return Table(
        f"Metrics after round {record.last_round:,}",
        ["metric", *columns],
        [
            [name, *(number(values.get(name)) for values in columns.values())]
            for name in names
        ],
    )
