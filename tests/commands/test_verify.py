"""Whatever is changed in a run's papers is found, and named."""

import hashlib
import hmac
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.testing import kept_process, own_algorithm
from tests.testing.scripts import ROOT, run_script
from tests.testing.verified_runs import ROUNDS, config_of
from tff_pipeline import errors, experiment
from tff_pipeline.commands import rerun, saved_runs, verify
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    PrivacyConfig,
)
from tff_pipeline.runs import environment, round_log, signature
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.round_log import Record, RoundLog
from tff_pipeline.training import recorder

PRIVATE = {
    "aggregation": AggregationConfig("dp_gaussian"),
    "privacy": PrivacyConfig(
        dp_clip=0.5, dp_delta=1e-3, dp_noise_multiplier=1.0
    ),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Folder of two pairs of keys, and of files that are none."""
    folder = tmp_path_factory.mktemp("keys")

    def write(name, key, encryption=None):
        (folder / f"{name}.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                encryption or serialization.NoEncryption(),
            )
        )
        (folder / f"{name}_public.pem").write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            )
        )

    for name in ("ours", "another"):
        write(name, ed25519.Ed25519PrivateKey.generate())
    write("curve", ec.generate_private_key(ec.SECP256R1()))
    write(
        "locked",
        ed25519.Ed25519PrivateKey.generate(),
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    (folder / "text.pem").write_text("a key\n")
    # A public key of the algorithm 1.2.3.4, which nobody knows.
    (folder / "unknown.pem").write_text(
        "-----BEGIN PUBLIC KEY-----\nMAswBQYDKgMEAwIAAQ==\n"
        "-----END PUBLIC KEY-----\n"
    )
    return folder


def trained(config):
    """Trains; returns where, and who took part in each round."""
    cohorts, record = [], recorder.Recorder.record

    def watched(self, done, save):
        cohorts.append(list(done.client_ids))
        record(self, done, save)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder.Recorder, "record", watched)
        experiment.run(config)
    return pathlib.Path(config.run.output_dir), cohorts


@pytest.fixture(scope="module")
def signed(tmp_path_factory, keys):
    path = tmp_path_factory.mktemp("signed") / "run"
    return trained(config_of(path, signing_key=str(keys / "ours.pem")))


@pytest.fixture(scope="module")
def signed_run(signed):
    return signed[0]


@pytest.fixture(scope="module")
def trained_in_private(tmp_path_factory):
    path = tmp_path_factory.mktemp("private") / "run"
    return trained(config_of(path, PRIVATE, total_rounds=2))


@pytest.fixture
def copy(tmp_path):
    """Copies a run to where it may be damaged."""

    def copied(run):
        return shutil.copytree(run, tmp_path / "copy")

    return copied


@pytest.fixture
def run(small_run, copy):
    return copy(small_run)


def wrong(path, public_key=None):
    """What does not hold, in one text."""
    findings = verify.verify(str(path), public_key and str(public_key))
    return "\n".join(each.text for each in findings if not each.holds)


def flip(path, place=None):
    """Changes one bit, by default in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


def put(path, old, new):
    """Writes another text of the same length in the place of one."""
    text = path.read_text()
    assert old in text and len(old) == len(new)
    path.write_text(text.replace(old, new, 1))


def records_of(path):
    return round_log.read(str(path / "rounds.jsonl"))


def rounds_of(path):
    return [
        record.content
        for record in records_of(path)
        if record.content["kind"] == "round"
    ]


def rewrite(path, change):
    """Rewrites a run's log with right hashes, and its checkpoints to match.

    `change` takes a record's content, and gives what shall stand there.
    """
    head, lines, heads = "0" * 64, [], {}
    for record in records_of(path):
        forged = Record.after(head, change(dict(record.content)))
        heads[record.sha256] = head = forged.sha256
        lines.append(forged.line())
    (path / "rounds.jsonl").write_text("".join(lines))
    for manifest in path.glob("checkpoints/*/manifest.json"):
        content = json.loads(manifest.read_text())["content"]
        content["notes"]["log"] = heads[content["notes"]["log"]]
        text = json.dumps(content, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        manifest.write_text(
            json.dumps({"content": content, "sha256": digest}, indent=2)
        )
    return heads


def another_state(content):
    """Claims that round 3 had another result."""
    if content.get("round") == 3:
        content["state"] = "0" * 64
    return content


def test_a_run_that_was_left_alone_is_ok(small_run):
    done = run_script("verify.py", f"--run_dir={small_run}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok    ") for line in lines)
    for name in (
        "rounds.jsonl: 12 records of 10 rounds",
        "config.json",
        "environment.json",
        "metrics.csv",
        "checkpoint of round 5 ",
        "checkpoint of round 10 ",
        "saved_model",
    ):
        assert any(name in line for line in lines), name


def test_a_run_that_was_changed_is_refused_by_exit_status(run):
    flip(run / "checkpoints" / "round_000005" / "state.npz")
    flip(run / "saved_model" / "saved_model.pb")
    done = run_script("verify.py", f"--run_dir={run}")
    assert (done.returncode, done.stderr) == (1, "")
    said = [
        line for line in done.stdout.splitlines() if line.startswith("WRONG ")
    ]
    assert len(said) == 2
    assert "round_000005 is damaged" in said[0]
    assert f"{run}/saved_model was changed: saved_model.pb." in said[1]


def test_where_no_run_is_a_sentence_says_so(tmp_path):
    with pytest.raises(errors.RunDirectoryError, match="does not exist"):
        verify.verify(str(tmp_path))


@pytest.mark.parametrize("name", ["state.npz", "manifest.json"])
@pytest.mark.parametrize("round_number", [5, 10])
def test_a_bit_of_a_checkpoint_is_found(run, name, round_number):
    folder = run / "checkpoints" / f"round_{round_number:06d}"
    flip(folder / name)
    assert f"{folder} is damaged" in wrong(run)


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "keras_metadata.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ],
)
def test_a_bit_of_the_model_is_found(run, name):
    flip(run / "saved_model" / name)
    assert wrong(run) == f"{run}/saved_model was changed: {name}."


