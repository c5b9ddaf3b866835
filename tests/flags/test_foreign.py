"""Flags and names of other programs are answered with ours."""

import pytest

from tests.testing.scripts import SCRIPTS, run_script
from tff_pipeline import registry
from tff_pipeline.config import OPTIMIZER_OPTIONS
from tff_pipeline.flags import foreign

TRAIN = ("train.py", "--output_dir=run")


ADVICE = (
    ("--lr=0.1", "--client_learning_rate"),
    ("--rounds=3", "--total_rounds"),
    ("--batch-size=3", "--client_batch_size"),
    ("--algorithm=FedProx", "--algorithm=fed_prox"),
    ("--partition=non-iid", "dirichlet"),
    ("--task=cifar10", "--task=npz"),
)
MORE_ADVICE = (
    ("--epochs=3", "--client_epochs_per_round or --total_rounds"),
    ("--local_epochs=3", "--client_epochs_per_round"),
    ("--batch_size", "--client_batch_size"),
    ("--Client-Batch-Size=3", "--client_batch_size"),
    ("--dataset=mnist", "--task or --data_dir"),
    ("--target=sick", "--label_column"),
    ("--validation_split=0.1", "--validation_fraction"),
    ("--early_stopping=3", "--patience"),
    ("--optimizer=adam", "--client_optimizer or --server_optimizer"),
    ("--momentum=0.9", "--client_momentum or --server_momentum"),
    ("--alpha=0.1", "--dirichlet_alpha"),
    ("--config=a.yaml", "--flagfile"),
    ("--gpu=0", "CUDA_VISIBLE_DEVICES"),
    ("--mu=0.1", "FedProx"),
    ("--resume", "--output_dir"),
    ("--clint_column=a", "--client_column"),
    ("--total_round=3", "--total_rounds"),
    ("--nonsense=1", "--helpfull"),
    ("--algorithm=fedavg", "--algorithm=fed_avg"),
    ("--algorithm=fed-adam", "--server_optimizer=fedadam"),
    ("--aggregator=rfa", "--aggregator=geometric_median"),
    ("--aggregator=TrimmedMean", "--aggregator=trimmed_mean"),
    ("--aggregator=cclip", "--aggregator=centered_clipping"),
    ("--aggregator=norm_bound", "--aggregator=clip+mean"),
    ("--aggregator=fltrust", "trimmed_mean"),
    ("--client_optimizer=lamb", "adamw"),
    ("--task=excel", "CSV"),
)


@pytest.mark.parametrize(
    ("flag", "ours"),
    [
        *ADVICE,
        *(pytest.param(*each, marks=pytest.mark.soak) for each in MORE_ADVICE),
    ],
)
def test_train_names_what_to_use(tmp_path, monkeypatch, flag, ours):
    monkeypatch.chdir(tmp_path)
    done = run_script(*TRAIN, flag)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {flag.partition('=')[0]}")
    assert len(done.stderr.splitlines()) == 1
    assert ours in done.stderr


@pytest.mark.parametrize(
    ("script", "flag", "ours"),
    [
        ("privacy.py", "--epsilon=3", "use --target_epsilon,"),
        ("privacy.py", "--dp_target_epsilon=3", "use --target_epsilon,"),
        ("privacy.py", "--total_rounds=3", "use --rounds,"),
        ("privacy.py", "--num_clients=3", "use --population,"),
        ("export.py", "--output_dir=m", "use --output or --run_dir,"),
        ("export.py", "--lr=0.1", "--helpfull"),
        ("serve.py", "--model_path=m", "use --model,"),
        ("prepare_data.py", "--csv=d.csv", "use --input,"),
    ],
)
def test_a_command_names_flags_of_its_own(script, flag, ours):
    done = run_script(script, flag)
    assert (done.returncode, done.stdout) == (2, "")
    assert ours in done.stderr


def test_what_is_ours_is_not_foreign():
    tables = {
        "algorithm": registry.ALGORITHMS,
        "aggregator": registry.AGGREGATORS,
        "client_optimizer": OPTIMIZER_OPTIONS,
        "partition": registry.PARTITIONS,
        "task": registry.TASKS,
    }
    assert set(tables) == set(foreign._METHODS)
    for flag, ours in tables.items():
        for name in ours:
            foreign.check_value(flag, name, ours.__contains__)


def test_every_flag_that_is_advised_is_one():
    """Checks that some command has each flag that is advised."""
    shown = "".join(
        run_script(path.name, "--helpfull").stdout
        for path in SCRIPTS.glob("*.py")
        if path.name != "doctor.py"
    )
    for names in foreign._FLAGS.values():
        for name in names:
            assert f"--{name}" in shown
