"""A linear-chain conditional random field, as potentials of pairs of tags.

Lafferty, McCallum and Pereira 2001, "Conditional Random Fields". The score of a
sequence of tags y is the sum over positions t of p[t, y[t-1], y[t]], where
y[-1] = 0; its probability is proportional to exp(score). Tag 0 is both the
start and the padding: where positions after a sentence allow no tag but 0, at
no cost, neither the normaliser nor the best sequence needs the length of the
sentence.
"""

import tensorflow as tf

# As good as impossible; finite, so that no difference of two is undefined.
IMPOSSIBLE = -1e9


def log_normalizer(potentials: tf.Tensor) -> tf.Tensor:
    """Returns the logarithm of the sum of exp(score) over all sequences.

    Computed by the forward algorithm (Lafferty et al. 2001, section 3).

    Args:
      potentials: float32 [batch, length, tags, tags]; the third axis is the tag
        before, the fourth the tag.

    Returns:
      float32 [batch].
    """
    steps = tf.transpose(potentials, [1, 0, 2, 3])

    def step(position: tf.Tensor, alpha: tf.Tensor) -> tuple[tf.Tensor, ...]:
        scores = alpha[:, :, tf.newaxis] + steps[position]
        return position + 1, tf.reduce_logsumexp(scores, axis=1)

    _, alpha = tf.while_loop(
        lambda position, _: position < tf.shape(steps)[0],
        step,
        (tf.constant(1), steps[0, :, 0]),
        shape_invariants=(
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None, potentials.shape[-1]], tf.float32),
        ),
    )
    return tf.reduce_logsumexp(alpha, axis=-1)


def score(potentials: tf.Tensor, tags: tf.Tensor) -> tf.Tensor:
    """Returns the scores of sequences of tags.

    Args:
      potentials: float32 [batch, length, tags, tags]; the third axis is the tag
        before, the fourth the tag.
      tags: The sequences, of an integer type, [batch, length].

    Returns:
      float32 [batch].
    """
    tags = tf.cast(tags, tf.int32)
    before = tf.pad(tags[:, :-1], [[0, 0], [1, 0]])
    chosen = tf.gather(potentials, before, axis=2, batch_dims=2)
    chosen = tf.gather(chosen, tags, axis=2, batch_dims=2)
    return tf.reduce_sum(chosen, axis=1)


def viterbi(potentials: tf.Tensor) -> tf.Tensor:
    """Returns the best sequence of tags of each sentence (Viterbi 1967).

    Args:
      potentials: float32 [batch, length, tags, tags]; the third axis is the tag
        before, the fourth the tag.

    Returns:
      int32 [batch, length].

    >>> first, second = [[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [5.0, 0.0]]
    >>> viterbi(tf.constant([[first, second]])).numpy()
    array([[1, 0]], dtype=int32)
    """
    steps = tf.transpose(potentials, [1, 0, 2, 3])
    length, batch = tf.shape(steps)[0], tf.shape(steps)[1]
    state = tf.TensorSpec([None, potentials.shape[-1]], tf.float32)

    def forward(
        position: tf.Tensor, best: tf.Tensor, back: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        scores = best[:, :, tf.newaxis] + steps[position]
        # For each tag, the tag before it on the best way there.
        back = back.write(
            position, tf.argmax(scores, axis=1, output_type=tf.int32)
        )
        return position + 1, tf.reduce_max(scores, axis=1), back

    back = tf.TensorArray(tf.int32, length, element_shape=state.shape)
    back = back.write(0, tf.zeros_like(steps[0, :, 0], tf.int32))
    _, best, back = tf.while_loop(
        lambda position, *_: position < length,
        forward,
        (tf.constant(1), steps[0, :, 0], back),
        shape_invariants=(tf.TensorSpec([], tf.int32), state, None),
    )
    came_from = back.stack()

    def backward(
        position: tf.Tensor, tag: tf.Tensor, path: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        path = path.write(position, tag)
        tag = tf.gather(came_from[position], tag, batch_dims=1)
        return position - 1, tag, path

    path = tf.TensorArray(tf.int32, length, element_shape=[None])
    _, _, path = tf.while_loop(
        lambda position, *_: position >= 0,
        backward,
        (length - 1, tf.argmax(best, axis=-1, output_type=tf.int32), path),
        shape_invariants=(
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None], tf.int32),
            None,
        ),
    )
    return tf.reshape(tf.transpose(path.stack()), [batch, length])