def test_a_bit_of_the_log_is_found(run):
    flip(run / "rounds.jsonl")
    assert f"{run}/rounds.jsonl is damaged: line " in wrong(run)


def test_a_cell_of_the_metrics_is_found(run):
    cell = (run / "metrics.csv").read_text().splitlines()[3].split(",")[1]
    forged = cell[:4] + ("1" if cell[4] != "1" else "2") + cell[5:]
    put(run / "metrics.csv", cell, forged)
    assert wrong(run) == (
        f"{run}/metrics.csv differs from the log, first in round 3."
    )


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda lines: lines[:-1], 10),
        (lambda lines: [*lines, lines[-1]], 10),
        (lambda lines: lines[:4] + lines[5:], 4),
        (lambda lines: [lines[0].replace("train", "crane"), *lines[1:]], 1),
    ],
)
def test_rows_and_columns_of_the_metrics_are_the_logs(run, change, where):
    path = run / "metrics.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    assert f"metrics.csv differs from the log, first in round {where}." in (
        wrong(run)
    )


def test_another_config_is_found(run):
    put(run / "config.json", '"seed": 0', '"seed": 1')
    assert f"{run}/config.json is not what the log began with." in wrong(run)


def test_a_config_that_is_none_is_named(run):
    put(run / "config.json", '"seed"', '"sead"')
    with pytest.raises(errors.RunDirectoryError, match=f"{run}/config.json"):
        verify.verify(str(run))


@pytest.mark.parametrize("old", ['"python"', '"3.'])
def test_a_bit_of_the_environment_is_found(run, old):
    put(run / "environment.json", old, old.translate({ord(old[1]): "x"}))
    assert wrong(run) == (
        f"{run}/environment.json is not what the log began with."
    )


