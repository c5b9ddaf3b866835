"""A log that is not what was written is found out, and its line is named."""

import json
import logging
import os
import tempfile

import hypothesis
import pytest
from hypothesis import strategies as st

from tff_pipeline.runs import round_log
from tff_pipeline.runs.round_log import DamagedLogError, Record, RoundLog

RUN = {"config": {"seed": 1}, "environment": {"python": "3"}}
ROUNDS = 4


def row(number):
    return {"round": number, "train_loss": 1 / number, "seconds": 0.5}


def write(path, rounds=ROUNDS):
    """A log of so many rounds; returns the log and its head after each."""
    log = RoundLog(str(path), RUN)
    assert log.rewind(0, None) == []
    heads = []
    for number in range(1, rounds + 1):
        log.round(number, f"state {number}", f"cohort {number}", row(number))
        heads.append(log.head)
    log.sync()
    return log, heads


def resumed(path, round_number, head):
    log = RoundLog(str(path), RUN)
    return log, log.rewind(round_number, head)


def kinds(path):
    return [record.content["kind"] for record in round_log.read(str(path))]


def refusal(path):
    with pytest.raises(DamagedLogError) as raised:
        round_log.read(str(path))
    assert str(path) in str(raised.value)
    return str(raised.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rounds.jsonl"


@pytest.fixture
def lines(path):
    """The lines of a log that lies at `path`: begun, then the rounds."""
    write(path)
    return path.read_text().splitlines(keepends=True)


def test_what_was_written_is_read(path):
    log, heads = write(path)
    log.add("failure", round=5, attempt=1, why="none", decision="skip")
    records = round_log.read(str(path))
    assert kinds(path) == ["begun", *["round"] * ROUNDS, "failure"]
    assert records[0].content == {"kind": "begun", **RUN}
    assert records[2].content == {
        "kind": "round",
        "round": 2,
        "state": "state 2",
        "cohort": "cohort 2",
        # How long it took is no part of what can be repeated.
        "metrics": {"round": 2, "train_loss": 0.5},
    }
    assert [r.sha256 for r in records[1:-1]] == heads
    assert [r.previous for r in records[1:]] == [r.sha256 for r in records[:-1]]
    assert records[-1].sha256 == log.head


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text()
)
values = st.recursive(
    scalars,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.text(), below, max_size=3)
    ),
    max_leaves=5,
)
names = st.text().filter(lambda name: name != "seconds")


@hypothesis.given(rows=st.lists(st.dictionaries(names, values), max_size=4))
@hypothesis.settings(max_examples=40)
@hypothesis.example(rows=[{"a": float("nan"), "b": -float("inf"), "c": -0.0}])
@hypothesis.example(rows=[{"line\nend": "\u2028\x00\ud800", "\x85": "ä\r\n"}])
def test_any_row_of_json_comes_back_when_a_run_goes_on(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rounds.jsonl")
        log = RoundLog(path, RUN)
        log.rewind(0, None)
        log.add("begins")
        for number, each in enumerate(rows, 1):
            log.round(number, "state", "cohort", {**each, "seconds": 1.0})
        _, found = resumed(path, len(rows), log.head)
    # As text, for NaN is not equal to itself, and -0.0 is equal to 0.0.
    assert json.dumps(found) == json.dumps(rows)


def test_every_byte_that_changes_is_found(path):
    _, heads = write(path, rounds=1)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in (0, 2, 5, 7):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                records = round_log.read(str(path))
            except DamagedLogError:
                continue
            # The last line has lost its end, as if it had been cut.
            assert place == len(content) - 1, (place, bit)
            assert heads[-1] not in [record.sha256 for record in records]


def test_a_cut_log_lacks_the_head_that_a_checkpoint_names(path):
    _, heads = write(path, rounds=1)
    content = path.read_bytes()
    whole = round_log.read(str(path))
    for size in range(len(content)):
        path.write_bytes(content[:size])
        kept = round_log.read(str(path))
        assert kept == whole[: content[:size].count(b"\n")]
        assert heads[-1] not in [record.sha256 for record in kept]


@pytest.mark.parametrize("size", [-1, -40])
def test_a_log_that_was_cut_is_found_when_a_run_goes_on(path, size, caplog):
    _, heads = write(path)
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with caplog.at_level(logging.WARNING):
        _, rows = resumed(path, ROUNDS, heads[-1])
    assert rows is None
    assert "the checkpoint was saved after is not in it" in caplog.text
    # The rounds that are whole still serve for an earlier one.
    path.write_bytes(content[:size])
    _, rows = resumed(path, ROUNDS - 1, heads[-2])
    assert [row["round"] for row in rows] == [1, 2, 3]


@pytest.mark.parametrize("line", range(1, ROUNDS + 1))
def test_a_line_that_is_missing_is_found(path, lines, line):
    path.write_text("".join(lines[: line - 1] + lines[line:]))
    assert f"line {line} does not follow the one before" in refusal(path)


@pytest.mark.parametrize("line", range(1, ROUNDS + 1))
def test_lines_that_changed_places_are_found(path, lines, line):
    lines[line - 1 : line + 1] = reversed(lines[line - 1 : line + 1])
    path.write_text("".join(lines))
    assert f"line {line} does not follow the one before" in refusal(path)


@pytest.mark.parametrize("line", range(1, ROUNDS + 2))
def test_a_line_that_is_there_twice_is_found(path, lines, line):
    lines.insert(line, lines[line - 1])
    path.write_text("".join(lines))
    assert f"line {line + 1} does not follow the one before" in refusal(path)


@pytest.mark.parametrize("line", range(1, ROUNDS + 1))
def test_a_forged_line_breaks_the_chain_at_the_next(path, lines, line):
    record = round_log.read(str(path))[line - 1]
    forged = {**record.content, "state": "another"}
    lines[line - 1] = Record.after(record.previous, forged).line()
    path.write_text("".join(lines))
    assert f"line {line + 1} does not follow the one before" in refusal(path)


def test_a_forged_last_line_is_not_what_the_checkpoint_names(path):
    _, heads = write(path)
    *before, last = round_log.read(str(path))
    forged = Record.after(last.previous, {**last.content, "state": "another"})
    path.write_text("".join(record.line() for record in [*before, forged]))
    assert len(round_log.read(str(path))) == ROUNDS + 1
    _, rows = resumed(path, ROUNDS, heads[-1])
    assert rows is None


@pytest.mark.parametrize("line", [1, 3, ROUNDS + 1])
@pytest.mark.parametrize(
    "rewritten",
    [
        lambda line: line.replace('": ', '":', 1),
        lambda line: "  " + line,
        lambda line: '{"kind": "twice", ' + line[1:],
        lambda line: (
            json.dumps(dict(reversed(json.loads(line).items()))) + "\n"
        ),
        lambda line: (
            json.dumps(json.loads(line), indent=None)[:-1] + ', "more": 1}\n'
        ),
    ],
)
def test_there_is_one_way_to_write_a_line(path, lines, line, rewritten):
    lines[line - 1] = rewritten(lines[line - 1])
    path.write_text("".join(lines))
    assert f"line {line} does not have its SHA-256" in refusal(path)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"7",
        b"\xff\xfe{}",
        b'"previous"',
        b'{"previous": "0"}',
        b"[" * 100_000,
        b'{"kind": "round"',
    ],
)
def test_a_line_that_is_no_record_is_named(path, lines, line):
    first = lines[0].encode()
    path.write_bytes(first + line + b"\n" + "".join(lines[1:]).encode())
    assert "line 2 is no record" in refusal(path)


