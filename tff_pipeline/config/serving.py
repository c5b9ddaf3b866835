"""Configures scripts/serve.py; each field is a flag."""

import dataclasses
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.config.fields import Allowed

_PORT = Allowed(int, "a whole number from 0 to 65535", lambda v: 0 <= v < 2**16)
_MILLISECONDS = Allowed(
    float, "a number of milliseconds from 0 to 1000", lambda v: 0 <= v <= 1000
)
_MEGABYTES = Allowed(
    float,
    "a number of megabytes above 0, at most 1024",
    lambda v: 0 < v <= 1024,
)
_SECONDS = Allowed(
    float, "a number of seconds from 0.1 to 3600", lambda v: 0.1 <= v <= 3600
)


@dataclasses.dataclass(frozen=True)
class ServingConfig(fields.Group):
    """Options of a served model: which it is, its address, and its limits.

    Its fields are flags, whose help says what they mean.

    Raises:
      ConfigError: If a value is not allowed, or --model is not set.
    """

    model: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names the SavedModel to serve, or a folder of numbered versions of"
        " one, of which the newest is served.",
    )
    name: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Sets the model's name in URLs. Default: the folder's name.",
    )
    host: str = fields.field(
        "127.0.0.1",
        fields.TEXT,
        "Sets the address to listen on; 127.0.0.1 lets in this machine "
        "only. With 0.0.0.0 other machines are let in, and no password "
        "keeps any out.",
    )
    port: int = fields.field(
        8501,
        _PORT,
        "Sets the port to listen on; 0 takes a free one and prints it.",
    )
    max_batch_size: int = fields.field(
        64,
        fields.COUNT,
        "Sets how many rows of several requests are computed in one call of"
        " TensorFlow at most; 1 computes each request by itself.",
    )
    max_batch_wait_ms: float = fields.field(
        1.0,
        _MILLISECONDS,
        "Sets how many milliseconds a request waits for others to fill its "
        "batch at most.",
    )
    max_waiting: int = fields.field(
        1000,
        fields.COUNT,
        "Sets how many requests may wait for TensorFlow; those beyond are "
        "answered with status 503.",
    )
    max_body_mb: float = fields.field(
        16.0,
        _MEGABYTES,
        "Sets how many megabytes a request may have; larger ones are "
        "answered with status 413.",
    )
    request_timeout_s: float = fields.field(
        30.0,
        _SECONDS,
        "Sets how many seconds a client may take to send a request.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model is None:
            raise errors.ConfigError(
                "--model is not set; name a folder that scripts/train.py or "
                "scripts/export.py wrote, such as runs/quickstart/saved_model."
            )
