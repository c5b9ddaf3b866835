"""Continues texts in Python: from ids to ids, as long as the model can see."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors, randomness
from tff_pipeline.datasets.language import TextTokenizer, decoded
from tff_pipeline.models.transformer import generation
from tff_pipeline.models.transformer.network import Transformer
from tff_pipeline.runtime import compat

Array = npt.NDArray[Any]

# The inputs of `generating_function`, in order.
SPECS = (
    tf.TensorSpec([None, None], tf.int32, "prompts"),
    tf.TensorSpec([None], tf.int32, "counts"),
    tf.TensorSpec([], tf.int32, "length"),
    tf.TensorSpec([], tf.float32, "temperature"),
    tf.TensorSpec([], tf.float32, "top_p"),
    tf.TensorSpec([], tf.int32, "seed"),
)


def without_text(
    network: Transformer, tokenizer: TextTokenizer, ends: Sequence[int]
) -> list[int]:
    """Lists the ids that no text is written with.

    Args:
      network: The transformer, which may know more ids than the tokenizer.
      tokenizer: The tokenizer.
      ends: Ids that end a text, which are left out.
    """
    known = len(tokenizer.symbols)
    return [
        number
        for number in range(network.architecture.vocabulary_size)
        if number not in ends
        and (number >= known or not tokenizer.symbols[number])
    ]


def generating_function(
    network: Transformer, tokenizer: TextTokenizer, ends: Sequence[int]
) -> Any:
    """Makes a graph that continues texts; it is traced once for all sizes.

    Args:
      network: A decoder.
      tokenizer: Its tokenizer; ids that stand for no text are never drawn.
      ends: Ids after which a text has ended.

    Returns:
      A `tf.function` of `SPECS` that returns `ids`, int32 [batch, length], and
      `counts`, int32 [batch]; see `generation.continuation`.
    """
    barred = without_text(network, tokenizer, ends)

    @tf.function(input_signature=SPECS)
    @compat.plain
    def generate(
        prompts: tf.Tensor,
        counts: tf.Tensor,
        length: tf.Tensor,
        temperature: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        ids, added = generation.continuation(
            network,
            prompts,
            counts,
            length=length,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            ends=ends,
            barred=barred,
        )
        return {"ids": ids, "counts": added}

    return generate


class TextWriter:
    """Continues texts by a language model.

    Attributes:
      tokenizer: The model's tokenizer.
    """

    def __init__(
        self,
        network: Transformer,
        tokenizer: TextTokenizer,
        *,
        ends: Optional[Sequence[int]] = None,
        slides: bool = False,
    ):
        """Prepares the graph, which is traced when it is first asked.

        Args:
          network: A decoder.
          tokenizer: Its tokenizer.
          ends: Ids after which a text has ended; by default the tokenizer's
            `end`, if it has one.
          slides: Whether a text that outgrows the model's positions goes on
            with the last half of them, as suits a model that was trained on
            windows from anywhere in a text. Otherwise it is refused.
        """
        self.tokenizer = tokenizer
        if ends is None:
            ends = [] if tokenizer.end is None else [tokenizer.end]
        self._positions = network.architecture.max_length
        self._slides = slides
        self._generate = generating_function(network, tokenizer, ends)

    def text(self, prompt: str, **settings: Any) -> str:
        """Returns what follows a text.

        Args:
          prompt: The text.
          **settings: See `ids`.

        Raises:
          ConfigError: If the text has no token, or does not fit the positions.
        """
        begin = self.tokenizer.begin
        ids = self.tokenizer.encode(prompt).tolist()
        before = ids if begin is None else [begin, *ids]
        (added,) = self.ids([before], **settings)
        return decoded(self.tokenizer, ids, added)

    def ids(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        length: int,
        temperature: float,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[int]]:
        """Returns the ids that follow each of several prompts.

        Args:
          prompts: The ids of each prompt.
          length: The largest number of ids to add.
          temperature: See `generation.draw`.
          top_p: See `generation.draw`.
          seed: An integer of at least 0; the same seed gives the same ids to
            the same prompts.

        Raises:
          ConfigError: If a prompt has no id, or does not fit the positions.
        """
        shown = [[int(number) for number in prompt] for prompt in prompts]
        for prompt in shown:
            self._check(len(prompt), length)
        added: list[list[int]] = [[] for _ in shown]
        going = list(range(len(shown)))
        left = length
        for stretch in range(length):
            if not left or not going:
                break
            for row in going:
                if self._slides and len(shown[row]) >= self._positions:
                    shown[row] = shown[row][-max(1, self._positions // 2) :]
            room = self._positions - max(len(shown[row]) for row in going)
            step = min(left, max(1, room))
            draw = randomness.generator(seed, "generate", stretch)
            new = self._stretch(
                [shown[row] for row in going],
                step,
                temperature,
                top_p,
                int(draw.integers(2**31)),
            )
            for row, ids in zip(going, new):
                added[row] += ids
                shown[row] += ids
            # Those that have fewer have ended.
            going = [row for row, ids in zip(going, new) if len(ids) == step]
            left -= step
        return added

    def _check(self, count: int, length: int) -> None:
        if not count:
            raise errors.ConfigError(
                "The prompt has no token, and the model needs one to go on "
                "from; give a prompt with some text."
            )
        if not self._slides and count + length > self._positions:
            raise errors.ConfigError(
                f"The prompt of {count:,} tokens and --length={length} more "
                f"do not fit the {self._positions:,} positions of the model; "
                "shorten either."
            )

    def _stretch(
        self,
        shown: Sequence[Sequence[int]],
        length: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> list[list[int]]:
        """Continues texts whose continuation fits the positions."""
        counts = [len(ids) for ids in shown]
        prompts = np.zeros([len(shown), max(counts)], np.int32)
        for row, ids in enumerate(shown):
            prompts[row, : len(ids)] = ids
        result = self._generate(
            tf.constant(prompts),
            tf.constant(counts, tf.int32),
            tf.constant(length, tf.int32),
            tf.constant(temperature, tf.float32),
            tf.constant(top_p, tf.float32),
            tf.constant(seed, tf.int32),
        )
        return [
            ids[:count].tolist()
            for ids, count in zip(
                result["ids"].numpy(), result["counts"].numpy()
            )
        ]
