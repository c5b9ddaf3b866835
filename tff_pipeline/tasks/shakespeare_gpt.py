"""A small language model of characters, trained from nothing."""

import functools

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import characters, shakespeare
from tff_pipeline.datasets.character_tokenizer import CharacterTokenizer
from tff_pipeline.models.transformer.architecture import character_model
from tff_pipeline.tasks import (
    language_model,
    pretrained_text,
    text_generation,
    text_serving,
)
from tff_pipeline.tasks.task import Task


def shakespeare_gpt(options: DataConfig, seed: int) -> Task:
    """Returns a small transformer that learns characters from nothing.

    A role's lines are one text of characters, cut into windows; what a window
    predicts depends on nothing before it. 0.8 million parameters; see
    `architecture.character_model`.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    name = "shakespeare_gpt"
    data_dir = options.required_data_dir(f"the folder of {shakespeare.FILE}.gz")
    alphabet = characters.reddi()
    tokenizer = CharacterTokenizer(alphabet)
    length = int(options.model.sequence_length or 0)
    architecture = character_model(tokenizer.vocabulary_size, length)
    return language_model.language_task(
        name,
        pretrained_text.windows_of_roles(
            shakespeare.load(data_dir, name), options, seed, tokenizer
        ),
        options,
        architecture,
        language_model.training_of(options.model, seed),
        outputs_fn=functools.partial(
            language_model.token_outputs, symbols=alphabet.symbols
        ),
        serving_fn=lambda model: text_serving.text_model(
            language_model.NextTokenLogits(
                model, text_serving.CharacterIds(alphabet), length
            )
        ),
        generate_fn=lambda model: text_generation.Generator(
            language_model.TokenLogits(model),
            text_serving.CharacterIds(alphabet),
            length,
            alphabet.symbols,
            ends=[] if alphabet.end is None else [alphabet.end],
        ),
    )
