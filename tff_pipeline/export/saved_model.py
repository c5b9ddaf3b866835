"""The Keras SavedModel, with names that stay the same from run to run."""

import os

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import durable, errors
from tff_pipeline.tasks.task import Task


def export(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    overwrite: bool = False,
) -> None:
    """Writes the task's model with `weights` as a Keras SavedModel.

    The signature `serving_default` takes `image` (the task's raw input, of
    shape [batch, ...], any batch size) and gives `logits` and `probabilities`
    (float32 [batch, classes]) and `class_id` (int64 [batch]).
    `tf.keras.models.load_model(path)` gives the Keras model back; plain
    TensorFlow is enough for either.

    Args:
      task: Whose model it is.
      weights: What it has learned.
      path: The folder to write.
      overwrite: Whether a folder that is there is replaced.

    Raises:
      RunDirectoryError: If `path` exists or cannot be written; what was there
        is then as before.
    """
    if os.path.exists(path) and not overwrite:
        raise errors.RunDirectoryError(
            f"{path} exists; give another --output, or --overwrite to replace "
            "it."
        )
    model = task.build_model()
    weights.assign_weights_to(model)
    x_spec, _ = task.batch_spec

    @tf.function(
        input_signature=[tf.TensorSpec(x_spec.shape, x_spec.dtype, "image")]
    )
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = model(image, training=False)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class_id": tf.argmax(logits, axis=-1),
        }

    with durable.folder(path) as folder:
        try:
            model.save(
                folder,
                save_format="tf",
                include_optimizer=False,
                signatures={"serving_default": serve},
            )
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
