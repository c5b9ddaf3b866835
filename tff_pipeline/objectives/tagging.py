"""Loss, metrics and outputs of taggers of tokens."""

import functools
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import sklearn.metrics
import tensorflow as tf

from tff_pipeline.datasets.tags import Tags
from tff_pipeline.models import crf, tagger
from tff_pipeline.objectives.sequence import TokenAccuracy
from tff_pipeline.objectives.set_metric import Array, SetMetric
from tff_pipeline.runtime import compat


class CrfLoss(tf.keras.losses.Loss):
    """The negative log-likelihood of a batch's tags, per token.

    Lafferty, McCallum and Pereira 2001, "Conditional Random Fields".
    """

    @compat.plain
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the sum over sentences divided by the number of tokens.

        Args:
          y_true: Tags, of an integer type, [batch, length]; 0 for padding.
          y_pred: Potentials, float32 [batch, length, tags, tags]; see
            `models.crf`.

        Returns:
          A float32 scalar; 0 if there are no tokens.
        """
        losses = crf.log_normalizer(y_pred) - crf.score(y_pred, y_true)
        tokens = tf.cast(tf.not_equal(y_true, 0), tf.float32)
        return tf.math.divide_no_nan(
            tf.reduce_sum(losses), tf.reduce_sum(tokens)
        )


class CrfAccuracy(TokenAccuracy):
    """The share of tokens whose tag in the best sequence is right."""

    @compat.plain
    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch.

        Args:
          y_true: Tags, of an integer type, [batch, length]; 0 for padding.
          y_pred: Potentials, float32 [batch, length, tags, tags].
          sample_weight: Not used.

        Returns:
          The update, as `tf.keras.metrics.Mean` does.
        """
        best = tf.one_hot(crf.viterbi(y_pred), y_pred.shape[-1])
        return super().update_state(y_true, best, sample_weight)


def legal_tags(tags: Tags, output: tf.Tensor) -> tf.Tensor:
    """Returns the best tags that form legal BIO sequences.

    An I-T that follows neither B-T nor I-T, which a softmax may predict,
    becomes B-T, as conlleval reads it, and seqeval in its default mode.

    Args:
      tags: The tags there are.
      output: What `tagger.bilstm` puts out for a batch: float32, logits
        [batch, length, tags] or potentials [batch, length, tags, tags].

    Returns:
      int32 [batch, length], 0 for padding.
    """
    return _legal(tags, tagger.decode(output))


def _legal(tags: Tags, best: tf.Tensor) -> tf.Tensor:
    """Returns tags with each stray I-T turned to B-T, int32 [batch, length]."""
    kinds = tf.gather(tags.kinds, best)
    before = tf.pad(kinds[:, :-1], [[0, 0], [1, 0]])
    stray = tf.gather(tags.inside, best) & tf.not_equal(kinds, before)
    return tf.where(stray, tf.gather(tags.begin_of, best), best)


