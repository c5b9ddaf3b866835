"""`tff-pipeline COMMAND`: the same programs as scripts/, by one name."""

import configparser
import importlib
import subprocess
import sys

import pytest

import tff_pipeline
from tests.testing.scripts import ROOT, SCRIPTS, start_script
from tests.testing.soaked import soaked
from tff_pipeline.commands import main

# Runs the command line, and then says whether it imported TensorFlow.
_PROGRAM = """
import sys
from tff_pipeline.commands import main
try:
    main.main()
finally:
    print("tensorflow" in sys.modules)
"""


def start(*arguments):
    """Runs `tff-pipeline`; returns (status, output, stderr, has TensorFlow)."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    output, _, imported = done.stdout.rstrip("\n").rpartition("\n")
    return done.returncode, output, done.stderr, imported == "True"


def test_the_entry_point_is_the_function():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    line = config["options.entry_points"]["console_scripts"].strip()
    name, _, target = line.partition(" = ")
    module, _, function = target.partition(":")
    assert name == "tff-pipeline"
    assert getattr(importlib.import_module(module), function) is main.main


def test_every_script_is_a_command():
    names = {path.stem.replace("_", "-") for path in SCRIPTS.glob("*.py")}
    assert names == set(main.COMMANDS)


@pytest.mark.parametrize("argument", [[], ["--help"], ["-h"], ["help"]])
def test_help_has_a_line_for_each_command(argument):
    status, output, stderr, imported = start(*argument)
    assert (status, stderr, imported) == (0, "", False)
    lines = [line.split() for line in output.splitlines()]
    shown = {words[0] for words in lines if len(words) > 3}
    assert set(main.COMMANDS) <= shown
    assert len(output.splitlines()) < 40


def test_the_version_is_the_packages():
    version = tff_pipeline.__version__
    assert start("--version") == (0, f"tff-pipeline {version}", "", False)


def test_quickstart_is_train_with_the_packages_own_flagfile(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, output, stderr, imported = start("quickstart", "--seed=-1")
    assert (status, output, imported) == (2, "", False)
    assert stderr.startswith("error: --seed=-1: must be")


@pytest.mark.parametrize("name", ["trian", "train.py", "--task=mnist", "a\nb"])
def test_a_command_that_is_unknown_is_one_sentence(name):
    status, output, stderr, imported = start(name)
    assert (status, output, imported) == (2, "", False)
    assert stderr.startswith("error: ")
    assert len(stderr.splitlines()) == 1
    assert repr(" ".join(name.split())) in stderr
    for command in main.COMMANDS:
        assert command in stderr


def test_a_mistake_in_a_flag_is_found_without_tensorflow():
    status, output, stderr, imported = start("train", "--total_rounds=0")
    assert (status, output, imported) == (2, "", False)
    assert stderr.startswith("error: --total_rounds=0: must be")
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("name", sorted({*main.COMMANDS} - {"doctor"}))
def test_help_of_a_command_shows_how_it_is_typed(name):
    status, output, stderr, imported = start(name, "--help")
    assert (status, stderr, imported) == (0, "", False)
    assert f"tff-pipeline {name} --" in output
    assert "scripts/" not in output.partition("\n\n\n")[0].split("--")[0]
    script = start_script(f"{name.replace('-', '_')}.py", "--help")
    assert f"python scripts/{name.replace('-', '_')}.py --" in script.stdout
    # The flags are the same ones.
    assert output.splitlines()[-3:] == script.stdout.splitlines()[-3:]


def test_the_doctor_finds_this_machine_fit_and_names_its_proxies(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://nowhere:1")
    status, output, stderr, imported = start("doctor")
    assert (status, stderr, imported) == (0, "", True)
    lines = output.splitlines()
    assert not any(line.startswith("fail") for line in lines)
    for words in ("Python 3.", "tensorflow 2.14", "https_proxy set", "free"):
        assert any(words in line for line in lines), words


def test_a_command_answers_as_its_script():
    question = [
        "--population=1000",
        "--cohort_size=50",
        "--rounds=20",
        "--noise_multiplier=1.1",
    ]
    status, output, stderr, imported = start("privacy", *question)
    assert (status, stderr, imported) == (0, "", False)
    assert output + "\n" == start_script("privacy.py", *question).stdout


@pytest.mark.parametrize(
    "name", ["tensorflow_federated", *soaked("tensorflow_privacy")]
)
def test_what_pip_leaves_to_a_second_step_is_named(tmp_path, name):
    """Runs the command as where nothing but `pip install .` was done."""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            f"import sys; sys.modules[{name!r}] = None\n"
            "from tff_pipeline.commands import main; main.main()",
            *("train", f"--output_dir={tmp_path / 'run'}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"error: {name} is not installed; run: pip install" in done.stderr
    assert len(done.stderr.splitlines()) == 1
