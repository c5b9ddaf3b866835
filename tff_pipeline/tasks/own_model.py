"""A user's own Keras model function, for `--model_fn`.

`docs/own_model.md` is its contract: what is cast, what is taken off, and what
is refused before the first round.
"""

import dataclasses
import functools
import hashlib
import importlib
import sys
from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models import own_ends, own_limits
from tff_pipeline.models.own_ends import Entrance, Exit
from tff_pipeline.objectives import compiled
from tff_pipeline.tasks.task import ModelFn, Task

# Examples that are shown to a model to see what it gives.
_SHOWN = 16


@dataclasses.dataclass(frozen=True)
class Fitting:
    """How a user's model is brought to a task.

    Attributes:
      takes: What the model itself takes, [batch, ...]; `None` if unsaid.
      gives: What the model itself gives, [batch, ...].
      way_in: How examples are brought into it.
      way_out: How its outputs are brought to those of the task.
      compiled: Whether it is compiled.
    """

    takes: Optional[tf.TensorSpec]
    gives: tf.TensorSpec
    way_in: Entrance
    way_out: Exit
    compiled: bool

    @property
    def words(self) -> list[str]:
        """What is done to the data, the model and its outputs, in words."""
        words = [*self.way_in.words, *self.way_out.words]
        if self.compiled:
            words.append(
                "its compile() is not used: flags choose the optimizer, the "
                "task its loss and metrics"
            )
        return words


def use(task: Task, reference: str) -> Task:
    """Returns a task with a user's model in place of its own.

    Args:
      task: The task.
      reference: As for `load`.

    Raises:
      ConfigError: If the model cannot be used.
    """
    own, _ = used(task, reference)
    return own


def used(task: Task, reference: str) -> tuple[Task, Fitting]:
    """Returns a task with a user's model, and how this was brought to it.

    Args:
      task: The task.
      reference: As for `load`.

    Raises:
      ConfigError: If the model cannot be used.
    """
    model_fn = load(reference)
    fitting = fit(task, model_fn, f"--model_fn={reference}")
    own = with_model(task, model_fn, fitting)
    _check_graph(own, f"--model_fn={reference}")
    return own, fitting


def with_model(task: Task, model_fn: ModelFn, fitting: Fitting) -> Task:
    """Returns a task with another model.

    Args:
      task: The task.
      model_fn: Makes the model.
      fitting: What `fit` found.
    """
    notes = task.notes
    if fitting.words:
        done = f"Of the user's own model: {'; '.join(fitting.words)}."
        notes = f"{notes} {done}".strip()
    x = task.test.x
    fitted = functools.partial(
        _fitted, model_fn, x.shape[1:], x.dtype.name, fitting
    )
    columns = task.fitted_columns
    if columns is not None and task.encoder_fn is None:
        # The task's own model scales them; this one takes them as they are.
        columns = {name: columns[name] for name in columns if name != "x"}
    return dataclasses.replace(
        task, model_fn=fitted, notes=notes, fitted_columns=columns
    )


def _fitted(
    model_fn: ModelFn, shape: Sequence[int], dtype: str, fitting: Fitting
) -> tf.keras.Model:
    return own_ends.fitted(
        model_fn(),
        shape,
        dtype,
        fitting.way_in,
        fitting.way_out,
    )


