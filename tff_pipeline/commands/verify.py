"""Checks that a run directory holds what its log says."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.assembly import saved_weights
from tff_pipeline.config import fields
from tff_pipeline.files import storage
from tff_pipeline.models import stored_weights
from tff_pipeline.models.transformer import adapter, adapter_reader
from tff_pipeline.privacy import accounting
from tff_pipeline.runs import environment, metrics_file, round_log, signature
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.round_log import Record
from tff_pipeline.runs.state_files import digest, flatten


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
      holds: Whether what was checked is as it should be.
      text: The result in a sentence.
    """

    holds: bool
    text: str


class _Wrong(Exception):
    """Says why a check does not hold."""


def verify(run_dir: str, public_key: Optional[str] = None) -> list[Finding]:
    """Checks the files of a run against its log.

    Args:
      run_dir: The run directory, as `experiment.run` wrote it.
      public_key: A PEM file of the key that must have signed the log; `None`
        asks for no signature.

    Returns:
      A finding for each check. Checks of files that a run may lack, such as a
      privacy statement, are left out where they are missing.

    Raises:
      PipelineError: If there is no run, or the key cannot be read.
    """
    directory = RunDirectory(run_dir)
    config = directory.read_config()
    try:
        records = round_log.read(directory.rounds)
        _check_order(records)
    except (round_log.DamagedLogError, _Wrong) as error:
        return [Finding(False, str(error))]
    rounds = [r for r in records if r.content["kind"] == "round"]
    findings = [
        Finding(
            True,
            f"{directory.rounds}: {len(records)} records of {len(rounds)} "
            "rounds, each with the hash of the one before.",
        )
    ]

    def check(one: Callable[[], str]) -> None:
        try:
            findings.append(Finding(True, one()))
        except (_Wrong, errors.PipelineError) as error:
            findings.append(Finding(False, str(error)))

    identity = config.flags(identity_only=True)
    check(lambda: _check_begun(directory, identity, records))
    check(lambda: _check_metrics(directory, records))
    if config.data.model.freeze is not None:
        check(lambda: _check_frozen(directory))
    store = CheckpointStore(directory.checkpoints, config=identity)
    for number in store.rounds():
        check(functools.partial(_check_checkpoint, store, number, records))
    stated = [r for r in records if r.content["kind"] == "privacy"]
    if (stated or storage.exists(directory.privacy_json)) and store.rounds():
        check(lambda: _check_privacy(directory, store, rounds, stated))
    exported = [r for r in records if r.content["kind"] == "exported"]
    if exported or storage.exists(directory.exported):
        check(lambda: _check_model(directory, exported))
    if public_key is not None:
        try:
            signed = signature.verify(directory.signature, public_key)
            check(lambda: _check_signature(directory, signed, store, records))
        except errors.RunDirectoryError as error:
            findings.append(Finding(False, str(error)))
    return findings


def _check_order(records: list[Record]) -> None:
    """Raises unless rounds follow one another from the first."""
    if not records or records[0].content["kind"] != "begun":
        raise _Wrong("The log does not begin with what was run.")
    if "after_round" in records[0].content:
        raise _Wrong(
            "The log was damaged and begins anew after round "
            f"{records[0].content['after_round']}; what was before is lost."
        )
    last = 0
    for record in records:
        if record.content["kind"] == "round":
            last += 1
            if record.content["round"] != last:
                raise _Wrong(
                    f"The log has round {record.content['round']} where "
                    f"{last} should be."
                )


def _check_begun(
    directory: RunDirectory, identity: dict[str, Any], records: list[Record]
) -> str:
    begun = records[0].content
    if json.loads(json.dumps(identity)) != begun["config"]:
        raise _Wrong(f"{directory.config} is not what the log began with.")
    if directory.read_environment() != begun["environment"]:
        raise _Wrong(f"{directory.environment} is not what the log began with.")
    return (
        f"{directory.config} and {directory.environment} are what it began "
        "with."
    )


def _check_metrics(directory: RunDirectory, records: list[Record]) -> str:
    rows = [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in metrics_file.read(directory.metrics)
    ]
    logged = [
        record.content["metrics"]
        for record in records
        if record.content["kind"] in round_log.WITH_ROW
    ]
    # As text, for NaN is not equal to itself.
    if json.dumps(rows, sort_keys=True) != json.dumps(logged, sort_keys=True):
        differing = [
            a["round"]
            for a, b in zip(logged, rows)
            if json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True)
        ]
        more = max(rows, logged, key=len)[min(len(rows), len(logged)) :]
        where = [*differing, *(row["round"] for row in more)][0]
        raise _Wrong(
            f"{directory.metrics} differs from the log, first in round {where}."
        )
    return f"{directory.metrics} has the log's rows."


def _check_frozen(directory: RunDirectory) -> str:
    held = stored_weights.frozen_by_run(directory)
    began = directory.read_environment().get("data", {})
    if held is None or held.sha256 not in began.values():
        raise _Wrong(f"{directory.frozen} is not what the log began with.")
    return f"{directory.frozen} holds the weights that never trained."