def tag_outputs(tags: Tags, output: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the tags of tokens, for an exported model.

    Args:
      tags: The tags there are.
      output: What `tagger.bilstm` puts out; see `legal_tags`.

    Returns:
      `tag`, string [batch, length], "" for padding; `tag_id`, int32 [batch,
      length]; and without a CRF `probabilities`, float32 [batch, length, tags].
    """
    ids = legal_tags(tags, output)
    result = {"tag": tf.gather(tags.names, ids), "tag_id": ids}
    if output.shape.rank == 3:
        result["probabilities"] = tf.nn.softmax(output)
    return result


def piece_outputs(tags: Tags, output: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the tags of pieces of words, for an exported model.

    They are each piece's best. A word's tag is that of its first piece; only
    who has cut the words knows which pieces these are, so none is corrected.

    Args:
      tags: The tags there are.
      output: Logits, float32 [batch, length, tags].

    Returns:
      `tag`, string [batch, length], "" for padding; `tag_id`, int32 [batch,
      length]; and `probabilities`, float32 [batch, length, tags].
    """
    ids = tagger.decode(output)
    return {
        "tag": tf.gather(tags.names, ids),
        "tag_id": ids,
        "probabilities": tf.nn.softmax(output),
    }


def tag_metrics(tags: Tags) -> Mapping[str, SetMetric]:
    """Returns scores of entities as in conlleval, and F1 scores of tokens.

    An entity is right if its first token, its last token and its type are; the
    scores are of all types together. Scores of tokens are over O and all B- and
    I- that occur in labels or predictions, as in scikit-learn's report; their
    micro F1 is the accuracy of legal tags.

    Args:
      tags: The tags there are.

    Returns:
      "entity_f1", "entity_precision", "entity_recall", "token_micro_f1",
      "token_macro_f1" and "token_weighted_f1". Each takes tags, an int array
      [n, length], and the `legal_tags` found for them.
    """

    def entity_score(name: str, y: Array, found: Array) -> float:
        return entity_scores(tags, y, found)[name]

    def token_f1(average: str, y: Array, found: Array) -> float:
        counts = y > 0
        return sklearn.metrics.f1_score(
            y[counts],
            found[counts],
            average=average,
            zero_division=0,
        )

    metrics: dict[str, SetMetric] = {
        f"entity_{name}": functools.partial(entity_score, name)
        for name in ("f1", "precision", "recall")
    }
    for average in ("micro", "macro", "weighted"):
        metrics[f"token_{average}_f1"] = functools.partial(token_f1, average)
    return metrics


def piece_metrics(tags: Tags) -> Mapping[str, SetMetric]:
    """Returns the scores of `tag_metrics`, of words that are cut into pieces.

    Args:
      tags: The tags there are.

    Returns:
      The same names. Each takes the tags of words at their first pieces and 0
      at all other places, an int array [n, length], and the best tag of each
      piece, of the same shape.
    """

    def of_words(metric: SetMetric, y: Array, found: Array) -> float:
        truth, best = first_pieces(y, y), first_pieces(y, found)
        return metric(truth, _legal(tags, best).numpy())

    return {
        name: functools.partial(of_words, metric)
        for name, metric in tag_metrics(tags).items()
    }


def first_pieces(y: Array, values: Array) -> Array:
    """Returns the values of words' first pieces, one beside the other.

    Example:
      >>> y = np.array([[0, 3, 0, 1], [0, 2, 0, 0]])
      >>> first_pieces(y, np.array([[5, 6, 7, 8], [1, 2, 3, 4]])).tolist()
      [[6, 8, 0, 0], [2, 0, 0, 0]]

    Args:
      y: The tags of words at their first pieces, 0 elsewhere, [n, length].
      values: Numbers of the same shape.

    Returns:
      The same shape, filled up with 0.
    """
    is_first = y > 0
    # A stable sort leaves words in their order.
    order = np.argsort(~is_first, axis=1, kind="stable")
    return np.take_along_axis(np.where(is_first, values, 0), order, axis=1)


def entity_scores(
    tags: Tags, truth: Array, predicted: Array
) -> dict[str, float]:
    """Returns precision, recall and F1 of entities; 0 where there are none.

    Args:
      tags: The tags there are.
      truth: Legal tags, an int array [sentences, length]; 0 for padding.
      predicted: Legal tags, of the same shape; those of padding do not count.

    Returns:
      The scores, 0 to 1, as "precision", "recall" and "f1".
    """
    predicted = np.where(truth > 0, predicted, 0)
    true_entities = tags.entities(truth)
    predicted_entities = tags.entities(predicted)
    right = len(
        set(map(tuple, true_entities)) & set(map(tuple, predicted_entities))
    )
    total = len(true_entities) + len(predicted_entities)
    return {
        "precision": right / max(len(predicted_entities), 1),
        "recall": right / max(len(true_entities), 1),
        "f1": 2 * right / max(total, 1),
    }