@pytest.mark.parametrize("name", ["metrics.csv", "environment.json"])
def test_a_file_that_is_missing_is_named(run, name):
    (run / name).unlink()
    assert f"{run}/{name}" in wrong(run)


def test_a_log_that_is_missing_is_named(run):
    (run / "rounds.jsonl").unlink()
    assert wrong(run).startswith(f"{run}/rounds.jsonl cannot be read")


def test_a_checkpoint_under_another_rounds_name_is_found(run):
    folder = run / "checkpoints"
    (folder / "round_000005").rename(folder / "round_000007")
    assert f"{folder}/round_000007 is damaged" in wrong(run)


def test_a_checkpoint_of_another_run_is_found(run, signed_run):
    folder = run / "checkpoints" / "round_000005"
    shutil.rmtree(folder)
    other = signed_run / "checkpoints" / "round_000002"
    shutil.copytree(other, folder)
    assert f"{folder} is damaged" in wrong(run)
    folder.rename(folder.with_name("round_000002"))
    assert "round_000002 is of a run that differs in --" in wrong(run)


def test_a_checkpoint_that_says_another_log_is_found(signed_run, copy):
    path = copy(signed_run)
    kept = (path / "rounds.jsonl").read_bytes()
    rewrite(path, another_state)
    assert wrong(path) == ""
    (path / "rounds.jsonl").write_bytes(kept)
    assert wrong(path) == "The checkpoint of round 4 is not of this log."


def test_a_checkpoint_with_another_state_is_found(signed_run, copy):
    path = copy(signed_run)

    def claim(content):
        if content.get("round") == 2:
            content["state"] = "0" * 64
        return content

    rewrite(path, claim)
    assert wrong(path) == (
        "The checkpoint of round 2 holds another state than the log says."
    )


