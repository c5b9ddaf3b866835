"""scripts/check_model.py: what a model takes and gives, without training."""

from tests.testing.scripts import run_script
from tff_pipeline.commands import check_model
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig

OWN = "--model_fn=tests.testing.own_models:"


def check(name):
    return run_script("check_model.py", "--task=digits_2nn", f"{OWN}{name}")


def test_what_is_changed_of_a_tutorials_model_is_said():
    done = check("tutorial")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "data     uint8 [8 x 8 x 1], 0 to 16"
    assert "takes    float32 [28 x 28]" in lines
    assert "gives    float32 [10]" in lines
    assert "changed  the softmax at its end is taken off" in lines
    assert "101,770 trained" in done.stdout
    (measured,) = (line for line in lines if line.startswith("untrained"))
    # About that of a guess among ten, ln 10: a softmax of it is nearer still.
    loss = float(measured.split("loss ")[1].split(",")[0])
    assert 2.0 < loss < 3.0
    assert lines[-1] == "It can be trained."


def test_a_model_that_does_not_fit_ends_with_2():
    done = check("seven")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "takes float32 of shape (5,)" in done.stderr


def test_frozen_weights_are_counted():
    config = ExperimentConfig(
        data=DataConfig(
            task="digits_2nn",
            model_fn="tests.testing.own_models:tutorial",
            model=ModelConfig(freeze="^dense/"),
        )
    )
    (line,) = (
        each for each in check_model.lines(config) if each.startswith("weights")
    )
    assert line == (
        "weights  1,290 trained, 0 sent but not trained, 100,480 frozen"
    )


def test_a_model_must_be_named():
    done = run_script("check_model.py", "--task=digits_2nn")
    assert done.returncode == 2
    assert "--model_fn is not set" in done.stderr