def _check_checkpoint(
    store: CheckpointStore, number: int, records: list[Record]
) -> str:
    saved = store.check(number)
    for record in records:
        if record.sha256 == saved.notes.get("log"):
            break
    else:
        raise _Wrong(f"The checkpoint of round {number} is not of this log.")
    if number and record.content.get("round") != number:
        raise _Wrong(f"The checkpoint of round {number} is of another round.")
    if record.content["state"] != digest(saved.state):
        raise _Wrong(
            f"The checkpoint of round {number} holds another state than the "
            "log says."
        )
    if record.content.get("kept_state") != saved.kept_state:
        raise _Wrong(
            f"The checkpoint of round {number} holds something else than the "
            "log says for what clients keep."
        )
    also = "" if saved.kept_state is None else " and what clients keep"
    return f"The checkpoint of round {number} holds the log's state{also}."


def _check_privacy(
    directory: RunDirectory,
    store: CheckpointStore,
    logged: list[Record],
    recorded: list[Record],
) -> str:
    last = store.rounds()[-1]
    try:
        stated = json.loads(storage.read_text(directory.privacy_json))
        rounds = stated.get("rounds", last)
    except (OSError, ValueError, AttributeError) as error:
        raise _Wrong(
            f"{directory.privacy_json} cannot be read ({error})."
        ) from None
    if rounds != last:
        raise _Wrong(
            f"{directory.privacy_json} is of {rounds} rounds, and {last} are "
            "saved."
        )
    account = store.notes(last).get("privacy")
    if account is not None and account["rounds"] != last:
        raise _Wrong(f"The account of round {last} is of another round.")
    spent = [
        accounting.finite(record.content["metrics"]["epsilon"])
        for record in logged
        if record.content["round"] == last
        and "epsilon" in record.content["metrics"]
    ]
    if spent and [stated.get("epsilon")] != spent:
        raise _Wrong(
            f"{directory.privacy_json} has epsilon {stated.get('epsilon')}, "
            f"and the log has {spent[0]}."
        )
    _check_statement(directory, last, recorded)
    return (
        f"{directory.privacy_json} is of the {last} rounds that are saved, and "
        f"it and {directory.privacy_text} are as they were written."
    )


def _check_statement(
    directory: RunDirectory, last: int, recorded: list[Record]
) -> None:
    """Raises unless the files of the privacy statement are the log's."""
    again = "the command that trained the run writes it anew."
    if not recorded or recorded[-1].content["round"] != last:
        raise _Wrong(
            f"{directory.privacy_json} is there, and the log has no hash of it "
            f"after round {last}; {again}"
        )
    logged, found = recorded[-1].content["files"], directory.privacy_hashes()
    for path in (directory.privacy_json, directory.privacy_text):
        name = os.path.basename(path)
        if name not in found:
            raise _Wrong(f"{path} is missing; {again}")
        if found[name] != logged.get(name):
            raise _Wrong(
                f"{path} does not have the SHA-256 that the log has of it; "
                f"{again}"
            )


def _check_model(directory: RunDirectory, exported: list[Record]) -> str:
    path = directory.exported
    if not exported:
        raise _Wrong(f"{path} is there, and the log does not say of what.")
    record = exported[-1].content
    number = record["round"]
    written = {path: record["files"]}
    # An encoder's adapter is beside its model.
    for each in (one.content["files"] for one in exported):
        if adapter.CONFIG in each and storage.exists(directory.adapter):
            written[directory.adapter] = each
    for folder, files in written.items():
        now = environment.hashes(folder)
        if changed := sorted(fields.differing(files, now)):
            raise _Wrong(f"{folder} was changed: {', '.join(changed)}.")
    weights = saved_weights.exported(directory, number)
    if digest(flatten(weights)) != record["weights"]:
        raise _Wrong(f"{path} is not of the checkpoint of round {number}.")
    held = {digest({"": value}) for value in _held(path)}
    for name, value in flatten(weights).items():
        # An adapter has the factors of all blocks apart.
        parts = list(value) if path == directory.adapter else [value]
        for part in parts:
            if digest({"": np.asarray(part)}) not in held:
                raise _Wrong(f"{path} does not hold {name} of round {number}.")
    return f"{path} holds the weights of round {number}."


def _held(path: str) -> list[Any]:
    """Returns the numbers that an exported model or adapter holds."""
    if os.path.basename(path) == "adapter":
        tensors, _ = adapter_reader.read_tensors(path)
        return list(tensors.values())
    try:
        model = tf.saved_model.load(path)
    # What TensorFlow raises, for a damaged model can be damaged in any way.
    except Exception as error:
        raise _Wrong(f"{path} cannot be loaded ({error}).") from None
    return [value.numpy() for value in model.variables]


def _check_signature(
    directory: RunDirectory,
    signed: dict[str, Any],
    store: CheckpointStore,
    records: list[Record],
) -> str:
    last = max(store.rounds(), default=0)
    if signed["round"] != last:
        raise _Wrong(
            f"{directory.signature} is of round {signed['round']}, and {last} "
            "is saved."
        )
    if signed["head"] not in [record.sha256 for record in records]:
        raise _Wrong(f"{directory.signature} is of another log.")
    heads = [record.sha256 for record in records]
    later = records[heads.index(signed["head"]) + 1 :]
    for kind, what in (
        ("privacy", "privacy statement"),
        ("exported", "exported model"),
    ):
        if kind in [record.content["kind"] for record in later]:
            raise _Wrong(
                f"{directory.signature} does not sign the record of the "
                f"{what}; the command that trained the run signs it."
            )
    return f"{directory.signature} signs the log up to round {last}."