def test_a_model_of_another_round_is_found(run):
    model = run / "saved_model"
    saved_runs.export(str(run), str(model), round_number=5, overwrite=True)
    said = wrong(run)
    assert f"{model} was changed: " in said
    assert "variables/variables.data-00000-of-00001" in said
    # Nor does it help to write the log anew.
    files = {
        str(path.relative_to(model)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(model.rglob("*"))
        if path.is_file()
    }

    def claim(content):
        if content["kind"] == "exported":
            content["files"] = files
        return content

    rewrite(run, claim)
    assert f"{model} does not hold trainable/0 of round 10." in wrong(run)
    rewrite(run, lambda content: {**claim(content), "weights": "0" * 64})
    assert f"{model} is not of the checkpoint of round 10." in wrong(run)


def test_a_model_that_is_none_is_named(run):
    model = run / "saved_model"
    (model / "saved_model.pb").write_text("no model")
    digest = hashlib.sha256(b"no model").hexdigest()

    def claim(content):
        if content["kind"] == "exported":
            content["files"]["saved_model.pb"] = digest
        return content

    rewrite(run, claim)
    assert f"{model} cannot be loaded (" in wrong(run)


def test_a_model_that_the_log_does_not_know_is_found(run):
    lines = (run / "rounds.jsonl").read_text().splitlines(keepends=True)
    (run / "rounds.jsonl").write_text("".join(lines[:-1]))
    flip(run / "saved_model" / "saved_model.pb")
    assert wrong(run) == (
        f"{run}/saved_model is there, and the log does not say of what."
    )


def test_a_round_that_the_log_leaves_out_is_found(run):
    head, lines = "0" * 64, []
    for record in records_of(run):
        if record.content.get("round") != 4:
            lines.append(Record.after(head, record.content))
            head = lines[-1].sha256
    (run / "rounds.jsonl").write_text("".join(each.line() for each in lines))
    assert wrong(run) == "The log has round 5 where 4 should be."


def test_a_log_that_begins_after_a_round_is_no_proof(run):
    def claim(content):
        begun = content["kind"] == "begun"
        return {**content, "after_round": 5} if begun else content

    rewrite(run, claim)
    assert wrong(run) == (
        "The log was damaged and begins anew after round 5; what was before "
        "is lost."
    )


def test_a_signed_run_holds_with_its_key_and_runs_again_to_the_bit(
    signed_run, keys
):
    done = run_script(
        "verify.py",
        f"--run_dir={signed_run}",
        f"--public_key={keys / 'ours_public.pem'}",
        "--rerun",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "WRONG" not in done.stdout
    assert f"{signed_run}/signature.json signs the log up to round 4." in (
        done.stdout
    )
    assert "Run again, all 4 rounds gave the same state, bit by bit." in (
        done.stdout
    )
    # It was another run, elsewhere.
    assert [r.content["kind"] for r in records_of(signed_run)].count(
        "begun"
    ) == 1


def test_another_key_is_found_out(signed_run, keys):
    public = keys / "another_public.pem"
    assert wrong(signed_run, public) == (
        f"{signed_run}/signature.json was not signed with the key of {public}."
    )


@pytest.mark.parametrize(
    "name",
    ["missing.pem", "text.pem", "ours.pem", "curve_public.pem", "unknown.pem"],
)
def test_what_is_no_public_key_is_named(signed_run, keys, name):
    with pytest.raises(errors.ConfigError) as raised:
        verify.verify(str(signed_run), str(keys / name))
    assert f"--public_key={keys / name} cannot be read" in str(raised.value)
    assert "openssl pkey -in key.pem -pubout" in str(raised.value)


@pytest.mark.parametrize(
    "name", ["missing.pem", "text.pem", "ours_public.pem", "locked.pem"]
)
def test_what_is_no_signing_key_is_named_before_training(tmp_path, keys, name):
    key = str(keys / name)
    with pytest.raises(errors.ConfigError) as raised:
        experiment.run(config_of(tmp_path / "run", signing_key=key))
    assert f"--signing_key={key} cannot be read" in str(raised.value)
    assert "openssl genpkey -algorithm ed25519" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_key_of_another_kind_is_named(keys):
    with pytest.raises(errors.ConfigError, match="is no Ed25519 key"):
        signature.Signer(str(keys / "curve.pem"))


def test_without_cryptography_a_sentence_says_what_to_install(
    signed_run, keys, monkeypatch
):
    for name in list(sys.modules):
        if name.split(".")[0] == "cryptography":
            monkeypatch.setitem(sys.modules, name, None)
    public = str(keys / "ours_public.pem")
    for call in (
        lambda: verify.verify(str(signed_run), public),
        lambda: signature.Signer(str(keys / "ours.pem")),
    ):
        with pytest.raises(errors.ConfigError, match=r"-pipeline\[signing\]"):
            call()


def test_a_run_that_was_not_signed_does_not_hold_with_a_key(run, keys):
    said = wrong(run, keys / "ours_public.pem")
    assert said.startswith(f"{run}/signature.json cannot be read")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"round": 4, "head": "", "signature": 7}']
)
def test_a_signature_that_is_none_is_named(signed_run, copy, keys, text):
    path = copy(signed_run)
    (path / "signature.json").write_text(text)
    said = wrong(path, keys / "ours_public.pem")
    assert said.startswith(f"{path}/signature.json cannot be read")


def test_what_is_forged_throughout_is_found_by_the_signature_alone(
    signed_run, copy, keys
):
    path, public = copy(signed_run), keys / "ours_public.pem"
    before = f"{rounds_of(path)[-1]['metrics']['eval_accuracy']}"

    def boast(content):
        if content.get("round") == ROUNDS and content["kind"] == "round":
            content["metrics"]["eval_accuracy"] = 0.99
        return content

    heads = rewrite(path, boast)
    metrics = path / "metrics.csv"
    metrics.write_text(metrics.read_text().replace(before, "0.99"))
    assert wrong(path) == ""
    forged = f"{path}/signature.json is of another log."
    assert wrong(path, public) == forged
    # Nor can the signature be made to fit.
    content = json.loads((path / "signature.json").read_text())
    content["head"] = heads[content["head"]]
    (path / "signature.json").write_text(json.dumps(content))
    unsigned = f"signature.json was not signed with the key of {public}."
    assert wrong(path, public).endswith(unsigned)
    signer = signature.Signer(str(keys / "another.pem"))
    signer.write(str(path / "signature.json"), ROUNDS, content["head"])
    assert wrong(path, public).endswith(unsigned)