def test_a_record_says_of_what_kind_it_is(path, lines):
    *before, last = round_log.read(str(path))
    forged = Record.after(last.previous, {"round": ROUNDS})
    path.write_text("".join(record.line() for record in [*before, forged]))
    assert f"line {ROUNDS + 1} is no record" in refusal(path)


def test_a_log_that_is_not_there_is_named(path):
    assert "cannot be read (No such file" in refusal(path)


def test_a_log_is_cut_back_to_the_head_of_a_checkpoint(path, lines):
    heads = [record.sha256 for record in round_log.read(str(path))]
    log, rows = resumed(path, 2, heads[2])
    assert rows == [{"round": n, "train_loss": 1 / n} for n in (1, 2)]
    # Not a line more, for the process may be killed before it does anything.
    assert path.read_text() == "".join(lines[:3])
    assert log.head == heads[2]
    log.round(3, "another state", "cohort", row(3))
    *kept, again, third = round_log.read(str(path))
    assert [record.sha256 for record in kept] == heads[:3]
    assert again.content == {"kind": "resumed", "after_round": 2, **RUN}
    assert third.content["state"] == "another state"


def test_a_run_that_goes_on_and_does_nothing_leaves_the_log_as_it_was(
    path, lines
):
    head = round_log.read(str(path))[-1].sha256
    for _ in range(3):
        log, rows = resumed(path, ROUNDS, head)
        log.sync()
        assert len(rows) == ROUNDS
        assert path.read_text() == "".join(lines)


def test_every_time_a_run_went_on_is_in_the_log(path):
    _, heads = write(path)
    for number in (3, 2):
        log, _ = resumed(path, number, heads[number - 1])
        log.round(number + 1, "another state", "cohort", row(number + 1))
    # The first of them was of a future that the second cut off.
    assert kinds(path) == ["begun", "round", "round", "resumed", "round"]
    log, _ = resumed(path, 3, log.head)
    log.add("exported", round=3)
    assert kinds(path)[-2:] == ["resumed", "exported"]


def test_a_run_that_begins_anew_has_an_empty_log(path, lines):
    log, rows = resumed(path, 0, None)
    assert rows == []
    assert path.read_text() == ""
    log.round(1, "state", "cohort", row(1))
    assert kinds(path) == ["begun", "round"]
    assert "after_round" not in round_log.read(str(path))[0].content


def test_a_damaged_log_is_kept_and_the_new_one_says_where_it_begins(
    path, lines, caplog
):
    head = round_log.read(str(path))[-1].sha256
    damaged = "".join(lines).replace("state 2", "state 7")
    path.write_text(damaged)
    with caplog.at_level(logging.WARNING):
        log, rows = resumed(path, ROUNDS, head)
    assert rows is None
    assert f"{path} is damaged: line 3 does not have its SHA-256" in caplog.text
    assert f"{path}.damaged" in caplog.text
    kept = path.with_name("rounds.jsonl.damaged")
    assert kept.read_text() == damaged
    assert path.read_text() == ""
    log.round(ROUNDS + 1, "state", "cohort", row(ROUNDS + 1))
    begun, after = round_log.read(str(path))
    assert begun.content == {"kind": "begun", "after_round": ROUNDS, **RUN}
    assert after.content["round"] == ROUNDS + 1


def test_a_log_that_is_gone_begins_anew_too(path, lines):
    head = round_log.read(str(path))[-1].sha256
    path.unlink()
    log, rows = resumed(path, ROUNDS, head)
    assert rows is None
    log.round(ROUNDS + 1, "state", "cohort", row(ROUNDS + 1))
    assert round_log.read(str(path))[0].content["after_round"] == ROUNDS
    assert os.listdir(path.parent) == ["rounds.jsonl"]