def load(reference: str) -> ModelFn:
    """Imports and returns the function that a reference names.

    Modules are found as Python finds them; the folder that the command is
    called in counts, as for `python -m`.

    Args:
      reference: "package.module:function"; the function takes nothing and
        returns a new `tf.keras.Model`.

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
            f"({_in_a_line(error)}); it must name a function "
            "without arguments in a module that Python finds from here."
        ) from error
    if not isinstance(model, tf.keras.Model):
        raise errors.ConfigError(
            f"--model_fn={reference} returned {type(model).__name__}; it must "
            "return a new tf.keras.Model."
        )
    return model_fn


def fit(task: Task, model_fn: ModelFn, name: str) -> Fitting:
    """Finds out how a user's model is brought to a task.

    Args:
      task: The task, whose own model shows what is expected.
      model_fn: Makes the user's model.
      name: What the model is called in errors.

    Raises:
      ConfigError: If it cannot be brought to the task, or something of it would
        be lost in federated training.
    """
    expected = _output_of(task.build_model(), task.test.x[:1])
    if task.encoder_fn is None:
        x = task.test.x[:_SHOWN]
    else:
        x = task.encoder_fn()(task.test.x[:_SHOWN]).numpy()
    model, takes, way_in = _entered(task, model_fn, x, name)
    if x.dtype.name == "uint8" and x.ndim > 2:
        way_in = own_ends.scaled(way_in, model, float(task.test.x.max()))
    output = own_ends.enter(model, x, way_in)
    other = model_fn()
    if not other.built:
        own_ends.enter(other, x, way_in)
    reason = own_limits.unfit(model, other)
    if reason is not None:
        raise errors.ConfigError(f"{name} {reason}.")
    way_out = _exit(task, model, other, output, expected, (x, way_in), name)
    return Fitting(
        takes,
        tf.TensorSpec([None, *output.shape[1:]], output.dtype),
        dataclasses.replace(way_in, encoder_fn=task.encoder_fn),
        way_out,
        compiled.is_compiled(model),
    )


def _output_of(model: tf.keras.Model, x: Any) -> tf.Tensor:
    return model(tf.constant(x), training=False)


def _entered(
    task: Task, model_fn: ModelFn, x: Any, name: str
) -> tuple[tf.keras.Model, Optional[tf.TensorSpec], Entrance]:
    """Makes a model with weights, and finds out how data are brought in."""
    model = model_fn()
    if model.inputs is not None:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise errors.ConfigError(
                f"{name} has {len(model.inputs)} inputs and "
                f"{len(model.outputs)} outputs; a task needs one of each."
            )
        takes = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
        way_in = own_ends.entrance(x.shape[1:], x.dtype.name, takes)
        if way_in is None:
            raise errors.ConfigError(
                f"{name} takes {_spec(takes)}, but {_data(task, x)}; declare "
                f"tf.keras.Input({list(x.shape[1:])}, dtype={x.dtype.name!r})"
                ", and change it in layers of the model."
            )
        return model, takes, way_in
    problems = []
    for way_in in own_ends.entrances(x.shape[1:], x.dtype.name):
        try:
            own_ends.enter(model, x, way_in)
            return model, None, way_in
        except Exception as error:  # Whatever the user's layers raise.
            problems.append(error)
        model = model_fn()
    raise errors.ConfigError(
        f"{name} cannot be called with its data ({_in_a_line(problems[0])}); "
        f"{_data(task, x)}."
    ) from problems[0]


def _data(task: Task, x: Any) -> str:
    spec = f"{x.dtype.name} of shape {x.shape[1:]}"
    if task.encoder_fn is None:
        return f"the data of {task.name} are {spec}"
    return (
        f"the {task.test.x.shape[1]} columns of {task.name} become {spec}, "
        "numbers scaled and a 0 or 1 for each known category"
    )


def _spec(spec: Any) -> str:
    return f"{spec.dtype.name} of shape {tuple(spec.shape[1:])}"


def _exit(
    task: Task,
    model: tf.keras.Model,
    other: tf.keras.Model,
    output: Any,
    expected: tf.Tensor,
    shown: tuple[Any, Entrance],
    name: str,
) -> Exit:
    """Finds out how a model's outputs are brought to those of the task."""
    if not tf.is_tensor(output):
        raise errors.ConfigError(
            f"{name} returns {type(output).__name__}; a task needs one tensor."
        )
    kind = own_ends.probabilities_in(task.outputs_fn, expected)
    outputs = expected.shape[-1]
    two = kind == "softmax" and outputs == 2 and output.shape[-1] == 1
    fits = output.shape.rank == expected.shape.rank and tuple(
        output.shape[1:-1]
    ) == tuple(expected.shape[1:-1])
    if not fits or not (two or output.shape[-1] == outputs):
        also = " (or one for two classes)" if outputs == 2 and kind else ""
        what = {
            "softmax": f"a logit or probability for each of {outputs} classes"
            f"{also}",
            "sigmoid": f"a logit or probability for each of {outputs} labels",
            "": f"what the task's own model gives, {_spec(expected)}",
        }[kind]
        raise errors.ConfigError(
            f"{name} gives {_spec(output)}; {task.name} needs {what}: change "
            "the last layer."
        )
    words, cast = [], output.dtype != tf.float32
    if cast:
        words.append(f"its {output.dtype.name} outputs are cast to float32")
    loss = compiled.loss_of(model)
    if not kind:
        by_values = "value" in task.outputs_fn(expected)
        if loss and not (by_values and loss.is_squared_error):
            _refuse_loss(task, loss, name)
        return Exit(cast=cast, words=tuple(words))
    if loss and not loss.is_cross_entropy:
        _refuse_loss(task, loss, name)
    activation = own_ends.activation_of(model)
    inverse = "" if activation else own_ends.probabilities_of(other, *shown)
    end = activation or inverse
    if loss and loss.from_logits is not None and loss.from_logits == bool(end):
        ends = f"ends in a {end}" if end else "ends in no softmax or sigmoid"
        raise errors.ConfigError(
            f"{name} {ends} and is compiled with {loss.name} of from_logits="
            f"{loss.from_logits}, which contradict each other; change one."
        )
    if end and end != ("sigmoid" if two else kind):
        raise errors.ConfigError(
            f"{name} ends in a {end}, but {task.name} has "
            f"{_meant(kind, outputs, two)}; end in that or in logits."
        )
    if activation:
        words.append(f"the {activation} at its end is taken off")
        below = own_ends.without_activation(other)
        if own_ends.activation_of(below) or own_ends.probabilities_of(
            below, *shown
        ):
            raise errors.ConfigError(
                f"{name} ends in a {activation} of a softmax or sigmoid; take "
                "one of them out."
            )
    elif inverse:
        words.append(
            f"its probabilities become logits, the inverse of a {inverse}"
        )
    if two:
        words.append("its one output is the logit of the second of two classes")
    return Exit(activation, inverse, two, cast, tuple(words))


