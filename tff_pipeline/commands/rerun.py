"""A run once more, elsewhere, and whether it gives the same bits."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Optional

from tff_pipeline import errors, experiment
from tff_pipeline.commands.verify import Finding
from tff_pipeline.files import storage
from tff_pipeline.privacy import secret_file
from tff_pipeline.runs import environment, round_log
from tff_pipeline.runs.directory import RunDirectory


def rerun(run_dir: str, data_dir: Optional[str] = None) -> Iterator[Finding]:
    """Runs it again in a folder of its own, and compares every round's state.

    Args:
      run_dir: What `experiment.run` wrote.
      data_dir: The task's data, if they have moved since.

    Raises:
      PipelineError: If there is no run, or it cannot be run again.
    """
    directory = RunDirectory(run_dir)
    config = directory.read_config(data_dir)
    states = _states(directory)
    if not states:
        raise errors.RunDirectoryError(
            f"{directory.rounds} has no round that could be run again."
        )
    with tempfile.TemporaryDirectory() as folder:
        again = RunDirectory(os.path.join(folder, "run"))
        options = config.aggregator
        if storage.exists(directory.noise_secret):
            secret = secret_file.read_or_draw(directory.noise_secret, None)
            storage.of(again.path).make_folder(again.path)
            secret_file.keep(again.noise_secret, secret)
        elif options.private and options.dp_noise_seed is None:
            raise errors.RunDirectoryError(
                f"{directory.noise_secret} does not exist, and without it the "
                "run cannot be repeated."
            )
        run = dataclasses.replace(
            config.run, output_dir=again.path, signing_key=None
        )
        result = experiment.run(
            dataclasses.replace(config, run=run), until=len(states)
        )
        if result.interrupted_by is not None:
            raise KeyboardInterrupt
        repeated = _states(again)
        yield from _compared(states, repeated, directory, again)
        shutil.rmtree(again.path, ignore_errors=True)


def _states(directory: RunDirectory) -> list[str]:
    """The hash of the state after every round, by the log."""
    return [
        record.content["state"]
        for record in round_log.read(directory.rounds)
        if record.content["kind"] == "round"
    ]


def _compared(
    states: list[str],
    repeated: list[str],
    directory: RunDirectory,
    again: RunDirectory,
) -> Iterator[Finding]:
    if repeated == states:
        yield Finding(
            True,
            f"Run again, all {len(states)} rounds gave the same state, bit by "
            "bit.",
        )
        return
    differing = [
        i for i, (a, b) in enumerate(zip(states, repeated), 1) if a != b
    ]
    first = differing[0] if differing else len(repeated) + 1
    causes = environment.differences(
        directory.read_environment(), again.read_environment()
    )
    failed = [
        record.content["round"]
        for record in round_log.read(directory.rounds)
        if record.content["kind"] == "failure"
    ]
    if failed:
        causes.append(f"rounds that failed then: {failed[:5]}")
    yield Finding(
        False,
        f"Run again, round {first} gave another state"
        + (f"; what differs: {'; '.join(causes)}." if causes else "."),
    )
