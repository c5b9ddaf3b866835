"""Which graphs TensorFlow is kept from inlining."""

import pytest
import tensorflow as tf

from tff_pipeline.runtime import session_function


def graph_of(operations, nested):
    """A loop, within another one if `nested`, of so many operations."""

    def body(number, x):
        for _ in range(operations):
            x = tf.sin(x)
        return number + 1, x

    def inner(x):
        return tf.while_loop(lambda n, _: n < 3, body, (0, x))[1]

    def outer(x):
        if not nested:
            return inner(x)
        return tf.while_loop(
            lambda n, _: n < 2, lambda n, x: (n + 1, inner(x)), (0, x)
        )[1]

    function = tf.function(outer, autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec([], tf.float32))
    return concrete.graph.as_graph_def()


@pytest.mark.parametrize(
    ("operations", "nested", "inlined"),
    [(400, True, False), (100, True, True), (400, False, True)],
)
def test_only_large_loops_within_loops_are_not_inlined(
    operations, nested, inlined
):
    # Tensors of past steps of a transformer stayed in memory otherwise.
    options = session_function._optimizing(graph_of(operations, nested))
    off = options.rewrite_options.OFF
    assert (options.rewrite_options.function_optimization != off) == inlined
