"""Runs a run once more, elsewhere, and compares the bits of every round."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import NamedTuple, Optional

from tff_pipeline import errors, experiment
from tff_pipeline.commands.verify import Finding
from tff_pipeline.files import storage
from tff_pipeline.privacy import secret_file
from tff_pipeline.runs import environment, round_log
from tff_pipeline.runs.directory import RunDirectory


class _Digests(NamedTuple):
    """Hashes of what a round ended with, as the log has them."""

    state: str
    kept_state: Optional[str]


def rerun(run_dir: str, data_dir: Optional[str] = None) -> Iterator[Finding]:
    """Trains again in a folder of its own, and compares the rounds' hashes.

    Args:
      run_dir: The run directory, as `experiment.run` wrote it.
      data_dir: The folder of the task's data, if they have moved since.

    Yields:
      Whether every round gave the same server state, and the same states kept
      by clients where the algorithm has them; the first that did not is named.

    Raises:
      PipelineError: If there is no run, or it cannot be run again.
    """
    directory = RunDirectory(run_dir)
    config = directory.read_config(data_dir)
    rounds = _rounds(directory)
    if not rounds:
        raise errors.RunDirectoryError(
            f"{directory.rounds} has no round that could be run again."
        )
    with tempfile.TemporaryDirectory() as folder:
        again = RunDirectory(os.path.join(folder, "run"))
        options = config.privacy
        if storage.exists(directory.noise_secret):
            secret = secret_file.read_or_draw(directory.noise_secret, None)
            storage.file_system(again.path).make_folder(again.path)
            secret_file.keep(again.noise_secret, secret)
        elif config.private and options.dp_noise_seed is None:
            raise errors.RunDirectoryError(
                f"{directory.noise_secret} does not exist, and without it the "
                "run cannot be repeated."
            )
        run = dataclasses.replace(
            config.run,
            output_dir=again.path,
            signing_key=None,
            # It ends with the rounds that there are, and no earlier, whatever
            # evaluations a change of --total_rounds left out or added.
            patience=None,
        )
        result = experiment.run(
            dataclasses.replace(config, run=run), until=len(rounds)
        )
        if result.interrupted_by is not None:
            raise KeyboardInterrupt
        yield _compared(rounds, _rounds(again), directory, again)
        shutil.rmtree(again.path, ignore_errors=True)


def _rounds(directory: RunDirectory) -> list[_Digests]:
    """Returns the hashes that the log has of every round."""
    return [
        _Digests(record.content["state"], record.content.get("kept_state"))
        for record in round_log.read(directory.rounds)
        if record.content["kind"] == "round"
    ]


def _compared(
    rounds: list[_Digests],
    repeated: list[_Digests],
    directory: RunDirectory,
    again: RunDirectory,
) -> Finding:
    if repeated == rounds:
        also = "" if rounds[0].kept_state is None else " and clients kept alike"
        return Finding(
            True,
            f"Run again, all {len(rounds)} rounds gave the same state{also}, "
            "bit by bit.",
        )
    first, what = len(repeated) + 1, "no state"
    for number, (was, now) in enumerate(zip(rounds, repeated), 1):
        if was != now:
            same_state = was.state == now.state
            what = "other kept states" if same_state else "another state"
            first = number
            break
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
    return Finding(
        False,
        f"Run again, round {first} gave {what}"
        + (f"; what differs: {'; '.join(causes)}." if causes else "."),
    )
