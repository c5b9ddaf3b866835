"""The Keras SavedModel, with names that stay the same from run to run."""

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import durable, errors, storage
from tff_pipeline.tasks.task import Task

# Without this file TensorFlow takes a folder for no SavedModel.
MARKER = "saved_model.pb"


def export(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    overwrite: bool = False,
) -> None:
    """Writes the task's model with `weights` as a Keras SavedModel.

    The signature `serving_default` takes the task's raw inputs by name, each
    of shape [batch, ...], any batch size, and gives what `task.outputs_fn`
    says: for classes `logits` and `probabilities` (float32 [batch, classes])
    and `class_id` (int64 [batch]).
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
    if storage.exists(path) and not overwrite:
        raise errors.RunDirectoryError(
            f"{path} exists; give another --output, or --overwrite to replace "
            "it."
        )
    model = task.build_model()
    weights.assign_weights_to(model)
    if task.serving_fn is not None:
        model = task.serving_fn(model)
        specs = {
            each.name: tf.TensorSpec([None, *each.shape[1:]], each.dtype)
            for each in model.inputs
        }
    else:
        specs = {task.input_name: task.batch_spec[0]}
    named = [
        tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in specs.items()
    ]

    @tf.function(input_signature=named)
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        if task.serving_fn is None:
            return task.outputs_fn(model(*inputs, training=False))
        columns = dict(zip(specs, inputs))
        return task.outputs_fn(model(columns, training=False))

    with durable.folder(path, MARKER) as folder:
        try:
            model.save(
                folder,
                save_format="tf",
                include_optimizer=False,
                signatures={"serving_default": serve},
            )
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
