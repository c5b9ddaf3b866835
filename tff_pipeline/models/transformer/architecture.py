"""Describes a transformer: its sizes, its parts, and the names of its weights.

One description covers Llama-type decoders (Touvron et al. 2023), GPT-2 (Radford
et al. 2019), BERT-type encoders (Devlin et al. 2019) and small models from
nothing. A matrix is stored [outputs, inputs], as PyTorch's linear layers are.

    embeddings.tokens                      [vocabulary_size, width]
    embeddings.positions, .types           [max_length | token_types, width]
    embeddings.norm.scale, .bias           [width]
    blocks.0.attention.norm.scale, .bias   [width]
    blocks.0.attention.query.kernel        [heads * head_width, width]
    blocks.0.attention.key.kernel, .value  [kv_heads * head_width, width]
    blocks.0.attention.query_key_value     all three, if `fused_attention`
    blocks.0.attention.output.kernel       [width, heads * head_width]
    blocks.0.feed_forward.norm.scale, .bias
    blocks.0.feed_forward.gate.kernel      [hidden_width, width], "swiglu" alone
    blocks.0.feed_forward.up.kernel        [hidden_width, width]
    blocks.0.feed_forward.down.kernel      [width, hidden_width]
    final_norm.scale, .bias                [width]
    head.kernel                            [vocabulary_size, width], if not tied
    pooler.kernel, .bias                   [width, width]

Matrices have a `.bias` [outputs] beside their `.kernel` if `bias` is set.
"""

import dataclasses
import math
from typing import Optional

from tff_pipeline import errors

Shape = tuple[int, ...]