def test_a_signature_of_an_earlier_round_is_found(signed_run, copy, keys):
    path = copy(signed_run)
    head = records_of(path)[2].sha256
    signer = signature.Signer(str(keys / "ours.pem"))
    signer.write(str(path / "signature.json"), 2, head)
    assert wrong(path, keys / "ours_public.pem") == (
        f"{path}/signature.json is of round 2, and 4 is saved."
    )


def test_a_run_that_was_set_back_is_found_by_its_signature(
    signed_run, copy, keys
):
    path, public = copy(signed_run), keys / "ours_public.pem"
    for name in ("saved_model", "checkpoints/round_000004"):
        shutil.rmtree(path / name)
    for name in ("rounds.jsonl", "metrics.csv"):
        lines = (path / name).read_text().splitlines(keepends=True)
        (path / name).write_text("".join(lines[:3]))
    assert wrong(path) == ""
    said = f"{path}/signature.json is of round 4, and {{}} is saved."
    assert wrong(path, public) == said.format(2)
    shutil.rmtree(path / "checkpoints")
    assert wrong(path, public) == said.format(0)


@pytest.mark.soak
def test_a_signature_that_a_kill_kept_from_being_written_is_made_up_for(
    signed_run, copy, keys
):
    path, public = copy(signed_run), keys / "ours_public.pem"
    key, signed = str(keys / "ours.pem"), path / "signature.json"
    head = records_of(path)[2].sha256
    signature.Signer(key).write(str(signed), 2, head)
    assert wrong(path, public)
    # No round is left to be run.
    experiment.run(config_of(path, signing_key=key))
    assert wrong(path, public) == ""


@pytest.mark.soak
def test_a_run_killed_before_its_first_checkpoint_begins_anew(
    tmp_path, monkeypatch
):
    path, add = tmp_path / "run", RoundLog.round
    config = config_of(path, total_rounds=2)

    def stop(self, number, *arguments):
        if number == 2:
            raise KeyboardInterrupt
        add(self, number, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RoundLog, "round", stop)
        experiment.run(config)
    assert len(rounds_of(path)) == 1
    # By another command, which is part of where a run began.
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--verbosity=0"])
    experiment.run(config)
    assert [record.content["kind"] for record in records_of(path)] == [
        "begun",
        *["round"] * 2,
        "exported",
    ]
    assert wrong(path) == ""


# As the run of `signed_run`, until it has seen its third round.
TRAIN_AND_DIE = """
import os, signal, sys
from tests.testing.verified_runs import config_of
from tff_pipeline import experiment
from tff_pipeline.runs.round_log import RoundLog
add = RoundLog.round

def die(self, number, *arguments):
    add(self, number, *arguments)
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)

RoundLog.round = die
path, key = sys.argv[1:]
experiment.run(config_of(path, signing_key=key))
"""


@pytest.mark.soak
def test_a_run_that_was_killed_and_went_on_holds(tmp_path, signed_run, keys):
    path, key = tmp_path / "run", str(keys / "ours.pem")
    command = [sys.executable, "-c", TRAIN_AND_DIE, str(path), key]
    killed = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(rounds_of(path)) == 3
    experiment.run(config_of(path, signing_key=key))
    kinds = [record.content["kind"] for record in records_of(path)]
    assert kinds == [
        "begun",
        *["round"] * 2,
        "resumed",
        *["round"] * 2,
        "exported",
    ]
    assert rounds_of(path) == rounds_of(signed_run)
    assert wrong(path, keys / "ours_public.pem") == ""


