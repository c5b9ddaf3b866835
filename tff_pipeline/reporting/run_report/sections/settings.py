"""The flags, what of them was chosen, and where the run began."""

from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import DataConfig, ExperimentConfig
from tff_pipeline.reporting.run_report.blocks import (
    Block,
    Fold,
    Preformatted,
    Section,
    Table,
    Text,
)
from tff_pipeline.reporting.run_report.record import Record

_MACHINE = ("python", "commit", "platform", "processor", "processors")
_MOST_FILES = 50
_NOT_SET = "not set"


def section(record: Record) -> Optional[Section]:
    """Returns what differs from the defaults, all flags, and the environment.

    Args:
      record: The run.
    """
    flags, defaults = record.config.flags(), _defaults(record.config)
    rows = [
        [f"--{name}", _value(flags.get(name)), _value(defaults.get(name))]
        for name in {**flags, **defaults}
        if flags.get(name) != defaults.get(name) and name != "output_dir"
    ]
    blocks: list[Block] = []
    if rows:
        header = ["flag", "here", "default"]
        caption = f"What differs from the defaults of {record.config.data.task}"
        blocks.append(Table(caption, header, rows, words=True))
    else:
        blocks.append(Text("Every flag has its default."))
    text = Preformatted("Flags", record.config.flagfile())
    blocks.append(Fold("All flags, as a flagfile", [text]))
    blocks += _environment(record)
    return Section("Settings", blocks)


def _defaults(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the flags that a run of the task has where none is set."""
    data = config.data
    entry = registry.TASKS[data.task]
    options = getattr(entry, "options", {})
    # What a task may need, such as the column of labels, has no default.
    needed = ["data_dir", *(name for name in options if options[name] is None)]
    needed = [name for name in needed if hasattr(data, name)]
    for names in ([], needed):
        given = {name: getattr(data, name) for name in names}
        try:
            alike = DataConfig(task=data.task, **given)
            defaults = ExperimentConfig(data=alike).flags()
        except errors.ConfigError:
            continue
        return {
            name: value for name, value in defaults.items() if name not in names
        }
    return {**ExperimentConfig().flags(), "task": data.task}


def _environment(record: Record) -> list[Block]:
    known = record.environment
    rows = [
        [name, str(known[name])]
        for name in _MACHINE
        if known.get(name) is not None
    ]
    packages = known.get("packages")
    if isinstance(packages, dict):
        rows += [[name, str(version)] for name, version in packages.items()]
    blocks: list[Block] = []
    if rows:
        table = Table(
            "Software and machine", ["what", "which"], rows, words=True
        )
        blocks.append(Fold("Software and machine", [table]))
    files = known.get("data")
    if isinstance(files, dict) and files:
        listed = [[name, str(each)] for name, each in files.items()]
        caption = "SHA-256 of the data's files"
        if len(listed) > _MOST_FILES:
            caption += f": {_MOST_FILES} of {len(listed):,}"
        table = Table(
            caption, ["file", "SHA-256"], listed[:_MOST_FILES], words=True
        )
        blocks.append(Fold(caption, [table]))
    return blocks


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _NOT_SET if value is None else str(value)
