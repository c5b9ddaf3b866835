"""What a tagger is measured by, and what an exported one gives."""

import functools
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import sklearn.metrics
import tensorflow as tf

from tff_pipeline.datasets.tags import Tags
from tff_pipeline.models import crf, tagger
from tff_pipeline.objectives.sequence import TokenAccuracy
from tff_pipeline.objectives.set_metric import SetMetric


class CrfLoss(tf.keras.losses.Loss):
    """The negative log-likelihood of a batch's tags, for each of its tokens."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The sum over sentences by the number of tokens, a float32 scalar.

        Args:
          y_true: An int [batch, length], 0 for padding.
          y_pred: Potentials, float32 [batch, length, tags, tags].
        """
        lost = crf.log_normalizer(y_pred) - crf.score(y_pred, y_true)
        tokens = tf.cast(tf.not_equal(y_true, 0), tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(lost), tf.reduce_sum(tokens))


class CrfAccuracy(TokenAccuracy):
    """The share of tokens whose tag in the best sequence is right."""

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch; shapes as in `CrfLoss.call`."""
        best = tf.one_hot(crf.viterbi(y_pred), y_pred.shape[-1])
        return super().update_state(y_true, best, sample_weight)


def decode(tags: Tags, outputs: tf.Tensor) -> tf.Tensor:
    """Legal tags from what `tagger.bilstm` puts out.

    An I-T that follows neither B-T nor I-T, which softmax may give, becomes
    B-T: so read conlleval, and seqeval in its default mode.

    Args:
      tags: The tags there are.
      outputs: Of any batch of sentences.

    Returns:
      int32 [batch, length], 0 for padding.
    """
    found = tagger.decode(outputs)
    kinds = tf.gather(tags.kinds, found)
    before = tf.pad(kinds[:, :-1], [[0, 0], [1, 0]])
    stray = tf.gather(tags.inside, found) & tf.not_equal(kinds, before)
    return tf.where(stray, tf.gather(tags.begin_of, found), found)


def outputs(tags: Tags, output: tf.Tensor) -> dict[str, tf.Tensor]:
    """The tags of tokens, for an exported model.

    Returns:
      `tag`, string [batch, length], "" for padding; `tag_id`, int32 likewise;
      and without a CRF `probabilities`, float32 [batch, length, tags].
    """
    found = decode(tags, output)
    given = {"tag": tf.gather(tags.names, found), "tag_id": found}
    if output.shape.rank == 3:
        given["probabilities"] = tf.nn.softmax(output)
    return given


def metrics(tags: Tags) -> Mapping[str, SetMetric]:
    """Scores of entities, as conlleval's, and F1 of tokens.

    An entity is right if its first token, its last and its type are; its scores
    are of all types together. Those of tokens are over O and all B- and I- that
    occur in truth or prediction, as in scikit-learn's report; their micro F1 is
    the accuracy of legal tags.
    """

    def entity(name: str, y: np.ndarray, output: np.ndarray) -> float:
        return entity_scores(tags, y, _legal(tags, output))[name]

    def token(average: str, y: np.ndarray, output: np.ndarray) -> float:
        counts = y > 0
        return sklearn.metrics.f1_score(
            y[counts],
            _legal(tags, output)[counts],
            average=average,
            zero_division=0,
        )

    found: dict[str, SetMetric] = {
        f"entity_{name}": functools.partial(entity, name)
        for name in ("f1", "precision", "recall")
    }
    for average in ("micro", "macro", "weighted"):
        found[f"token_{average}_f1"] = functools.partial(token, average)
    return found


def _legal(tags: Tags, output: np.ndarray) -> np.ndarray:
    return decode(tags, tf.constant(output)).numpy()


def entity_scores(
    tags: Tags, truth: np.ndarray, found: np.ndarray
) -> dict[str, float]:
    """Precision, recall and F1 of entities; 0 where there are none.

    Args:
      tags: The tags there are.
      truth: An int array [sentences, length] of legal tags, 0 for padding.
      found: Likewise; what it says of padding does not count.
    """
    found = np.where(truth > 0, found, 0)
    known, given = tags.entities(truth), tags.entities(found)
    right = len(set(map(tuple, known)) & set(map(tuple, given)))
    return {
        "precision": right / max(len(given), 1),
        "recall": right / max(len(known), 1),
        "f1": 2 * right / max(len(known) + len(given), 1),
    }
