"""scripts/evaluate.py and scripts/export.py on a run that train.py wrote."""

import json

import pytest

from tests.conftest import rows_of, run_script


def test_evaluate_reports_central_and_per_client(small_run):
    done = run_script("evaluate.py", f"--run_dir={small_run}", "--round=10")
    assert done.returncode == 0, done.stderr
    path = small_run / "evaluations" / "round_000010.json"
    report = json.loads(path.read_text())
    last = rows_of(small_run)[-1]
    assert report["central"]["accuracy"] == float(last["eval_accuracy"])
    (group,) = report["clients"]
    assert group["count"] == 12
    spread = group["metrics"]["accuracy"]
    assert (
        spread["worst_10_percent"]
        <= spread["median"]
        <= spread["best_10_percent"]
    )
    for word in ("weighted_mean", "worst_10_percent", "best_10_percent"):
        assert word in done.stdout
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize("script", ["evaluate.py", "export.py"])
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "--run_dir is not set"),
        (["--run_dir=/nowhere"], 1, "/nowhere/config.json does not exist"),
        (["--run_dir={run}", "--round=3"], 2, "saved rounds"),
    ],
)
def test_scripts_on_runs_name_the_mistake(
    script, arguments, status, words, small_run, tmp_path
):
    arguments = [argument.format(run=small_run) for argument in arguments]
    if script == "export.py":
        arguments.append(f"--output={tmp_path / 'model'}")
    done = run_script(script, *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_export_of_a_round_is_atomic_and_refuses_to_replace(
    small_run, tmp_path
):
    arguments = (f"--run_dir={small_run}", f"--output={tmp_path / 'model'}")
    first = run_script("export.py", *arguments, "--round=5")
    assert first.returncode == 0, first.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    again = run_script("export.py", *arguments)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    replaced = run_script("export.py", *arguments, "--overwrite")
    assert replaced.returncode == 0, replaced.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
