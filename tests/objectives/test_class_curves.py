"""ROC and reliability against the scores that are their areas and sums."""

import numpy as np
import pytest

from tff_pipeline.objectives import class_curves, class_scores


def drawn(count, classes, seed):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes))
    logits[np.arange(count), y] += 1.0
    return y, logits.astype(np.float32)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_areas_are_those_of_the_scores_and_of_the_drawn_curves(classes):
    y, logits = drawn(4000, classes, seed=1)
    curves = class_curves.roc_curves(y, logits)
    assert len(curves) == (1 if classes == 2 else classes)
    scores = class_scores.class_scores(y, logits)
    mean = np.mean([curve.area for curve in curves])
    assert mean == pytest.approx(scores.values["auc"], abs=1e-9)
    for curve in curves:
        false, true = curve.false_positives, curve.true_positives
        assert len(false) <= 101
        assert (false[0], false[-1], true[-1]) == (0, 1, 1)
        assert np.all(np.diff(true) >= 0)
        assert np.trapz(true, false) == pytest.approx(curve.area, abs=0.01)


def test_a_class_that_does_not_occur_has_no_curve():
    y, logits = drawn(50, 3, seed=2)
    curves = class_curves.roc_curves(np.minimum(y, 1), logits)
    assert [curve.label for curve in curves] == [0, 1]


def test_one_logit_is_that_of_the_second_class():
    y, logits = drawn(300, 2, seed=3)
    one = (logits[:, 1:] - logits[:, :1]).astype(np.float64)
    (both,) = class_curves.roc_curves(y, logits)
    (alone,) = class_curves.roc_curves(y, one)
    assert alone.area == pytest.approx(both.area)


def test_the_gaps_of_reliability_add_up_to_the_calibration_error():
    y, logits = drawn(3000, 4, seed=4)
    found = class_curves.reliability(y, logits)
    assert found.share.sum() == pytest.approx(1)
    gap = np.sum(found.share * np.abs(found.right - found.confidence))
    scores = class_scores.class_scores(y, logits)
    assert gap == pytest.approx(scores.values["calibration_error"], abs=1e-6)


def test_outputs_that_are_not_finite_are_left_out():
    y, logits = drawn(200, 3, seed=5)
    spoilt = np.concatenate([logits, np.full([20, 3], np.nan, np.float32)])
    labels = np.concatenate([y, np.zeros(20, int)])
    clean = class_curves.reliability(y, logits)
    found = class_curves.reliability(labels, spoilt)
    np.testing.assert_array_equal(found.right, clean.right)
    areas = [c.area for c in class_curves.roc_curves(y, logits)]
    assert areas == [c.area for c in class_curves.roc_curves(labels, spoilt)]