def _meant(kind: str, outputs: int, two: bool) -> str:
    if two:
        return "two classes, whose one probability is a sigmoid"
    if kind == "softmax":
        return (
            f"{outputs} classes that exclude each other, whose probabilities "
            "are a softmax"
        )
    return "labels that may hold together, whose probabilities are sigmoids"


def _refuse_loss(task: Task, loss: compiled.CompiledLoss, name: str) -> None:
    raise errors.ConfigError(
        f"{name} is compiled with the loss {loss.name}"
        f"{'' if loss.plain else ' with label smoothing'}, but {task.name} is "
        f"trained with {type(task.loss_fn()).__name__}; return the model "
        "uncompiled if you mean that."
    )


def _check_graph(task: Task, name: str) -> None:
    """Builds the model as TFF does, in a graph of its own."""
    try:
        with tf.Graph().as_default():
            model = task.tff_model_fn()
            x, y = (
                tf.compat.v1.placeholder(spec.dtype, spec.shape)
                for spec in task.batch_spec
            )
            model.forward_pass((x, y), training=True)
    except errors.PipelineError:
        raise
    except Exception as error:  # Whatever the user's code raises.
        raise errors.ConfigError(
            f"{name} works when it is called, but not in a graph of TensorFlow "
            f"({_in_a_line(error)}); take out what computes with numbers while "
            "the model is made."
        ) from error


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


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
