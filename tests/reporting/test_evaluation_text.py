"""The text of an evaluation: what a reader sees of it."""

import pytest

from tff_pipeline.reporting import evaluation_text

SPREAD = {
    **{"mean": 0.8, "weighted_mean": 0.75, "p10": 0.7, "median": 0.8},
    **{"p90": 0.9, "worst_10_percent": 0.7, "best_10_percent": 0.9},
    **{"gap": 0.2, "clients": 2},
}
REPORT = {
    "task": "csv",
    "round": 30,
    "rows": 12_345,
    "central": {"loss": 0.4, "accuracy": 0.8, "auc": 0.9, "f1": 0.7},
    "constant_answer": {"loss": 0.6, "accuracy": 0.55, "auc": 0.5, "f1": 0.0},
    "classes": {
        "rows": 12_343,
        "not_finite": 2,
        "names": ["no", "yes"],
        "count": [7_000, 5_343],
        "predicted": [8_000, 4_343],
        "precision": [0.75, None],
        "recall": [0.9, 0.6],
        "f1": [0.8, 0.7],
        "confusion": [[6_300, 700], [1_700, 3_643]],
        "positive": "yes",
        "threshold": 0.5,
    },
    "clients": [
        {
            "which": "training clients, on test examples",
            "count": 2,
            "metrics": {"accuracy": SPREAD, "auc": {**SPREAD, "clients": 1}},
            "worst": {"accuracy": [{"client": "a\x1b[2J", "value": 0.7}]},
            "each": [
                {
                    "client": "a\x1b[2J",
                    "examples": 1_000,
                    "metrics": {"accuracy": 0.7},
                },
                {
                    "client": "b",
                    "examples": 20,
                    "metrics": {"accuracy": 0.9, "auc": 0.85},
                },
            ],
        }
    ],
}


def lines(report):
    return [
        " ".join(line.split())
        for line in evaluation_text.in_words(report).splitlines()
    ]


def test_a_reader_finds_figures_beside_the_majoritys():
    text = lines(REPORT)
    for line in (
        "csv, round 30",
        "Central test set, 12,345 examples",
        "model majority",
        "accuracy 0.8000 0.5500",
        "f1 (yes) 0.7000 0.0000",
        "By class; yes is predicted above a probability of 0.5",
        "no 7,000 8,000 0.750 0.900 0.800",
        "yes 5,343 4,343 - 0.600 0.700",
        "true no yes",
        "no 6,300 700",
        "Over 2 training clients, on test examples",
        "clients 2 1",
        "b 20 0.9000 0.8500",
    ):
        assert line in text, line
    assert any(line.startswith("2 examples have outputs") for line in text)


def test_a_name_is_no_command_to_the_terminal():
    text = evaluation_text.in_words(REPORT)
    assert "\x1b" not in text
    assert "a\\u001b[2J 1,000 0.7000 -" in lines(REPORT)


def test_of_many_clients_the_worst_are_named():
    (group,) = REPORT["clients"]
    many = {**REPORT, "clients": [{**group, "each": []}]}
    assert "worst by accuracy: a\\u001b[2J 0.7000" in lines(many)


def test_of_many_classes_the_worst_and_most_confused_are_shown():
    count = 30
    confusion = [[0] * count for _ in range(count)]
    for each in range(count):
        confusion[each][each] = 100
    confusion[7][3] = 55
    classes = {
        **REPORT["classes"],
        "names": [f"kind {each}" for each in range(count)],
        "confusion": confusion,
        **{name: [100] * count for name in ("count", "predicted")},
        **{name: [0.9] * count for name in ("precision", "recall")},
        "f1": [None, *(each / count for each in range(1, count))],
    }
    del classes["positive"], classes["threshold"]
    text = lines({**REPORT, "classes": classes})
    assert "Most often confused: kind 7 as kind 3 55" in text
    assert "By class, the worst 20 of 30 by f1" in text
    shown = [line for line in text if line.startswith("kind ")]
    assert len(shown) == 20
    assert "f1 (macro) 0.7000 0.0000" in text


def test_numbers_stand_beside_their_mean():
    report = {
        **{"task": "npz", "round": 1, "rows": 5, "clients": []},
        "central": {"loss": 0.2, "root_mean_squared_error": 123456.0},
        "constant_answer": {"loss": 1.0, "root_mean_squared_error": 2e5},
    }
    text = lines(report)
    assert "model mean" in text
    assert "root_mean_squared_error 1.235e+05 2e+05" in text


def test_other_tasks_have_their_own_metrics_alone():
    report = {
        **{"task": "ner_tagger", "round": 1, "rows": 5, "clients": []},
        "central": {"loss": 0.2, "entity_f1": 0.5},
    }
    assert lines(report)[3:] == ["loss 0.2000", "entity_f1 0.5000"]


@pytest.mark.parametrize(
    ("evaluation", "constant", "line"),
    [
        (
            {"loss": 0.3, "accuracy": 0.86},
            {"loss": 0.69, "accuracy": 0.54},
            "Accuracy 0.860; the most frequent class alone 0.540.",
        ),
        (
            {"mean_absolute_error": 1.0, "root_mean_squared_error": 2.5},
            {"mean_absolute_error": 2.0, "root_mean_squared_error": 4.0},
            "Root mean squared error 2.500; the mean alone 4.000.",
        ),
        ({"entity_f1": 0.8}, {}, ""),
        ({"accuracy": 0.8}, {}, ""),
        ({}, {"accuracy": 0.54}, ""),
    ],
)
def test_the_last_word_of_a_run(evaluation, constant, line):
    assert evaluation_text.standing(evaluation, constant) == line
