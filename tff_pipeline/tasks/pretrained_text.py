"""Tasks of pretrained language models: roles, users, instructions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import (
    instructions,
    language,
    shakespeare,
    stackexchange,
)
from tff_pipeline.datasets.chat import Chat
from tff_pipeline.datasets.federation.split import Split, split
from tff_pipeline.datasets.language import ClientDocuments, TextTokenizer
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.models.transformer.base import Base
from tff_pipeline.tasks import language_model
from tff_pipeline.tasks.task import Task

# (The base's tokenizer, the base) -> (the data, how they were read).
ReadFn = Callable[[Tokenizer, Base], tuple[Split, str]]


def shakespeare_llm(options: DataConfig, seed: int) -> Task:
    """Returns a pretrained language model that learns how roles speak.

    A role's lines are one text of tokens, cut into windows; the last fifth of
    its lines is to test on.

    Args:
      options: The data files, how their examples are spread over clients, and
        in `options.model` the pretrained model.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other, or a package is not
        installed.
      DataError: If a file is missing or damaged.
    """
    name = "shakespeare_llm"
    data_dir = options.required_data_dir(f"the folder of {shakespeare.FILE}.gz")
    roles = shakespeare.load(data_dir, name)
    return _task(
        name,
        options,
        seed,
        lambda tokenizer, _: (
            windows_of_roles(roles, options, seed, tokenizer),
            "",
        ),
    )


def stackexchange_llm(options: DataConfig, seed: int) -> Task:
    """Returns a pretrained language model that learns how users write.

    A user's posts are packed into windows, with the model's end of a text
    between two; the last fifth of the posts is to test on.

    Args:
      options: The data files, how their examples are spread over clients, and
        in `options.model` the pretrained model.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other, or a package is not
        installed.
      DataError: If a file is missing or damaged.
    """
    name = "stackexchange_llm"
    posts = stackexchange.load(
        options.required_data_dir(f"the folder of {stackexchange.FILE}.gz"),
        name,
    )
    owners = np.array([post.client for post in posts])
    tested = stackexchange.held_out(owners)

    def read(tokenizer: Tokenizer, base: Base) -> tuple[Split, str]:
        del base
        train, test = (
            language.text_documents(
                language.post_texts(
                    post
                    for post, is_test in zip(posts, tested)
                    if is_test == part
                ),
                tokenizer,
            )
            for part in (False, True)
        )
        return _packed(train, test, options, seed, tokenizer), ""

    return _task(name, options, seed, read)


def instruction_tuning(options: DataConfig, seed: int) -> Task:
    """Returns a pretrained language model that learns to answer.

    A client's instructions are rendered by the model's chat template, each in a
    window of its own; only what the assistant says is to be predicted.

    Args:
      options: In `data_dir` JSON lines of clients, prompts and responses; see
        `datasets.readers.instructions`.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other, or a package is not
        installed.
      DataError: If a file is missing or damaged, or an answer is empty.
    """
    name = "instruction_tuning"
    data_dir = options.required_data_dir(
        "a file or folder of JSON lines with client, prompt and response"
    )
    length = int(options.model.sequence_length or 0)

    def read(tokenizer: Tokenizer, base: Base) -> tuple[Split, str]:
        chat = Chat(tokenizer, base.settings.chat_template, base.source)
        found = instructions.load(data_dir, name, chat, length)
        train, owners, _ = language.client_rows(found.train, tokenizer, length)
        test, test_owners, _ = language.client_rows(
            found.test, tokenizer, length
        )
        more: dict[str, Any] = {}
        if found.validation is not None:
            validation, validation_owners, _ = language.client_rows(
                found.validation, tokenizer, length
            )
            more = {
                "validation": validation,
                "validation_owners": validation_owners,
            }
        data = split(
            train,
            test,
            options,
            seed,
            owners=owners,
            test_owners=test_owners,
            **more,
        )
        return data, found.cut.describe("example")

    return _task(name, options, seed, read)


def windows_of_roles(
    roles: Sequence[shakespeare.Role],
    options: DataConfig,
    seed: int,
    tokenizer: TextTokenizer,
) -> Split:
    """Cuts roles' texts into windows of tokens, and divides them.

    Args:
      roles: The roles.
      options: How the windows are spread over clients, and in `options.model`
        their length.
      seed: The experiment's seed.
      tokenizer: The tokenizer.
    """
    train, test = (
        language.text_documents(language.role_texts(roles, part), tokenizer)
        for part in ("train", "test")
    )
    return _packed(train, test, options, seed, tokenizer)


def _packed(
    train: Sequence[ClientDocuments],
    test: Sequence[ClientDocuments],
    options: DataConfig,
    seed: int,
    tokenizer: TextTokenizer,
) -> Split:
    length = int(options.model.sequence_length or 0)
    windows, owners = language.client_windows(train, tokenizer, length)
    tested, test_owners = language.client_windows(test, tokenizer, length)
    return split(
        windows,
        tested,
        options,
        seed,
        owners=owners,
        test_owners=test_owners,
    )


def _task(name: str, options: DataConfig, seed: int, read: ReadFn) -> Task:
    """Makes the task of a pretrained model on the text that `read` gives."""
    base = language_model.base_of(options.model)
    tokenizer = language_model.tokenizer_of(base)
    training = language_model.training_of(options.model, seed, base)
    data, notes = read(tokenizer, base)
    return language_model.language_task(
        name,
        data,
        options,
        base.architecture,
        training,
        tokenizer=tokenizer,
        base=base,
        notes=notes,
        serving_fn=language_model.serving_model_of_ids,
    )
