"""The gradient of a step's batch at other weights than the step's."""

from collections.abc import Sequence

import tensorflow as tf

from tff_pipeline.client_work.hooks import GradientsFn, Step
from tff_pipeline.client_work.steps import assign
from tff_pipeline.client_work.uncounted import uncounted


def gradient_at(
    weights: Sequence[tf.Tensor], gradients_fn: GradientsFn, step: Step
) -> list[tf.Tensor]:
    """Takes the gradient of a step's batch, with the step's dropout.

    The model's weights and the metrics of training are as before at the end.

    Args:
      weights: The trainable weights at which it is taken.
      gradients_fn: Takes the gradient at the model's weights.
      step: The step.

    Returns:
      A tensor for each trainable variable.
    """
    variables = step.model.trainable_variables
    here = [variable.read_value() for variable in variables]
    with uncounted(step.model):
        assign(variables, weights)
        # Copies: a gradient may be the memory of a variable that changes.
        found = [tf.identity(each) for each in gradients_fn()]
    assign(variables, here)
    return found
