"""The command line has the last word over a flagfile's options."""

import pytest

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.flags import experiment, parsing

FILE = """
--partition=dirichlet
--dirichlet_alpha=1.0
--num_clients=20
--client_optimizer=adam
--client_adam_beta_1=0.5
--client_lr_schedule=cosine
--client_lr_decay_rounds=7
--server_optimizer=momentum
--server_momentum=0.5
--client_epochs_per_round=2
--aggregator=clip+mean
--clip_norm=3
"""
PRIVATE = """
--aggregator=dp_gaussian_adaptive
--dp_quantile=0.3
--dp_noise_multiplier=1
"""
TABLE = """
--task=csv
--client_column=hospital
--label_column=disease
--unseen_clients=1
--test_fraction=0.3
"""


@pytest.fixture(scope="module", autouse=True)
def _flags():
    if "task" not in parsing.FLAGS:
        experiment.define_experiment_flags()


@pytest.fixture
def read(tmp_path):
    """A flagfile's text and a command line after it -> the flags' values."""

    def read(text, *line, before=()):
        path = tmp_path / "some.flags"
        path.write_text(text)
        parsing.FLAGS.unparse_flags()
        arguments = [*before, f"--flagfile={path}", *line, "--output_dir=out"]
        parsing.parse(["train.py", *arguments])
        return experiment.experiment_config().flags()

    return read


@pytest.mark.parametrize(
    ("text", "line", "dropped"),
    [
        (FILE, ["--partition=iid"], {"dirichlet_alpha"}),
        (FILE, ["--partition", "iid"], {"dirichlet_alpha"}),
        (FILE, ["--client_optimizer=sgd"], {"client_adam_beta_1"}),
        (FILE, ["--server_optimizer=sgd"], {"server_momentum"}),
        (FILE, ["--client_lr_schedule=constant"], {"client_lr_decay_rounds"}),
        (FILE, ["--client_steps_per_round=5"], set()),
        (FILE, ["--aggregator=mean"], {"clip_norm"}),
        (
            PRIVATE,
            ["--aggregator=mean"],
            {"dp_quantile", "dp_noise_multiplier"},
        ),
        (PRIVATE, ["--dp_target_epsilon=8"], {"dp_noise_multiplier"}),
        (TABLE, ["--split_column=part"], {"test_fraction"}),
        (TABLE, ["--partition=iid"], {"unseen_clients"}),
        (
            TABLE,
            ["--task=digits_2nn", "--partition=iid"],
            {
                "client_column",
                "label_column",
                "unseen_clients",
                "test_fraction",
            },
        ),
    ],
)
def test_options_of_what_is_replaced_are_dropped(
    read, capsys, text, line, dropped
):
    flags = read(text, *line)
    for name in dropped:
        assert name not in flags
        assert f"--{name}=" in capsys.readouterr().out or len(dropped) > 1
    for argument in line:
        name, equals, value = argument[2:].partition("=")
        if equals:
            assert str(flags[name]).startswith(value)


def test_what_the_new_choice_takes_stays(read):
    flags = read(FILE, "--partition=shards", "--client_optimizer=sgd")
    assert flags["num_clients"] == 20
    assert flags["shards_per_client"] == 2
    assert flags["server_momentum"] == 0.5
    assert flags["client_lr_decay_rounds"] == 7


def test_the_same_choice_drops_nothing(read, capsys):
    assert read(FILE, "--partition=dirichlet") == read(FILE)
    assert capsys.readouterr().out == ""


def test_a_file_after_the_flag_has_the_last_word(read):
    flags = read(FILE, before=["--partition=iid"])
    assert flags["partition"] == "dirichlet"
    assert flags["dirichlet_alpha"] == 1.0


@pytest.mark.parametrize(
    "line",
    [
        # What the command line itself contradicts is still refused,
        ["--partition=iid", "--dirichlet_alpha=2.0"],
        ["--client_steps_per_round=5", "--client_epochs_per_round=3"],
        # and so is a name that is none.
        ["--partition=idd"],
    ],
)
def test_mistakes_of_the_command_line_are_refused(read, line):
    with pytest.raises(errors.ConfigError):
        read(FILE, *line)


def test_a_mistake_within_a_file_is_refused(read):
    with pytest.raises(errors.ConfigError, match="dirichlet_alpha"):
        read("--partition=iid\n--dirichlet_alpha=2.0")


def test_a_run_of_nothing_but_defaults_is_the_default(read):
    expected = {**ExperimentConfig().flags(), "output_dir": "out"}
    assert read("") == expected
