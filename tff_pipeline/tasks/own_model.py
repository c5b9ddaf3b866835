"""A user's own Keras model function, for `--model_fn`."""

import hashlib
import importlib
import sys

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.tasks.task import ModelFn


def load(reference: str) -> ModelFn:
    """Imports and returns the function that a reference names.

    Modules are found as Python finds them; the folder that the command is
    called in counts, as for `python -m`.

    Args:
      reference: "package.module:function"; the function takes nothing and
        returns a new, uncompiled `tf.keras.Model`.

    Raises:
      ConfigError: If there is no such function, or it returns something else.
    """
    module_name, _, name = reference.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        model_fn = getattr(importlib.import_module(module_name), name)
        model = model_fn()
    except errors.PipelineError:
        raise  # It says what to do.
    except Exception as error:  # Whatever the user's code raises.
        raise errors.ConfigError(
            f"--model_fn={reference} cannot be used "
            f"({type(error).__name__}: {error}); it must name a function "
            "without arguments in a module that Python finds from here."
        ) from error
    if not isinstance(model, tf.keras.Model):
        raise errors.ConfigError(
            f"--model_fn={reference} returned {type(model).__name__}; it must "
            "return a new tf.keras.Model."
        )
    return model_fn


def source_hash(reference: str) -> dict[str, str]:
    """Returns the SHA-256 of the module's file, by the flag that names it.

    Args:
      reference: As for `load`, which has loaded it.

    Returns:
      {"--model_fn=REFERENCE": hexadecimal digest}; empty if the module has no
      file.
    """
    path = sys.modules[reference.partition(":")[0]].__file__
    if path is None:
        return {}
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return {f"--model_fn={reference}": digest}
