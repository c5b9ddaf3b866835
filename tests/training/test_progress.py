"""What a run shows while it trains."""

import io

from tff_pipeline.training.progress import Progress

ROW = {
    "round": 1,
    "train_loss": 0.5,
    "eval_accuracy": 0.25,
    "validation_accuracy": 0.375,
    "clients": 3,
    "seconds": 0.1,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_name_round_metrics_rate_and_time_left():
    file = io.StringIO()
    with Progress(0, 2, file) as progress:
        progress.update(ROW, last=False)
        progress.update({**ROW, "round": 2}, last=True)
    first, last = file.getvalue().splitlines()
    assert first.startswith(
        "round 1/2  train_loss 0.5000  eval_accuracy 0.2500  "
        "validation_accuracy 0.3750"
    )
    assert "rounds/s" in first
    assert first.endswith(" left")
    assert last.startswith("round 2/2 ")
    assert "clients" not in first


def test_lines_are_few_but_the_last_is_always_there():
    file = io.StringIO()
    with Progress(0, 100, file) as progress:
        for number in range(1, 101):
            progress.update({**ROW, "round": number}, last=number == 100)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("round 1/100 ")
    assert lines[-1].startswith("round 100/100 ")
    assert len(lines) < 50


def test_terminal_gets_a_bar_that_keeps_the_last_evaluation(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    file = Terminal()
    with Progress(4, 6, file) as progress:
        progress.update({**ROW, "round": 5}, last=False)
        progress.update({"round": 6, "train_loss": 0.125}, last=True)
    shown = file.getvalue().split("\r")[-1]
    assert shown.startswith("round 6/6 |")
    assert "loss 0.125" in shown
    assert "test accuracy 0.250 validation accuracy 0.375" in shown
    assert "\nround" not in file.getvalue()
