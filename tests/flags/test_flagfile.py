"""Tests that a line of a flagfile means what it means to a shell."""

import os

import pytest

from tff_pipeline import errors
from tff_pipeline.flags import flagfile

PATHS = ("data_dir", "output_dir")


def read(tmp_path, text, encoding="utf-8"):
    """The arguments that a file of this text stands for."""
    path = tmp_path / "some.flags"
    path.write_bytes(text.encode(encoding))
    arguments = flagfile.expanded([f"--flagfile={path}"], PATHS)
    assert all(each.file == str(path) for each in arguments)
    return [each.text for each in arguments]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('--client_column="Ward, site"', "--client_column=Ward, site"),
        ("--client_column='Ward, site'", "--client_column=Ward, site"),
        ("--client_column=Ward, site", "--client_column=Ward, site"),
        ("--client_column = Ward", "--client_column=Ward"),
        ("--client_column='it''s'", "--client_column=it''s"),
        ('--client_column="a" or b', '--client_column="a" or b'),
        ('--client_column="', '--client_column="'),
        # Here quotes keep a comma from parting two names.
        ('--feature_columns="a, b"', '--feature_columns="a, b"'),
        ("--feature_columns='age,\"a, b\"'", '--feature_columns=age,"a, b"'),
        ("--task=csv # own data", "--task=csv"),
        ("--task=csv\t#own data", "--task=csv"),
        ('--client_column="a # b" # c', "--client_column=a # b"),
        ("--client_column='a # b'", "--client_column=a # b"),
        ("--client_column=a#b", "--client_column=a#b"),
        ("--overwrite # again", "--overwrite"),
        ("--task csv", "--task=csv"),
        ("--task csv # own data", "--task=csv"),
        ("--client_column Ward, site", "--client_column=Ward, site"),
        ("--task=csv \\", "--task=csv"),
        ("--overwrite \\", "--overwrite"),
        ("--data_dir=a=b", "--data_dir=a=b"),
        ("--data_dir=~/d.csv", "--data_dir=/home/u/d.csv"),
        ('--data_dir="~/d.csv"', "--data_dir=/home/u/d.csv"),
        ("--data_dir='~/d.csv'", "--data_dir=~/d.csv"),
        ("--data_dir=$HOME/d.csv", "--data_dir=/home/u/d.csv"),
        ("--data_dir=/a/${HOME}x", "--data_dir=/a//home/ux"),
        ("--data_dir='$HOME'", "--data_dir=$HOME"),
        # These are no paths.
        ("--label_column=$HOME", "--label_column=$HOME"),
        ("--label_column=~", "--label_column=~"),
    ],
)
def test_a_line_is_read_as_it_was_meant(tmp_path, monkeypatch, line, meant):
    monkeypatch.setenv("HOME", "/home/u")
    assert read(tmp_path, f"{line}\n") == [meant]
    assert read(tmp_path, f"{line}\r\n") == [meant]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_of_editors_at_the_start_are_no_text(tmp_path, encoding):
    text = "--client_column=Großstadt\n--seed=1"
    assert read(tmp_path, text, encoding) == text.split("\n")


def test_a_variable_that_is_not_set_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(errors.ConfigError, match=r"some\.flags:2 .*\$NOWHERE"):
        read(tmp_path, "\n--data_dir=$NOWHERE/d.csv")


def test_a_tilde_of_the_command_line_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/u")
    flags = flagfile.expanded(["--data_dir=~/a", "--label_column=~/a"], PATHS)
    assert flags == [
        ("--data_dir=/home/u/a", None),
        ("--label_column=~/a", None),
    ]


def test_a_file_that_is_not_found_is_the_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "configs/quickstart.flags"
    texts = [f.text for f in flagfile.expanded([f"--flagfile={name}"])]
    assert "--task=digits_2nn" in texts
    # One that is here comes first.
    os.mkdir("configs")
    (tmp_path / name).write_text("--task=mine\n")
    assert flagfile.expanded([f"--flagfile={name}"]) == [("--task=mine", name)]


@pytest.mark.parametrize(
    "name", ["configs/absent.flags", "configs/../errors.py", "errors.py"]
)
def test_no_other_file_of_the_package_is_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.ConfigError, match="configs/quickstart"):
        flagfile.expanded([f"--flagfile={name}"])
