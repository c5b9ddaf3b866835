"""Flags of generate: which model writes, from what, and how."""

from typing import Any

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.config.fields import Allowed
from tff_pipeline.flags import parsing, runs

# What a shell can hand over, several lines too.
_PROMPT = Allowed(
    str, "text that is not empty", lambda v: bool(v.strip()) and "\0" not in v
)
_SHARE = Allowed(float, "above 0 and at most 1", lambda v: 0 < v <= 1)
_OF_RUNS = ("run_dir", "round", "data_dir")
_OF_BASES = ("init_from", "adapter")
_CHECKED = {
    "prompt": _PROMPT,
    "length": fields.COUNT,
    "temperature": fields.NOT_NEGATIVE,
    "top_p": _SHARE,
    "seed": fields.SEED,
}


def define_flags() -> None:
    """Defines the flags of scripts/generate.py."""
    runs.define_run_dir_flags()
    for name, help_text in (
        (
            "init_from",
            "Names a pretrained model to ask in place of a run's, as train.py "
            "takes it.",
        ),
        (
            "adapter",
            "Names the folder of a LoRA adapter of --init_from, as PEFT or a "
            "run writes it. Default: none.",
        ),
    ):
        parsing.define_flag("Model", name, fields.PATH, help_text)
    for name, help_text, default in (
        ("prompt", "Sets the text to go on from, or to answer.", None),
        ("length", "Sets how many tokens are written at most.", 100),
        (
            "temperature",
            "Sets how freely tokens are drawn: 0 takes the likeliest, 1 draws "
            "as the model says.",
            0.8,
        ),
        (
            "top_p",
            "Draws from the fewest tokens whose probabilities sum up to this "
            "share; 1 draws from all.",
            0.95,
        ),
        ("seed", "Sets what is drawn; the same seed gives the same text.", 0),
    ):
        parsing.define_flag("Text", name, _CHECKED[name], help_text, default)
    parsing.define_switch(
        "Text",
        "chat",
        "Puts the prompt as a user's message, as the pretrained model's chat "
        "template has it, and prints the answer.",
    )


def question() -> dict[str, Any]:
    """Returns the flags of scripts/generate.py, as `generate.text` takes them.

    Raises:
      ConfigError: If one is missing or not allowed, or they do not go together;
        the message names it.
    """
    values = {
        name: parsing.FLAGS[name].value
        for name in (*_OF_RUNS, *_OF_BASES, *_CHECKED, "chat")
    }
    if (values["run_dir"] is None) == (values["init_from"] is None):
        raise errors.ConfigError(
            "A model is named by one of --run_dir (a folder that "
            "scripts/train.py wrote) and --init_from (a pretrained model), and "
            f"{'none' if values['run_dir'] is None else 'both'} is set; give "
            "one."
        )
    by = "init_from" if values["run_dir"] is None else "run_dir"
    others = _OF_BASES if by == "run_dir" else _OF_RUNS
    for name in others:
        if values.pop(name) is not None:
            raise errors.ConfigError(
                f"--{name} is not used with --{by}={values[by]}; leave it out."
            )
    if values["prompt"] is None:
        raise errors.ConfigError(
            "--prompt is not set; give the text to go on from."
        )
    for name, allowed in _CHECKED.items():
        allowed.check(name, values[name])
    if by == "run_dir":
        del values["round"]
        path, values["round_number"], values["data_dir"] = runs.run_dir()
        values["run_dir"] = path
    return values