# What the fields of names may be.
_CHOICES = {
    "kind": ("decoder", "encoder"),
    "activation": ("swiglu", "gelu", "gelu_tanh", "relu_squared"),
    "norm": ("rms", "layer"),
    "positions": ("rotary", "learned"),
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes and parts of a transformer.

    Attributes:
      kind: "decoder", whose tokens see those before them and whose norms come
        before attention and feed-forward; or "encoder", whose tokens see all
        and whose norms come after.
      vocabulary_size: The number of token ids.
      width: The size of a token's vector.
      layers: The number of blocks.
      heads: The number of attention heads of queries.
      kv_heads: The number of heads of keys and values, a divisor of `heads`.
      head_width: The size of a head's vectors.
      hidden_width: The size of the hidden layer of the feed-forward part.
      max_length: The largest number of tokens.
      activation: "swiglu" (Shazeer 2020), "gelu" (Hendrycks and Gimpel 2016),
        "gelu_tanh" (its approximation), "relu_squared" (So et al. 2021).
      norm: "rms" (Zhang and Sennrich 2019) or "layer" (Ba et al. 2016).
      norm_epsilon: The number added to a variance.
      positions: "rotary" (Su et al. 2021; the halves of a head are the two
        parts of its complex numbers) or "learned".
      rotary_base: The base of rotary frequencies.
      bias: Whether matrices have a bias.
      fused_attention: Whether query, key and value are one matrix, as in GPT-2.
      normalized_heads: Whether queries and keys are brought to a root mean
        square of 1 before they are multiplied (Henry et al. 2020).
      normalized_embeddings: Whether tokens' vectors are brought to a root mean
        square of 1 before the first block.
      tied_head: Whether the logits' matrix is the token embedding.
      token_types: The number of token types, which an encoder's embeddings
        add; 0 for none.
      pooler: Whether an encoder has BERT's layer over the first token.
    """

    kind: str
    vocabulary_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    hidden_width: int
    max_length: int
    activation: str
    norm: str
    norm_epsilon: float = 1e-5
    positions: str = "rotary"
    rotary_base: float = 10_000.0
    bias: bool = False
    fused_attention: bool = False
    normalized_heads: bool = False
    normalized_embeddings: bool = False
    tied_head: bool = True
    token_types: int = 0
    pooler: bool = False

    def __post_init__(self) -> None:
        """Raises `DataError` if the parts do not go together."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise errors.DataError(
                    f"An architecture has {name}={getattr(self, name)!r}, "
                    f"which must be one of: {', '.join(allowed)}."
                )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "token_types" else 1
            if field.type is int and (
                not isinstance(value, int) or value < least
            ):
                raise errors.DataError(
                    f"An architecture has {field.name}={value!r}, which must "
                    f"be a whole number of at least {least}."
                )
        if self.heads % self.kv_heads:
            raise errors.DataError(
                f"An architecture has {self.heads} heads of queries, which "
                f"{self.kv_heads} heads of keys do not divide."
            )
        if self.positions == "rotary" and self.head_width % 2:
            raise errors.DataError(
                f"An architecture has heads of {self.head_width} numbers and "
                "rotary positions, which need an even number."
            )
        if self.fused_attention and self.kv_heads != self.heads:
            raise errors.DataError(
                "An architecture has query, key and value in one matrix, and "
                "not as many heads of each."
            )

    @property
    def matrices(self) -> dict[str, Shape]:
        """The names of a block's matrices, without ".kernel" -> [out, in]."""
        queries = self.heads * self.head_width
        keys = self.kv_heads * self.head_width
        shapes: dict[str, Shape] = {}
        if self.fused_attention:
            shapes["attention.query_key_value"] = (3 * queries, self.width)
        else:
            shapes["attention.query"] = (queries, self.width)
            shapes["attention.key"] = (keys, self.width)
            shapes["attention.value"] = (keys, self.width)
        shapes["attention.output"] = (self.width, queries)
        if self.activation == "swiglu":
            shapes["feed_forward.gate"] = (self.hidden_width, self.width)
        shapes["feed_forward.up"] = (self.hidden_width, self.width)
        shapes["feed_forward.down"] = (self.width, self.hidden_width)
        return shapes

    def stacked_shapes(self) -> dict[str, Shape]:
        """Lists all weights with those of all blocks in one.

        Returns:
          Name -> shape, in the order of the model; "blocks.attention.query.
          kernel" [layers, outputs, inputs] holds that matrix of each block.
        """
        shapes: dict[str, Shape] = {}
        for name, shape in self.weight_shapes().items():
            block, stacked = split_name(name)
            shapes[stacked] = shape if block is None else (self.layers, *shape)
        return shapes

    def weight_shapes(self) -> dict[str, Shape]:
        """Lists all weights.

        Returns:
          Name -> shape, in the order of the model.
        """
        shapes: dict[str, Shape] = {
            "embeddings.tokens": (self.vocabulary_size, self.width)
        }
        if self.positions == "learned":
            shapes["embeddings.positions"] = (self.max_length, self.width)
        if self.token_types:
            shapes["embeddings.types"] = (self.token_types, self.width)
        if self.kind == "encoder":
            shapes |= self._norm("embeddings.norm")
        for block in range(self.layers):
            for part in ("attention", "feed_forward"):
                shapes |= self._norm(f"blocks.{block}.{part}.norm")
                for name, shape in self.matrices.items():
                    if name.startswith(part):
                        shapes |= self._matrix(f"blocks.{block}.{name}", shape)
        if self.kind == "decoder":
            shapes |= self._norm("final_norm")
            if not self.tied_head:
                shapes["head.kernel"] = (self.vocabulary_size, self.width)
        if self.pooler:
            shapes |= self._matrix("pooler", (self.width, self.width))
        return shapes

    def _norm(self, name: str) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {f"{name}.scale": (self.width,)}
        if self.norm == "layer":
            shapes[f"{name}.bias"] = (self.width,)
        return shapes

    def _matrix(self, name: str, shape: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {f"{name}.kernel": shape}
        if self.bias:
            shapes[f"{name}.bias"] = shape[:1]
        return shapes

    def num_parameters(self) -> int:
        """Counts all weights."""
        return sum(math.prod(shape) for shape in self.weight_shapes().values())


def split_name(name: str) -> tuple[Optional[int], str]:
    """Returns a weight's block and its name among all blocks' weights.

    >>> split_name("blocks.3.attention.norm.scale")
    (3, 'blocks.attention.norm.scale')
    >>> split_name("embeddings.tokens")
    (None, 'embeddings.tokens')

    Args:
      name: The name of a weight or a matrix, as in `weight_shapes`.
    """
    first, _, rest = name.partition(".")
    if first != "blocks":
        return None, name
    number, _, rest = rest.partition(".")
    return int(number), f"{first}.{rest}"


def gpt2_small() -> Architecture:
    """Returns GPT-2 small (Radford et al. 2019).

    >>> gpt2_small().num_parameters()
    124439808
    """
    return Architecture(
        "decoder",
        vocabulary_size=50_257,
        width=768,
        layers=12,
        heads=12,
        kv_heads=12,
        head_width=64,
        hidden_width=3_072,
        max_length=1_024,
        activation="gelu_tanh",
        norm="layer",
        positions="learned",
        bias=True,
        fused_attention=True,
    )


def smollm2_135m() -> Architecture:
    """Returns SmolLM2-135M (Ben Allal et al. 2025).

    >>> smollm2_135m().num_parameters()
    134515008
    """
    return Architecture(
        "decoder",
        vocabulary_size=49_152,
        width=576,
        layers=30,
        heads=9,
        kv_heads=3,
        head_width=64,
        hidden_width=1_536,
        max_length=8_192,
        activation="swiglu",
        norm="rms",
        rotary_base=100_000.0,
    )


def bert(
    width: int, layers: int, heads: int, vocabulary_size: int = 30_522
) -> Architecture:
    """Returns a BERT-type encoder (Devlin et al. 2019) with its pooler.

    BERT base is `bert(768, 12, 12)`, MiniLM-L6 `bert(384, 6, 12)`.

    >>> bert(768, 12, 12).num_parameters(), bert(384, 6, 12).num_parameters()
    (109482240, 22713216)

    Args:
      width: The size of a token's vector.
      layers: The number of blocks.
      heads: The number of attention heads.
      vocabulary_size: The number of token ids.
    """
    return Architecture(
        "encoder",
        vocabulary_size=vocabulary_size,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        hidden_width=4 * width,
        max_length=512,
        activation="gelu",
        norm="layer",
        norm_epsilon=1e-12,
        positions="learned",
        bias=True,
        token_types=2,
        pooler=True,
    )


def character_model(vocabulary_size: int, max_length: int) -> Architecture:
    """Returns the small decoder that learns characters from nothing.

    It has four blocks of width 128 with four heads, RMS norms,
    rotary positions, normalized heads and squared ReLUs: 0.8 million
    parameters.

    Args:
      vocabulary_size: The number of token ids.
      max_length: The largest number of tokens.
    """
    return Architecture(
        "decoder",
        vocabulary_size=vocabulary_size,
        width=128,
        layers=4,
        heads=4,
        kv_heads=4,
        head_width=32,
        hidden_width=512,
        max_length=max_length,
        activation="relu_squared",
        norm="rms",
        norm_epsilon=1e-6,
        normalized_heads=True,
        normalized_embeddings=True,
    )