@pytest.mark.soak
def test_a_round_that_was_forged_is_named_when_it_is_run_again(
    signed_run, copy
):
    path = copy(signed_run)
    rewrite(path, another_state)
    assert wrong(path) == ""
    (finding,) = rerun.rerun(str(path))
    assert not finding.holds
    assert finding.text.startswith("Run again, round 3 gave another state")


@pytest.fixture(scope="module")
def trained_with_kept_states(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "run"
    kept_process.run(kept_process.config_of(path, 8), until=8)
    return path


@pytest.fixture
def run_with_kept_states(trained_with_kept_states, copy):
    return copy(trained_with_kept_states)


def test_what_clients_keep_holds(run_with_kept_states):
    assert wrong(run_with_kept_states) == ""
    findings = verify.verify(str(run_with_kept_states))
    for number in (4, 8):
        assert (
            f"The checkpoint of round {number} holds the log's state and what "
            "clients keep."
        ) in [finding.text for finding in findings]


def test_a_bit_of_any_row_that_a_client_keeps_is_found(run_with_kept_states):
    rows = sorted((run_with_kept_states / "checkpoints/kept_rows").iterdir())
    assert len(rows) > 5
    for path in rows:
        flip(path)
        text = wrong(run_with_kept_states)
        assert text.startswith(f"{path} is damaged: it does not have the SHA")
        flip(path)
    assert wrong(run_with_kept_states) == ""


@pytest.mark.parametrize("round_number", [4, 8])
def test_a_bit_of_the_index_of_rows_is_found(
    run_with_kept_states, round_number
):
    folder = run_with_kept_states / f"checkpoints/round_{round_number:06d}"
    flip(folder / "kept.npz")
    assert wrong(run_with_kept_states) == (
        f"{folder} is damaged (ValueError: kept.npz does not have its SHA-256)."
    )


def test_a_row_that_is_missing_is_found(run_with_kept_states):
    rows = sorted((run_with_kept_states / "checkpoints/kept_rows").iterdir())
    rows[0].unlink()
    assert f"{rows[0]} cannot be read" in wrong(run_with_kept_states)


def test_other_rows_than_the_logs_are_found_if_all_sums_are_right(
    run_with_kept_states,
):
    folder = str(run_with_kept_states / "checkpoints")
    store = CheckpointStore(folder)
    saved = store.load_latest(
        np.zeros(kept_process.SIZE, np.float32),
        KeptStates(folder, kept_process.HELD),
    )
    client_id = saved.kept.client_ids[0]
    (row,) = saved.kept.rows([client_id])
    row["control"][0] += 1
    kept = saved.kept.updated([client_id], [row])
    manifest = json.loads(
        (
            run_with_kept_states / "checkpoints/round_000008" / "manifest.json"
        ).read_text()
    )
    CheckpointStore(folder, config=manifest["content"]["config"]).save(
        8, saved.state, kept, saved.notes
    )
    assert wrong(run_with_kept_states) == (
        "The checkpoint of round 8 holds something else than the log says for "
        "what clients keep."
    )


@pytest.fixture(scope="module")
def run_of_kept_momentum(tmp_path_factory):
    """A run whose clients keep their momentum."""
    own_algorithm.register()
    path = tmp_path_factory.mktemp("momentum") / "run"
    groups = {"algorithm": AlgorithmConfig("kept_momentum")}
    experiment.run(config_of(path, groups))
    return path


@pytest.mark.parametrize(
    ("forged", "what"),
    [
        (None, None),
        ("kept_state", "other kept states"),
        pytest.param("state", "another state", marks=pytest.mark.soak),
    ],
)
def test_what_clients_kept_is_compared_when_a_run_is_run_again(
    run_of_kept_momentum, copy, forged, what
):
    path = copy(run_of_kept_momentum)

    def forge(content):
        if forged and content.get("round") == 3:
            content[forged] = "0" * 64
        return content

    rewrite(path, forge)
    assert wrong(path) == ""
    (finding,) = rerun.rerun(str(path))
    assert finding.holds == (forged is None)
    assert finding.text == (
        f"Run again, round 3 gave {what}."
        if forged
        else f"Run again, all {ROUNDS} rounds gave the same state and clients "
        "kept alike, bit by bit."
    )


def test_what_is_stopped_while_it_runs_again_says_nothing_of_the_run(
    signed_run, monkeypatch
):
    add = RoundLog.round

    def ctrl_c(self, number, *arguments):
        add(self, number, *arguments)
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RoundLog, "round", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        list(rerun.rerun(str(signed_run)))


def test_a_run_without_a_round_is_not_run_again(signed_run, copy):
    path = copy(signed_run)
    (path / "rounds.jsonl").write_text("")
    with pytest.raises(errors.RunDirectoryError, match="has no round"):
        list(rerun.rerun(str(path)))


def test_a_private_run_holds_and_runs_again_with_its_secret(
    trained_in_private,
):
    path, _ = trained_in_private
    assert wrong(path) == ""
    findings = [*verify.verify(str(path)), *rerun.rerun(str(path))]
    assert all(finding.holds for finding in findings)
    said = "\n".join(finding.text for finding in findings)
    assert f"{path}/privacy.json is of the 2 rounds that are saved, and" in said
    assert "all 2 rounds gave the same state, bit by bit." in said


def test_without_its_secret_a_private_run_is_not_run_again(
    trained_in_private, copy
):
    path = copy(trained_in_private[0])
    (path / "noise_secret").unlink()
    # All else can be looked at.
    assert wrong(path) == ""
    with pytest.raises(errors.RunDirectoryError) as raised:
        list(rerun.rerun(str(path)))
    assert str(raised.value) == (
        f"{path}/noise_secret does not exist, and without it the run cannot "
        "be repeated."
    )


@pytest.mark.parametrize(
    ("name", "value"), [("epsilon", 0.1), ("epsilon", None), ("rounds", 1)]
)
def test_a_privacy_statement_that_was_changed_is_found(
    trained_in_private, copy, name, value
):
    path = copy(trained_in_private[0])
    said = json.loads((path / "privacy.json").read_text())
    (path / "privacy.json").write_text(json.dumps({**said, name: value}))
    assert wrong(path).startswith(f"{path}/privacy.json ")
    (path / "privacy.json").write_text("[")
    assert wrong(path).startswith(f"{path}/privacy.json cannot be read")


@pytest.mark.parametrize("name", ["privacy.json", "privacy.txt"])
def test_any_bit_of_a_privacy_statement_is_found(
    trained_in_private, copy, name
):
    path = copy(trained_in_private[0])
    size = (path / name).stat().st_size
    for place in (0, size // 3, size // 2, size - 2):
        flip(path / name, place)
        assert wrong(path).startswith(f"{path}/{name} "), place
        flip(path / name, place)
    assert wrong(path) == ""
    (path / name).unlink()
    assert wrong(path).startswith(f"{path}/{name} ")


def test_a_statement_that_the_log_does_not_know_is_found(
    trained_in_private, copy
):
    path = copy(trained_in_private[0])

    def of_an_earlier_round(content):
        if content["kind"] == "privacy":
            content["round"] = 1
        return content

    rewrite(path, of_an_earlier_round)
    assert "has no hash of it after round 2" in wrong(path)


def test_the_card_of_a_private_model_carries_the_whole_statement(
    trained_in_private,
):
    path, _ = trained_in_private
    folder = path / "saved_model" / "assets.extra"
    card = json.loads((folder / "model_card.json").read_text())
    assert card["differential_privacy"] is True
    assert card["privacy"] == json.loads((path / "privacy.json").read_text())
    text = (path / "privacy.txt").read_text()
    assert card["privacy_statement"] == text
    assert text.strip() in (folder / "model_card.md").read_text()
    hashes = json.loads((path / "environment.json").read_text())["data"]
    assert card["privacy"]["data_files"] == len(hashes)
    assert card["privacy"]["run"] == "run"


def test_of_a_large_delta_nothing_is_called_private(tmp_path):
    """Six silos, whose default delta would fail for one run in seven."""
    path = tmp_path / "run"
    flags = (
        *("--task=digits_2nn", "--partition=iid", "--num_clients=6"),
        *("--clients_per_round=6", "--total_rounds=1"),
        *("--aggregator=dp_gaussian", "--dp_clip=0.5"),
        *("--dp_target_epsilon=8", f"--output_dir={path}"),
    )
    done = run_script("train.py", *flags)
    assert done.returncode == 2
    (said,) = done.stderr.strip().splitlines()
    assert "--dp_delta is not set and its default 0.139" in said
    assert "6 clients" in said and "--dp_allow_large_delta" in said
    assert not path.exists()
    done = run_script("train.py", *flags, "--dp_allow_large_delta")
    assert done.returncode == 0, done.stderr
    stated = json.loads((path / "privacy.json").read_text())
    assert stated["private"] is False
    folder = path / "saved_model" / "assets.extra"
    card = json.loads((folder / "model_card.json").read_text())
    assert card["differential_privacy"] is False
    for text in (
        done.stdout,
        (path / "privacy.txt").read_text(),
        (folder / "model_card.md").read_text(),
    ):
        assert "NO PRIVACY: nothing of this run may be called private" in (
            " ".join(text.split())
        )
        assert "-differential privacy" not in text
    assert wrong(path) == ""


def test_a_signature_is_of_the_exported_model_too(signed_run, copy, keys):
    path, public = copy(signed_run), keys / "ours_public.pem"
    records = records_of(path)
    assert records[-1].content["kind"] == "exported"
    content = json.loads((path / "signature.json").read_text())
    assert content["head"] == records[-1].sha256
    # What the newest checkpoint's signature would not tell.
    card = path / "saved_model" / "assets.extra" / "model_card.md"
    card.write_text("It was never wrong.")
    model = environment.hashes(str(path / "saved_model"))

    def another_model(content):
        return {**content, "files": model} if "files" in content else content

    heads = rewrite(path, another_model)
    assert wrong(path) == ""
    assert wrong(path, public) == f"{path}/signature.json is of another log."
    signer = signature.Signer(str(keys / "ours.pem"))
    before = heads[records[-2].sha256]
    signer.write(str(path / "signature.json"), ROUNDS, before)
    assert wrong(path, public).startswith(
        f"{path}/signature.json does not sign the record of the exported model"
    )


@pytest.mark.soak
def test_a_statement_that_a_kill_kept_from_being_written_is_made_up_for(
    trained_in_private, copy
):
    path = copy(trained_in_private[0])
    whole = (path / "privacy.json").read_text()
    old = {**json.loads(whole), "rounds": 1, "epsilon": 0.1}
    (path / "privacy.json").write_text(json.dumps(old))
    # No round is left to be run.
    experiment.run(config_of(path, PRIVATE, total_rounds=2))
    found = json.loads((path / "privacy.json").read_text())
    # Its folder is another by now, and it may be another day.
    other = {"run": "copy", "date": found["date"]}
    assert found == {**json.loads(whole), **other}
    assert wrong(path) == ""


def cohort_hash(client_ids, key=b""):
    text = json.dumps(client_ids).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def test_the_log_of_a_private_run_does_not_tell_who_took_part(
    trained_in_private,
):
    path, cohorts = trained_in_private
    logged = [content["cohort"] for content in rounds_of(path)]
    assert len(logged) == len(cohorts) == 2
    text = (path / "rounds.jsonl").read_text()
    for cohort in cohorts:
        assert cohort_hash(cohort) not in logged
        plain = hashlib.sha256(json.dumps(cohort).encode()).hexdigest()
        assert plain not in logged
        assert not any(f'"{client_id}"' in text for client_id in cohort)


def test_the_log_of_another_run_has_the_cohorts_hashes(signed):
    path, cohorts = signed
    logged = [content["cohort"] for content in rounds_of(path)]
    assert [len(cohort) for cohort in cohorts] == [3] * ROUNDS
    assert logged == [cohort_hash(cohort) for cohort in cohorts]
