"""How metrics are spread over clients, against closed forms."""

import numpy as np
import pytest

from tff_pipeline.evaluation.spread import spread_columns, summarize


# Client i of n has the value i and i examples: the mean is (n + 1) / 2, and
# the weighted one, the sum of squares over the sum, (2n + 1) / 3.
@pytest.mark.parametrize(
    ("clients", "worst_is_highest", "worst", "best"),
    [
        (1, True, 1.0, 1.0),
        (1, False, 1.0, 1.0),
        (4, True, 4.0, 1.0),
        (10, True, 10.0, 1.0),
        (10, False, 1.0, 10.0),
        # Two and a half are two.
        (25, True, 24.5, 1.5),
        (25, False, 1.5, 24.5),
        (100, True, 95.5, 5.5),
        (100, False, 5.5, 95.5),
    ],
)
def test_summary_of_an_arithmetic_series(
    clients, worst_is_highest, worst, best
):
    values = np.random.default_rng(0).permutation(clients) + 1.0
    summary = summarize(values, values, worst_is_highest)
    assert summary == pytest.approx(
        {
            "mean": (clients + 1) / 2,
            "weighted_mean": (2 * clients + 1) / 3,
            "p10": 1 + 0.1 * (clients - 1),
            "median": (clients + 1) / 2,
            "p90": 1 + 0.9 * (clients - 1),
            "worst_10_percent": worst,
            "best_10_percent": best,
            "gap": abs(best - worst),
        },
        rel=1e-12,
    )
    assert {type(value) for value in summary.values()} == {float}


def test_weights_are_the_examples_and_count_for_the_weighted_mean_only():
    values, examples = np.array([0.0, 1.0]), np.array([3.0, 1.0])
    summary = summarize(values, examples, worst_is_highest=False)
    assert summary["weighted_mean"] == 0.25
    assert summary["mean"] == summary["median"] == 0.5
    assert summary["worst_10_percent"] == 0.0
    assert summary["best_10_percent"] == 1.0


def test_a_share_that_is_not_defined_of_a_client_does_not_count():
    values = np.array([np.nan, 0.5, 1.0])
    summary = summarize(values, np.array([9.0, 1, 3]), worst_is_highest=False)
    assert summary == summarize(values[1:], np.array([1.0, 3]), False)
    assert summary["weighted_mean"] == 0.875
    columns = spread_columns("seen", {"auc": values, "f1": values * np.nan})
    assert columns["seen_auc_mean"] == 0.75
    # No client has one: the cells stay empty.
    assert not any(name.startswith("seen_f1") for name in columns)


def test_a_loss_that_is_no_number_is_a_failure_that_shows():
    columns = spread_columns("seen", {"loss": np.array([np.nan, 1.0])})
    assert np.isnan(columns["seen_loss_mean"])


def test_columns_name_group_metric_and_statistic():
    values = {
        "loss": np.array([4.0, 1.0, 2.0]),
        "accuracy": np.array([0.5, 1.0, 0.75]),
    }
    columns = spread_columns("unseen", values)
    assert list(columns)[:5] == [
        *("unseen_loss_mean", "unseen_loss_p10", "unseen_loss_median"),
        *("unseen_loss_p90", "unseen_loss_gap"),
    ]
    assert columns["unseen_loss_gap"] == 3.0
    assert columns["unseen_accuracy_median"] == 0.75
    assert len(columns) == 10
