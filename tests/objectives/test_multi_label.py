"""Loss and recall of examples with several labels, by hand."""

import math

import numpy as np
import pytest

from tff_pipeline.objectives import multi_label


def test_recall_counts_labels_among_the_likeliest():
    logits = np.array([[5, 4, 3, 2], [0, 1, 2, 3], [1, 2, 3, 4]], np.float32)
    labels = np.array([[1, 0, 1, 1], [1, 0, 0, 0], [0] * 4], np.float32)
    metric = multi_label.RecallAtK(2)
    metric = multi_label.RecallAtK.from_config(metric.get_config())
    metric.update_state(labels, logits)
    assert metric.name == "recall_at_2"
    assert float(metric.result()) == pytest.approx(1 / 4)


def test_loss_of_labels_is_summed_over_them():
    labels, logits = np.array([[1.0, 0, 0]]), np.zeros([1, 3])
    loss = multi_label.LabelCrossEntropy()(labels, logits)
    assert float(loss) == pytest.approx(3 * math.log(2))
