"""Gives membership attacks what an attacker can compute from a SavedModel."""

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.sequences import PADDING
from tff_pipeline.privacy import membership
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

# What a batch of outputs may hold: 100 MB.
_BATCH_NUMBERS = 25_000_000
_BATCH_SIZE = 1000


class Attacked:
    """Asks a SavedModel about examples whose labels are known."""

    def __init__(self, task: Task, path: str):
        """Loads the SavedModel.

        Args:
          task: The task that the model was trained on.
          path: The folder of the SavedModel.

        Raises:
          RunDirectoryError: If it is not whole.
        """
        self._task = task
        try:
            if task.serving_fn is None:
                self._saved = tf.saved_model.load(path)
                serve = self._saved.signatures["serving_default"]
                self._call = lambda x: serve(**{task.input_name: x})
                return
            # It takes raw columns or text, but the examples are encoded; the
            # model within, which takes these, has all of its weights.
            saved = tf.keras.models.load_model(path, compile=False)
            model = task.build_model()
            model.set_weights(saved.get_weights())
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise errors.RunDirectoryError(
                f"{path} cannot be loaded ({type(error).__name__}: {error}); "
                "make it anew with --round, or let train.py end again."
            ) from None
        self._call = lambda x: task.outputs_fn(model(x, training=False))

    def observe(self, examples: Examples) -> membership.Observed:
        """Computes the model's losses and logits of examples, batch by batch.

        Args:
          examples: Encoded inputs and labels, of any number.

        Returns:
          Losses, logits and features of the inputs alone, a row an example.
        """
        logits = _logits(self._call(tf.constant(examples.x[:1])))
        assert logits is not None
        size = max(1, min(_BATCH_SIZE, _BATCH_NUMBERS // logits.size))
        parts = [
            self._part(
                examples.x[start : start + size], examples.y[start:][:size]
            )
            for start in range(0, len(examples), size)
        ]
        losses, outputs = map(np.concatenate, zip(*parts))
        classes = max(logits.shape[-1], 2)
        labels = None
        if logits.ndim == 2:
            labels = examples.y.reshape([len(examples)]).astype(np.int64)
        inputs = membership.blind_features(examples.x, labels, classes)
        return membership.Observed(losses, outputs, inputs, labels)

    def _part(self, x: Array, y: Array) -> tuple[Any, Any]:
        """Computes losses and logits of a batch; of sequences, losses alone."""
        logits = _logits(self._call(tf.constant(x)))
        assert logits is not None
        losses = membership.cross_entropies(
            logits, y.reshape(logits.shape[:-1])
        )
        if losses.ndim == 1:
            return losses, logits.astype(np.float64)
        places = tuple(range(1, losses.ndim))
        counts = y != PADDING
        means = (losses * counts).sum(places) / np.maximum(
            counts.sum(places), 1
        )
        return means, np.zeros([len(x), 0])


def _logits(outputs: Mapping[str, tf.Tensor]) -> Optional[Array]:
    """Returns logits from a model's outputs, or `None` if there are none."""
    if "logits" in outputs:
        return outputs["logits"].numpy()
    if "probabilities" in outputs and outputs["probabilities"].shape[-1] > 1:
        least = np.finfo(np.float32).tiny
        return np.log(np.maximum(outputs["probabilities"].numpy(), least))
    return None


def check_supported(task: Task, run_dir: str, per_class: bool) -> None:
    """Checks that a run's labels are classes that its model tells apart.

    Args:
      task: The task of the run.
      run_dir: The run's folder, for the error's sentence.
      per_class: Whether every class is to be attacked by itself.

    Raises:
      ConfigError: If a label is no class of the model, or `per_class` is asked
        for where examples are sequences.
    """
    first = task.test.take(np.arange(1))
    logits = _logits(task.outputs_fn(task.build_model()(tf.constant(first.x))))
    y = task.test.y
    if logits is None:
        fits = False
    elif logits.shape[-1] == 1:
        fits = y[:1].size == 1 and bool(np.isin(y, [0, 1]).all())
    else:
        is_whole = np.issubdtype(y.dtype, np.integer)
        fits = is_whole and y.shape[1:] == logits.shape[1:-1]
    if not fits:
        raise errors.ConfigError(
            f"--run_dir={run_dir} is a run of --task={task.name}, whose "
            "examples do not have one class each; membership inference is "
            "there for classes alone, so audit a run of a task that has them."
        )
    if per_class and y.ndim > 1 and y[0].size > 1:
        raise errors.ConfigError(
            f"--per_class is not used with --task={task.name}, whose examples "
            "are sequences of classes; leave it out."
        )
