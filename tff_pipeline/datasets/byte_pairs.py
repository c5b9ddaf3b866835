"""Learns a vocabulary of byte pairs from public text."""

from collections.abc import Iterable, Sequence

from tff_pipeline.datasets.tokenizer import library_tokenizers


def train_bpe(
    texts: Iterable[str],
    vocabulary_size: int,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
) -> bytes:
    """Trains a byte-level BPE tokenizer (Radford et al. 2019) on PUBLIC text.

    Never give it clients' texts. A vocabulary repeats the text that it was
    learned from: a word that occurs often enough, even if one client alone
    writes it, becomes a token that everyone who gets the model can read. No
    noise of a differentially private run covers that, as it happens before.

    Args:
      texts: Public texts.
      vocabulary_size: The greatest number of tokens, at least 256 and the
        special tokens; there are fewer if the text has no more pairs.
      special_tokens: Tokens that no text has, of the ids 0, 1, ...

    Returns:
      The content of a `tokenizer.json`, the same for the same texts; all 256
      bytes are in it, so that it writes any text.

    Raises:
      ConfigError: If the library `tokenizers` is not installed.
      ValueError: If `vocabulary_size` is too small.
    """
    least = 256 + len(special_tokens)
    if vocabulary_size < least:
        raise ValueError(
            f"vocabulary_size={vocabulary_size} must be at least {least}: 256 "
            "bytes and the special tokens."
        )
    library = library_tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(
        add_prefix_space=False
    )
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(special_tokens),
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str().encode()
