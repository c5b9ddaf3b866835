"""The command line: one sentence for a mistake, before anything starts."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings

from tests.testing.configs import experiment_configs
from tests.testing.scripts import ROOT, SCRIPTS, run_script
from tff_pipeline import errors
from tff_pipeline.config import (
    OPTIMIZER_OPTIONS,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.flags import flagfile
from tff_pipeline.registry import PARTITIONS, TASKS

# Reads flagfiles as scripts/train.py does: a path a line in, JSON a line out.
_READER = """
import json
import sys
from tff_pipeline.flags import experiment, parsing
experiment.define_experiment_flags()
for path in sys.stdin:
    parsing.FLAGS.unparse_flags()
    flagfile = f"--flagfile={path.strip()}"
    parsing.parse(["train.py", flagfile, "--output_dir=out"])
    print(json.dumps(experiment.experiment_config().to_json()), flush=True)
"""
# Runs a script and then says whether it imported TensorFlow.
_IMPORTED = """
import runpy
import sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("tensorflow" in sys.modules)
"""


@pytest.fixture(autouse=True)
def elsewhere_than_here(tmp_path, monkeypatch):
    """Should a mistake be let through, its run is not written here."""
    monkeypatch.chdir(tmp_path)


def check_mistake(done, status, *mentioned):
    """Asserts that a process said one sentence with all of `mentioned`."""
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    for words in mentioned:
        assert words in done.stderr


# Found before TensorFlow is imported.


@pytest.mark.parametrize(
    ("flags", "mentioned"),
    [
        (["--task=mnist"], ["--task=mnist:", *TASKS]),
        (["--task="], ["--task=:", *TASKS]),
        (["--partition=idd"], ["--partition=idd:", *PARTITIONS]),
        (
            ["--client_optimizer=adamax"],
            ["--client_optimizer=adamax:", *OPTIMIZER_OPTIONS],
        ),
        (
            ["--server_optimizer=SGD"],
            ["--server_optimizer=SGD:", *OPTIMIZER_OPTIONS],
        ),
        (
            ["--client_weighting=size"],
            ["--client_weighting=size:", "num_examples", "uniform"],
        ),
        (["--rounds=3"], ["rounds"]),
        (["--total_round=3"], ["total_round", "total_rounds"]),
        (["--total_rounds=abc"], ["--total_rounds=abc"]),
        (["--total_rounds=1.5"], ["--total_rounds=1.5"]),
        (["--total_rounds=0"], ["--total_rounds=0:", "at least 1"]),
        (["--seed=-1"], ["--seed=-1:", "4294967295"]),
        (["--seed="], ["--seed="]),
        (["--seed"], ["--seed"]),
        (["--overwrite=perhaps"], ["--overwrite=perhaps"]),
        (
            ["--clients_per_round=5", "--num_clients=3"],
            ["--clients_per_round=5 ", "--num_clients=3"],
        ),
        (["train"], ["'train'"]),
        (["--", "train"], ["'train'"]),
        (
            ["--client_adam_beta_1=0.5"],
            [
                "--client_adam_beta_1=0.5 ",
                "--client_optimizer=sgd;",
                "--client_optimizer=adam.",
            ],
        ),
        (
            ["--server_optimizer=yogi", "--server_adam_epsilon=0.5"],
            [
                "--server_adam_epsilon=0.5 ",
                "--server_optimizer=yogi;",
                "--server_optimizer=adam.",
            ],
        ),
        (
            ["--server_momentum=0.5"],
            ["--server_momentum=0.5 ", "--server_optimizer=sgd;"],
        ),
        (
            ["--client_lr_decay=0.5"],
            ["--client_lr_decay=0.5 ", "--client_lr_schedule=constant;"],
        ),
        (
            ["--server_lr_schedule=cosine"],
            ["--server_lr_schedule=cosine ", "--server_lr_decay_rounds"],
        ),
        (
            ["--dirichlet_alpha=0.5"],
            ["--dirichlet_alpha=0.5 ", "--partition=iid;", "dirichlet."],
        ),
        (
            ["--partition=natural", "--num_clients=5"],
            ["--num_clients=5 ", "--partition=natural;", "iid, shards"],
        ),
        (["--target_value=0.9"], ["--target_metric=", "--target_value=0.9 "]),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_sentence_that_names_the_flag(
    tmp_path, flags, mentioned
):
    output_dir = tmp_path / "run"
    done = run_script("train.py", f"--output_dir={output_dir}", *flags)
    check_mistake(done, 2, *mentioned)
    # train.py says so when it starts TensorFlow.
    assert done.stdout == ""
    assert not output_dir.exists()


@pytest.mark.parametrize("value", ["nan", "0", "-1", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_learning_rate_is_finite_and_above_zero(side, value):
    flag = f"--{side}_learning_rate"
    done = run_script("train.py", "--output_dir=run", f"{flag}={value}")
    check_mistake(
        done, 2, f"{flag}={float(value)}:", "must be a finite number above 0"
    )


def test_no_output_dir_is_a_mistake():
    check_mistake(run_script("train.py"), 2, "--output_dir is not set")


def test_an_empty_output_dir_is_a_mistake():
    check_mistake(run_script("train.py", "--output_dir="), 2, "--output_dir=")


def test_a_flagfile_that_is_missing_is_named(tmp_path):
    path = tmp_path / "absent.flags"
    done = run_script("train.py", f"--flagfile={path}")
    check_mistake(done, 2, "flagfile", str(path))


def test_a_flagfile_that_is_a_folder_is_named(tmp_path):
    done = run_script("train.py", f"--flagfile={tmp_path}")
    check_mistake(done, 2, "flagfile", str(tmp_path))


def test_a_flagfile_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "binary.flags"
    path.write_bytes(bytes(range(256)))
    done = run_script("train.py", f"--flagfile={path}")
    check_mistake(done, 2, "flagfile", str(path))


def test_a_mistake_in_a_flagfile_is_one_sentence(tmp_path):
    path = tmp_path / "wrong.flags"
    path.write_text("# A comment.\n\n--task=mnist\n")
    done = run_script("train.py", f"--flagfile={path}", "--output_dir=run")
    check_mistake(done, 2, "--task=mnist:", *TASKS)


def test_a_flagfile_with_a_line_that_is_no_flag_is_refused(tmp_path):
    path = tmp_path / "wrong.flags"
    path.write_text("task=digits_2nn\n")
    done = run_script("train.py", f"--flagfile={path}", "--output_dir=run")
    check_mistake(done, 2, "'task=digits_2nn'")


@pytest.mark.parametrize("argument", ["--task=two\nlines", "--two\nlines=1"])
def test_a_mistake_of_two_lines_is_answered_in_one(argument):
    done = run_script("train.py", "--output_dir=run", argument)
    check_mistake(done, 2, "two")


def test_bytes_that_are_not_text_are_answered_in_one_sentence():
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "train.py"), b"--task=\xff"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    check_mistake(done, 2, "--task=", *TASKS)


def test_a_flagfile_names_others_in_its_folder_each_once(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.flags").write_text("--flagfile=c.flags\n--b=1")
    (tmp_path / "c.flags").write_text("// No flag.\n\n --c=2 \n")
    first = tmp_path / "a.flags"
    first.write_text("--flagfile=below/b.flags\n--a=3\n")
    flags = ["--x", "y", "--flagfile", str(first), "--", "--flagfile=z"]
    assert [each.text for each in flagfile.expanded(flags)] == [
        *("--x", "y", "--c=2", "--b=1", "--a=3", "--", "--flagfile=z")
    ]
    os.symlink("/dev/zero", tmp_path / "endless")
    (tmp_path.parent / "outside.flags").write_text("--a=1\n")
    for name in ("../outside.flags", "/dev/zero", "endless", "a.flags", "\0"):
        first.write_text(f"--a=3\n--flagfile={name}\n")
        with pytest.raises(errors.ConfigError, match=r"a\.flags:2 has"):
            flagfile.expanded([f"--flagfile={first}"])
    first.write_text("--flagfile=c.flags\n" * 2)
    with pytest.raises(errors.ConfigError, match=r"a\.flags:2 .* each once"):
        flagfile.expanded([f"--flagfile={first}"])


def test_a_very_long_flag_is_refused_at_once():
    done = run_script("train.py", "--" + "x" * 100_000 + "=1")
    check_mistake(done, 2, "xxx'... is not a flag")


def test_the_last_of_two_values_counts(tmp_path):
    path = tmp_path / "some.flags"
    path.write_text("--task=in_the_file\n")
    file, flag = f"--flagfile={path}", "--task=on_the_line"
    for arguments, counts in [
        ([file, flag], "--task=on_the_line:"),
        ([flag, file], "--task=in_the_file:"),
    ]:
        done = run_script("train.py", "--output_dir=run", *arguments)
        check_mistake(done, 2, counts)


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "export.py"])
@pytest.mark.parametrize(
    ("flag", "status"), [("--nonsense=1", 2), ("--help", 0)]
)
def test_an_answer_needs_no_tensorflow(script, flag, status):
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, str(SCRIPTS / script), flag],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


# Help.


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_what_one_begins_with_and_where_the_rest_is(flag):
    done = run_script("train.py", flag)
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.findall(r"^  --(\w+)", done.stdout, re.MULTILINE)
    assert len(shown) < 30
    assert {"task", "data_dir", "client_column", "output_dir"} <= set(shown)
    assert "server_yogi_initial_accumulator" not in shown
    assert "--helpfull shows all" in done.stdout.splitlines()[-1]


def test_helpfull_names_every_flag():
    done = run_script("train.py", "--helpfull")
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.findall(r"^  --(\w+)", done.stdout, re.MULTILINE)
    assert len(shown) == len(set(shown))
    assert set(ExperimentConfig().flags()) <= set(shown)
    assert {"output_dir", "data_dir", "target_metric", "overwrite"} <= set(
        shown
    )
    for side in ("client", "server"):
        assert f"{side}_momentum" in shown
        assert f"{side}_lr_warmup_rounds" in shown
        assert f"{side}_yogi_initial_accumulator" in shown


def test_help_shows_defaults_and_known_names():
    text = " ".join(run_script("train.py", "--help").stdout.split())
    for default in ("task=digits_2nn", "server_learning_rate=1.0", "seed=0"):
        assert f"--{default} " in text
    for names in (TASKS, PARTITIONS, OPTIMIZER_OPTIONS):
        assert f"One of: {', '.join(names)}." in text


def test_help_shows_the_default_of_every_optimizer_option():
    text = " ".join(run_script("train.py", "--helpfull").stdout.split())
    for default in (
        r"--client_fedadam_beta_2 [^-]* Default: 0.99\.",
        r"--server_yogi_epsilon [^-]* Default: 0.001\.",
        r"--server_adam_epsilon [^-]* Default: 1e-07\.",
    ):
        assert re.search(default, text), default


@pytest.mark.parametrize(
    "script",
    # doctor.py has no flags.
    sorted({path.name for path in SCRIPTS.glob("*.py")} - {"doctor.py"}),
)
def test_help_is_sentences_that_begin_with_a_verb_in_80_columns(script):
    lines = run_script(script, "--helpfull").stdout.splitlines()
    flags = [i for i, line in enumerate(lines) if line.startswith("  --")]
    assert flags
    for number in flags:
        sentence = lines[number + 1]
        assert re.match(r" {6}[A-Z][a-z]+s [a-zA-Z-]", sentence), sentence
        assert len(sentence) <= 80
        last = number + 1
        while last + 1 < len(lines) and lines[last + 1].startswith("      "):
            last += 1
        assert lines[last].endswith("."), lines[number]


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "export.py"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_to_a_reader_that_has_left_says_nothing(script, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), "--help"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    finally:
        os.close(writer)
    assert done.stderr == ""


def test_help_to_a_reader_of_one_line_says_nothing_more():
    done = subprocess.run(
        f"'{sys.executable}' '{SCRIPTS / 'train.py'}' --help | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


# Found after TensorFlow is imported, but before training.


@pytest.mark.parametrize(
    ("flags", "status", "mentioned"),
    [
        (
            ["--target_metric=train_loss", "--target_value=0.9"],
            2,
            [
                "--target_metric=train_loss ",
                "loss, accuracy, eval_loss, eval_accuracy.",
            ],
        ),
        (["--task=mnist_2nn"], 2, ["--task=mnist_2nn ", "--data_dir"]),
        (
            ["--task=mnist_2nn", "--data_dir=/nowhere"],
            1,
            ["/nowhere is no folder", "--data_dir"],
        ),
        (
            ["--task=digits_2nn", "--data_dir=/nowhere"],
            2,
            ["--data_dir=/nowhere ", "--task=digits_2nn,"],
        ),
        (
            ["--partition=natural"],
            2,
            ["--partition=natural ", "iid, shards or dirichlet."],
        ),
        (
            [
                "--partition=dirichlet",
                "--dirichlet_alpha=0.001",
                "--num_clients=50",
            ],
            2,
            ["--dirichlet_alpha=0.001 ", "--num_clients=50 "],
        ),
    ],
    ids=[
        "unknown target",
        "no data_dir",
        "missing data_dir",
        "needless data_dir",
        "no owners",
        "too skewed",
    ],
)
def test_a_mistake_in_what_the_data_allow_is_found_before_training(
    tmp_path, flags, status, mentioned
):
    output_dir = tmp_path / "run"
    done = run_script("train.py", f"--output_dir={output_dir}", *flags)
    check_mistake(done, status, *mentioned)
    assert not output_dir.exists()


# Flagfiles.


@pytest.fixture(scope="module")
def read_flagfile(tmp_path_factory):
    """Text of a flagfile -> the config that train.py makes of it."""
    path = tmp_path_factory.mktemp("flagfile") / "some.flags"
    reader = subprocess.Popen(
        [sys.executable, "-c", _READER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def read(text):
        path.write_bytes(text.encode())
        reader.stdin.write(f"{path}\n")
        reader.stdin.flush()
        answer = reader.stdout.readline()
        assert answer, "the reader ended; its traceback is on stderr"
        return ExperimentConfig.from_json(json.loads(answer))

    with reader:
        yield read
        reader.stdin.close()


def elsewhere(config):
    """The config with another output folder, and absolute paths of files."""
    data_dir = config.data.data_dir and os.path.abspath(config.data.data_dir)
    devices, files = config.devices, config.devices.files()
    paths = {
        field.name: os.path.abspath(files[flag])
        for flag, field in devices.options()
        if flag in files
    }
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, data_dir=data_dir),
        devices=dataclasses.replace(devices, **paths),
        run=dataclasses.replace(config.run, output_dir="elsewhere"),
    )


@settings(deadline=None)
@given(experiment_configs())
def test_a_flagfile_gives_back_the_same_config(read_flagfile, config):
    again = read_flagfile(config.flagfile())
    assert again.run.output_dir == "out"
    assert elsewhere(again) == elsewhere(config)


@pytest.mark.parametrize("name", ["with space", "trailing ", "two\nlines"])
def test_a_flagfile_gives_back_any_data_dir_that_is_not_refused(
    read_flagfile, name
):
    path = f"/data/{name}"
    try:
        config = ExperimentConfig(DataConfig("mnist_2nn", path))
    except errors.ConfigError as error:
        # A line cannot hold every path.
        assert "--data_dir=" in str(error)
        assert name != "with space"
    else:
        assert read_flagfile(config.flagfile()).data.data_dir == path


def test_no_flags_are_the_default_config(read_flagfile):
    assert read_flagfile("") == ExperimentConfig(
        run=RunConfig(output_dir="out")
    )


FLAGFILES = sorted((ROOT / "configs").rglob("*.flags"))


@pytest.mark.parametrize(
    "path", FLAGFILES, ids=[path.stem for path in FLAGFILES]
)
def test_every_flagfile_of_ours_is_a_config(read_flagfile, path):
    text = path.read_text()
    config = read_flagfile(text)
    assert text.startswith("# ")
    for line in text.splitlines():
        if not line.startswith("#") and line:
            flag, _, value = line[2:].partition("=")
            assert config.flags()[flag] == type(config.flags()[flag])(value)
