"""Reads the tagged sentences of clients, for the tasks of named entities."""

from collections.abc import Sequence
from typing import NamedTuple

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import Split, split
from tff_pipeline.datasets.readers import column_descriptions, conll
from tff_pipeline.datasets.readers.column_descriptions import Descriptions
from tff_pipeline.datasets.readers.conll import Corpus, Sentences
from tff_pipeline.datasets.tags import Tags


class Tagged(NamedTuple):
    """Tagged sentences, as the flags have them read.

    Attributes:
      corpus: The sentences.
      parts: Those to train and to test on, and to choose on if there are any.
      tags: The tags there are.
      descriptions: What the user says of words, characters and tags.
    """

    corpus: Corpus
    parts: list[Sentences]
    tags: Tags
    descriptions: Descriptions


def read(options: DataConfig) -> Tagged:
    """Reads the sentences of `--data_dir`.

    Args:
      options: The data files and who clients are.

    Raises:
      ConfigError: If no folder is named.
      DataError: If a file is missing or damaged, or has a tag that the user
        does not list.
    """
    data_dir = options.required_data_dir(
        "the folder of column files: eng.train and eng.testb, or a "
        "*.conll file for each client"
    )
    # `DataConfig` settles it.
    assert options.sentences_per_client is not None
    corpus = conll.load(data_dir, options.sentences_per_client)
    parts = [corpus.train, corpus.test]
    if corpus.validation is not None:
        parts.append(corpus.validation)
    descriptions = column_descriptions.read(options.categories_file, None)
    found = {tag for part in parts for each in part.tags for tag in each}
    tags = Tags(descriptions.categories.get("tag", found))
    if strange := sorted(found - {*tags.names}):
        raise errors.DataError(
            f"{data_dir} has the tag {strange[0]!r}, which "
            f"{descriptions.flags['tag']} does not list; add it there as "
            f"tag,{strange[0]}."
        )
    return Tagged(corpus, parts, tags, descriptions)


def spread(
    examples: Sequence[Examples],
    parts: Sequence[Sentences],
    options: DataConfig,
    seed: int,
) -> Split:
    """Spreads sentences over clients.

    Args:
      examples: The examples of each of `parts`.
      parts: See `Tagged`.
      options: How examples are spread over clients.
      seed: The experiment's seed.
    """
    train, test, *validation = examples
    return split(
        train,
        test,
        options,
        seed,
        owners=parts[0].owners,
        test_owners=parts[1].owners,
        validation=validation[0] if validation else None,
        validation_owners=parts[2].owners if validation else None,
    )
