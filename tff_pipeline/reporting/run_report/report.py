"""Writes report.html: what happened in a run, on one page without a network."""

import importlib.resources
import itertools
from typing import Optional

from tff_pipeline import registry
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import durable
from tff_pipeline.reporting.run_report import final_model, picture, record
from tff_pipeline.reporting.run_report.blocks import Section
from tff_pipeline.reporting.run_report.final_model import FinalModel
from tff_pipeline.reporting.run_report.record import Record
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.training.finish import FinishContext


def finish(context: FinishContext) -> None:
    """Writes the report of the run that ended, as a finisher.

    Args:
      context: The run; its report goes to `directory.report`.

    Raises:
      RunDirectoryError: If a file cannot be read or written.
    """
    exact = record.tells_exactly(metrics_file.read(context.directory.metrics))
    model = final_model.look(
        context.config, context.task, context.weights, exact
    )
    write(context.directory, context.config, model)


def write(
    directory: RunDirectory,
    config: ExperimentConfig,
    model: FinalModel,
    missing: Optional[str] = None,
) -> None:
    """Writes the report of a run from its files.

    Args:
      directory: The run directory.
      config: Its experiment.
      model: What was found by looking at the final model.
      missing: Why nothing was, a sentence.

    Raises:
      RunDirectoryError: If a file cannot be read or written.
    """
    page = html(record.read(directory, config, model, missing))
    durable.write_text(directory.report, page)


def html(run: Record) -> str:
    """Returns the page.

    Args:
      run: What there is to say of a run.
    """
    # Imported here, since scripts that write no page need not wait for it.
    import jinja2

    sections: dict[str, Section] = {}
    for name in registry.REPORT_SECTIONS:
        section = registry.load(name, registry.REPORT_SECTIONS)(run)
        if section is not None:
            sections[name] = section
    numbers = itertools.count(1)

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = importlib.resources.files(__package__) / "page"
    template = environment.from_string(
        (page / "report.html").read_text(encoding="utf-8")
    )
    return template.render(
        run=run,
        sections=sections,
        style=(page / "report.css").read_text(encoding="utf-8"),
        number=lambda: next(numbers),
        unique_names=picture.unique_names,
        kind=lambda block: type(block).__name__,
    )
