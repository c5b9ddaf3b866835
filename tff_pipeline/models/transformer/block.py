"""One block of a transformer: attention, then feed-forward, each added."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

import tensorflow as tf

from tff_pipeline.models.transformer import attention

if TYPE_CHECKING:
    from tff_pipeline.models.transformer.network import Transformer

Read = Callable[[str], tf.Tensor]


class Block:
    """One block of a transformer, for one call of the model."""

    def __init__(
        self,
        network: "Transformer",
        read: Read,
        *,
        mask: tf.Tensor,
        angles: Optional[tuple[tf.Tensor, tf.Tensor]],
        dropout: Mapping[str, tf.Tensor],
    ):
        """Prepares the block.

        Args:
          network: The transformer, which has the settings.
          read: Returns the block's weight of a name, such as
            "attention.query.kernel" or, of an adapted matrix,
            "attention.query.lora_a".
          mask: Added to scores; see `attention.attend`.
          angles: The rotations of the tokens' positions, if they are rotary.
          dropout: Seeds of the adapters' dropout by matrix; empty without.
        """
        self._network = network
        self._architecture = network.architecture
        self._mask = mask
        self._angles = angles
        self._dropout = dropout
        self._read = read

    def __call__(self, hidden: tf.Tensor) -> tf.Tensor:
        """Computes the block.

        Args:
          hidden: float32 [batch, length, width].
        """
        return self._through(hidden, None, None)[0]

    def cached(
        self,
        hidden: tf.Tensor,
        cache: tuple[tf.Tensor, tf.Tensor],
        places: tf.Tensor,
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """Computes the block for tokens that follow cached ones.

        Args:
          hidden: float32 [batch, length, width].
          cache: (keys, values) of [batch, kv_heads, cached, head_width].
          places: Where in the cache these tokens are written, int32 [batch,
            length].

        Returns:
          (the block's result, the cache with these tokens).
        """
        return self._through(hidden, cache, places)

    def _through(self, hidden: tf.Tensor, cache: Any, places: Any) -> Any:
        norm = self._network.norm
        # An encoder's norms follow what they belong to, a decoder's precede.
        after = self._architecture.kind == "encoder"

        def added(hidden: tf.Tensor, part: str, function: Any) -> tf.Tensor:
            name = f"{part}.norm"
            if after:
                return norm(name, hidden + function(hidden), self._read)
            return hidden + function(norm(name, hidden, self._read))

        attended: list[Any] = [None]

        def attend(inputs: tf.Tensor) -> tf.Tensor:
            result, attended[0] = self._attention(inputs, cache, places)
            return result

        hidden = added(hidden, "attention", attend)
        hidden = added(hidden, "feed_forward", self._feed_forward)
        return hidden, attended[0]

    def _attention(self, inputs: tf.Tensor, cache: Any, places: Any) -> Any:
        architecture, dtype = self._architecture, self._network.products
        if architecture.fused_attention:
            queries, keys, values = tf.split(
                self._product("attention.query_key_value", inputs), 3, axis=-1
            )
        else:
            queries, keys, values = (
                self._product(f"attention.{part}", inputs)
                for part in ("query", "key", "value")
            )
        queries = self._heads(queries, architecture.heads)
        keys = self._heads(keys, architecture.kv_heads)
        values = self._heads(values, architecture.kv_heads)
        queries, keys = self._placed(queries), self._placed(keys)
        queries, keys = tf.cast(queries, dtype), tf.cast(keys, dtype)
        if cache is not None:
            keys = _written(cache[0], keys, places)
            values = _written(cache[1], values, places)
        mixed = attention.attend(queries, keys, values, self._mask)
        output = self._product("attention.output", mixed)
        return tf.cast(output, tf.float32), (keys, values)

    def _heads(self, values: tf.Tensor, heads: int) -> tf.Tensor:
        """Returns [batch, heads, length, head_width]."""
        shape = tf.shape(values)
        width = self._architecture.head_width
        values = tf.reshape(values, [shape[0], shape[1], heads, width])
        return tf.transpose(values, [0, 2, 1, 3])

    def _placed(self, heads: tf.Tensor) -> tf.Tensor:
        """Normalizes and rotates queries or keys, as the architecture says."""
        if self._architecture.normalized_heads:
            heads = self._network.root_mean_square_norm(
                tf.cast(heads, tf.float32)
            )
        if self._angles is not None:
            heads = attention.rotated(tf.cast(heads, tf.float32), self._angles)
        return heads

    def _feed_forward(self, inputs: tf.Tensor) -> tf.Tensor:
        activation = self._architecture.activation
        raised = self._product("feed_forward.up", inputs)
        if activation == "swiglu":
            gate = self._product("feed_forward.gate", inputs)
            raised = tf.nn.silu(gate) * raised
        elif activation == "relu_squared":
            raised = tf.square(tf.nn.relu(raised))
        else:
            raised = tf.nn.gelu(raised, approximate=activation == "gelu_tanh")
        return tf.cast(self._product("feed_forward.down", raised), tf.float32)

    def _product(self, part: str, inputs: tf.Tensor) -> tf.Tensor:
        """Multiplies by a matrix, with its bias and its adapter if any."""
        dtype = self._network.products
        shape = tf.shape(inputs)
        rows = tf.cast(tf.reshape(inputs, [-1, inputs.shape[-1]]), dtype)

        def times(rows: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
            return tf.matmul(rows, tf.cast(matrix, dtype), transpose_b=True)

        outputs = times(rows, self._read(f"{part}.kernel"))
        if self._architecture.bias:
            outputs += tf.cast(self._read(f"{part}.bias"), dtype)
        lora = self._network.lora
        if lora is not None and self._network.is_adapted(part):
            seen = rows
            if part in self._dropout:
                seen = tf.nn.experimental.stateless_dropout(
                    rows,
                    lora.dropout,
                    self._dropout[part],
                )
            a, b = self._read(f"{part}.lora_a"), self._read(f"{part}.lora_b")
            scale = tf.cast(lora.scale, dtype)
            outputs += times(times(seen, a), b) * scale
        return tf.reshape(outputs, [*tf.unstack(shape)[:-1], outputs.shape[-1]])


def _written(
    cached: tf.Tensor, values: tf.Tensor, places: tf.Tensor
) -> tf.Tensor:
    """Writes keys or values of tokens into a cache.

    Args:
      cached: [batch, heads, cached, head_width].
      values: [batch, heads, length, head_width].
      places: int32 [batch, length].
    """
    moved = tf.transpose(cached, [0, 2, 1, 3])
    batch = tf.range(tf.shape(places)[0])[:, tf.newaxis]
    indices = tf.stack(
        [tf.broadcast_to(batch, tf.shape(places)), places], axis=-1
    )
    moved = tf.tensor_scatter_nd_update(
        moved, indices, tf.transpose(values, [0, 2, 1, 3])
    )
    return tf.transpose(moved, [0, 2, 1, 3])
