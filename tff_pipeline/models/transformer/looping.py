"""Loops over the blocks of a model, whose weights are stacked, with gradients.

Both functions compute the same numbers. They differ in what is kept for the
gradient, and in what that costs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import tensorflow as tf

# (Number of the block, int32; hidden states; the block's trained weights by
# name) -> the next hidden states.
BlockFn = Callable[[tf.Tensor, tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor]
# The place of each block in a stack, where not all blocks have one.
Rows = Mapping[str, Optional[Sequence[int]]]


def kept(
    block: BlockFn,
    hidden: tf.Tensor,
    stacks: Mapping[str, tf.Tensor],
    rows: Rows,
    layers: int,
) -> tf.Tensor:
    """Goes through all blocks, and keeps what they saw for the gradient.

    Args:
      block: Computes one block.
      hidden: The states before the first block, float32.
      stacks: Name -> the trained weights of all blocks [blocks, ...].
      rows: Name -> the place of each block in the stack; `None` where that is
        its number.
      layers: The number of blocks.

    Returns:
      The states after the last block.
    """
    # A gradient of each block's part, and not one of the whole stack for each.
    parts = {
        name: tf.TensorArray(
            stack.dtype, layers, element_shape=stack.shape[1:]
        ).unstack(_of_blocks(stack, rows[name]))
        for name, stack in stacks.items()
    }

    def body(number: tf.Tensor, hidden: tf.Tensor) -> tuple[Any, Any]:
        values = {name: array.read(number) for name, array in parts.items()}
        return number + 1, block(number, hidden, values)

    _, hidden = tf.while_loop(
        lambda number, _: number < layers,
        body,
        (tf.constant(0), hidden),
        shape_invariants=(tf.TensorShape([]), hidden.shape),
        parallel_iterations=1,
        maximum_iterations=layers,
    )
    return hidden


def recomputed(
    block: BlockFn,
    hidden: tf.Tensor,
    stacks: Mapping[str, tf.Tensor],
    rows: Rows,
    layers: int,
) -> tf.Tensor:
    """Goes through all blocks, and keeps only what each begins with.

    The backward pass computes every block anew, one at a time (Chen et al.
    2016, "Training Deep Nets with Sublinear Memory Cost").

    Args:
      block: As for `kept`.
      hidden: As for `kept`.
      stacks: As for `kept`.
      rows: As for `kept`.
      layers: As for `kept`.

    Returns:
      The states after the last block.
    """
    names = list(stacks)

    @tf.custom_gradient
    def through(hidden: tf.Tensor, *in_order: tf.Tensor) -> Any:
        values = dict(zip(names, in_order))

        def of(number: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                name: stack[row(number, rows[name])]
                for name, stack in values.items()
            }

        def forward(number: Any, hidden: Any, begun: Any) -> Any:
            begun = begun.write(number, hidden)
            return number + 1, block(number, hidden, of(number)), begun

        array = tf.TensorArray(tf.float32, layers, clear_after_read=True)
        _, result, begun = tf.while_loop(
            lambda number, *_: number < layers,
            forward,
            (tf.constant(0), hidden, array),
            parallel_iterations=1,
        )
        shape = hidden.shape

        def gradient(upstream: tf.Tensor) -> Any:
            def backward(number: Any, upstream: Any, *sums: Any) -> Any:
                here = tf.ensure_shape(begun.read(number), shape)
                weights = of(number)
                with tf.GradientTape() as tape:
                    tape.watch([here, *weights.values()])
                    output = block(number, here, weights)
                slopes = tape.gradient(
                    output,
                    [here, *weights.values()],
                    output_gradients=upstream,
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                return (
                    number - 1,
                    slopes[0],
                    *(
                        array.write(number, slope)
                        for array, slope in zip(sums, slopes[1:])
                    ),
                )

            arrays = [
                tf.TensorArray(
                    values[name].dtype,
                    layers,
                    element_shape=values[name].shape[1:],
                )
                for name in names
            ]
            _, first, *sums = tf.while_loop(
                lambda number, *_: number >= 0,
                backward,
                (tf.constant(layers - 1), upstream, *arrays),
                parallel_iterations=1,
            )
            return first, *(
                _to_stack(array.stack(), values[name], rows[name])
                for name, array in zip(names, sums)
            )

        return result, gradient

    return through(hidden, *stacks.values())


def row(number: tf.Tensor, rows: Optional[Sequence[int]]) -> tf.Tensor:
    """Returns the place of a block in a stack.

    Args:
      number: The number of the block, an int32 scalar.
      rows: The place of each block; `None` where that is its number.
    """
    return number if rows is None else tf.constant(rows)[number]


def _of_blocks(stack: tf.Tensor, rows: Optional[Sequence[int]]) -> tf.Tensor:
    return stack if rows is None else tf.gather(stack, tf.constant(rows))


def _to_stack(
    slopes: tf.Tensor, stack: tf.Tensor, rows: Optional[Sequence[int]]
) -> tf.Tensor:
    """Adds the gradients of blocks up to that of their stack."""
    if rows is None:
        return slopes
    return tf.math.unsorted_segment_sum(
        slopes, tf.constant(rows), stack.shape[0]
    )
