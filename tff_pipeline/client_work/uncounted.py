"""Passes over a client's examples that the metrics of training do not count."""

import contextlib
from collections.abc import Iterator

import tensorflow_federated as tff


@contextlib.contextmanager
def uncounted(model: tff.learning.models.VariableModel) -> Iterator[None]:
    """Puts a model's metrics back, at its end, to what they were before.

    Inside a `tf.function`, whose order of reads and writes is that of the
    program.

    Args:
      model: The model, whose `local_variables` are those of its metrics.
    """
    before = [variable.read_value() for variable in model.local_variables]
    yield
    for variable, value in zip(model.local_variables, before):
        variable.assign(value)
