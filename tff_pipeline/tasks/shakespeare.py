"""Tasks on Shakespeare's roles, who learn the next character."""

import functools
from collections.abc import Callable

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import characters, sequences, shakespeare
from tff_pipeline.datasets.characters import Alphabet
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import recurrent
from tff_pipeline.objectives import outputs, sequence
from tff_pipeline.tasks import text_generation, text_serving
from tff_pipeline.tasks.task import Task

_LENGTH = 80


def shakespeare_lstm(options: DataConfig, seed: int) -> Task:
    """Returns the character LSTM of McMahan et al. 2017, section 3.

    A role's lines are one text of bytes, cut into windows of 80. The paper's
    866,578 parameters are met with peepholes and 258 symbols, which it does not
    mention; see `recurrent.two_lstms`. A plain Keras LSTM has 865,042.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    return _task(
        "shakespeare_lstm",
        options,
        seed,
        characters.utf8_bytes(),
        # One text, with a newline between two speeches.
        lambda speeches: ["\n".join(speeches)],
        peepholes=True,
    )


def shakespeare_next_char(options: DataConfig, seed: int) -> Task:
    """Returns the character LSTM of Reddi et al. 2021, appendix C.

    Every speech is a text that begins and ends, cut into windows of 80; the
    last is padded. As in `tff.simulation.baselines.shakespeare`, but that a
    window goes on where the one before ends, so that no character is lost.
    820,522 parameters.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    return _task(
        "shakespeare_next_char",
        options,
        seed,
        characters.reddi(),
        lambda speeches: speeches,
    )


def _task(
    name: str,
    options: DataConfig,
    seed: int,
    alphabet: Alphabet,
    to_texts: Callable[[list[str]], list[str]],
    peepholes: bool = False,
) -> Task:
    data_dir = options.required_data_dir(f"the folder of {shakespeare.FILE}.gz")
    roles = shakespeare.load(data_dir, name)
    (train, owners), (test, test_owners) = (
        sequences.client_windows(
            (
                (
                    role.name,
                    [alphabet.encode(t) for t in to_texts(getattr(role, part))],
                )
                for role in roles
            ),
            _LENGTH,
        )
        for part in ("train", "test")
    )
    return Task(
        name,
        **vars(
            split(
                train,
                test,
                options,
                seed,
                owners=owners,
                test_owners=test_owners,
            )
        ),
        model_fn=functools.partial(
            recurrent.two_lstms, len(alphabet.symbols), peepholes
        ),
        loss_fn=sequence.TokenCrossEntropy,
        padding_label=sequences.PADDING,
        metrics_fn=lambda: [sequence.TokenAccuracy()],
        outputs_fn=functools.partial(
            outputs.next_symbol_outputs, alphabet.symbols
        ),
        serving_fn=lambda model: text_serving.text_model(
            text_serving.NextToken(
                model, text_serving.CharacterIds(alphabet), _LENGTH
            )
        ),
        generate_fn=lambda model: text_generation.Generator(
            model,
            text_serving.CharacterIds(alphabet),
            _LENGTH,
            alphabet.symbols,
            ends=[] if alphabet.end is None else [alphabet.end],
        ),
    )
