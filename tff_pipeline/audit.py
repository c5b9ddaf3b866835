"""The audit of a run: membership inference on the model it exported."""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import durable, errors, experiment, randomness
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.datasets.federated import Examples
from tff_pipeline.datasets.sequences import PADDING
from tff_pipeline.export import saved_model
from tff_pipeline.privacy import membership
from tff_pipeline.sampling import UniformSampler
from tff_pipeline.tasks.task import Task
from tff_pipeline.training.checkpoint import CheckpointStore
from tff_pipeline.training.run_directory import RunDirectory

# Members are drawn from at least so many clients, if there are.
_FEWEST_CLIENTS = 10
# What a batch of outputs may hold: 100 MB.
_BATCH_NUMBERS = 25_000_000
_BATCH_SIZE = 1000


def audit(
    run_dir: str,
    round_number: Optional[int] = None,
    data_dir: Optional[str] = None,
    max_examples: int = 10_000,
    per_class: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Attacks a run's model, and writes audit.json and audit.txt beside it.

    Members are training examples of clients that took part by that round;
    non-members are as many of the central test set. The attacker has the
    SavedModel, the examples and their labels.

    Args:
      run_dir: What `experiment.run` wrote.
      round_number: Which checkpoint; by default `saved_model/` as it is.
      data_dir: The task's data, if they have moved since.
      max_examples: Members, and non-members, at most.
      per_class: Whether to attack every class by itself too.

    Returns:
      (the text, the JSON object: "task", "round", "max_examples", "members" and
      "non_members" with "examples" and "mean_loss", "clients", "differences",
      sentences, and what `membership.attacks` gives).

    Raises:
      ConfigError: If the task has no classes, or --round was not saved.
      DataError: If a file is missing, or there are too few examples.
      RunDirectoryError: If there is no run or no model, or it cannot be
        written.
    """
    directory = RunDirectory(run_dir)
    config = directory.read_config()
    if data_dir is not None:
        data = dataclasses.replace(config.data, data_dir=data_dir)
        config = dataclasses.replace(config, data=data)
    if round_number is None and not os.path.isdir(directory.saved_model):
        raise errors.RunDirectoryError(
            f"{directory.saved_model} does not exist; let the run finish, or "
            "name a saved round with --round."
        )
    task = experiment.load_task(config)
    _check_supported(task, run_dir, per_class)
    store = CheckpointStore(directory.checkpoints)
    number, weights = store.load_weights(round_number)
    clients = _took_part(config, task, number)
    draw = randomness.generator(config.run.seed, "audit")
    wanted = min(max_examples, len(task.test))
    pool, read = _members(task, clients, wanted, draw)
    count = min(wanted, len(pool))
    if count < membership.LEAST:
        raise errors.DataError(
            f"--run_dir={run_dir}: {len(pool)} members were found for "
            f"{wanted} non-members, and an audit needs {membership.LEAST} of "
            "each; raise --max_examples, or take a run with more data."
        )
    exported = weights if round_number is not None else None
    with _model(directory, task, exported) as path:
        attacked = Attacked(task, path)
        members, others = (
            attacked.observe(
                examples.take(draw.choice(len(examples), count, replace=False))
            )
            for examples in (pool, task.test)
        )
    if not (members.finite and others.finite):
        raise errors.RunDirectoryError(
            f"--run_dir={run_dir}: its model of round {number} gives numbers "
            "that are not finite; name an earlier round with --round."
        )
    found = membership.attacks(members, others, config.run.seed, per_class)
    report = {
        "task": task.name,
        "round": number,
        "max_examples": max_examples,
        "clients": {"took_part": len(clients), "read": read},
        "members": _described(members),
        "non_members": _described(others),
        "differences": [
            *_known_differences(task, config, len(clients)),
            *membership.differences(found),
        ],
        **found,
    }
    text = _in_words(report)
    durable.write_text(
        directory.audit, json.dumps(report, indent=2, allow_nan=False) + "\n"
    )
    durable.write_text(directory.audit_text, text + "\n")
    return text, report


@contextlib.contextmanager
def _model(
    directory: RunDirectory,
    task: Task,
    weights: Optional[tff.learning.models.ModelWeights],
) -> Iterator[str]:
    """The folder of the SavedModel; with `weights`, of one made of these."""
    if weights is None:
        yield directory.saved_model
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "saved_model")
        saved_model.export(task, weights, path)
        yield path


class Attacked:
    """What an attacker makes of a SavedModel."""

    def __init__(self, task: Task, path: str):
        """Loads it; raises `RunDirectoryError` if it is not whole."""
        self._task = task
        try:
            if task.serving_fn is None:
                self._saved = tf.saved_model.load(path)
                serve = self._saved.signatures["serving_default"]
                self._call = lambda x: serve(**{task.input_name: x})
                return
            # It takes raw columns or text, but the examples are encoded; the
            # model within, which takes these, has all of its weights.
            saved = tf.keras.models.load_model(path, compile=False)
            model = task.build_model()
            model.set_weights(saved.get_weights())
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise errors.RunDirectoryError(
                f"{path} cannot be loaded ({type(error).__name__}: {error}); "
                "make it anew with --round, or let train.py end again."
            ) from None
        self._call = lambda x: task.outputs_fn(model(x, training=False))

    def observe(self, examples: Examples) -> membership.Observed:
        """What the model says of examples."""
        logits = _logits(self._call(tf.constant(examples.x[:1])))
        assert logits is not None
        size = max(1, min(_BATCH_SIZE, _BATCH_NUMBERS // logits.size))
        parts = [
            self._part(
                examples.x[start : start + size], examples.y[start:][:size]
            )
            for start in range(0, len(examples), size)
        ]
        losses, outputs = map(np.concatenate, zip(*parts))
        classes = max(logits.shape[-1], 2)
        labels = None
        if logits.ndim == 2:
            labels = examples.y.reshape([len(examples)]).astype(np.int64)
        inputs = membership.blind_features(examples.x, labels, classes)
        return membership.Observed(losses, outputs, inputs, labels)

    def _part(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        """Losses and logits of a batch; of sequences losses alone."""
        logits = _logits(self._call(tf.constant(x)))
        assert logits is not None
        losses = membership.cross_entropies(
            logits, y.reshape(logits.shape[:-1])
        )
        if losses.ndim == 1:
            return losses, logits.astype(np.float64)
        places = tuple(range(1, losses.ndim))
        counts = y != PADDING
        means = (losses * counts).sum(places) / np.maximum(
            counts.sum(places), 1
        )
        return means, np.zeros([len(x), 0])


def _logits(given: Mapping[str, tf.Tensor]) -> Optional[np.ndarray]:
    """Logits from what an exported model gives, or `None`."""
    if "logits" in given:
        return given["logits"].numpy()
    if "probabilities" in given and given["probabilities"].shape[-1] > 1:
        least = np.finfo(np.float32).tiny
        return np.log(np.maximum(given["probabilities"].numpy(), least))
    return None


def _check_supported(task: Task, run_dir: str, per_class: bool) -> None:
    """Raises `ConfigError` unless every label is one of the model's classes."""
    first = task.test.take(np.arange(1))
    logits = _logits(task.outputs_fn(task.build_model()(tf.constant(first.x))))
    y = task.test.y
    if logits is None:
        fits = False
    elif logits.shape[-1] == 1:
        fits = y[:1].size == 1 and bool(np.isin(y, [0, 1]).all())
    else:
        is_whole = np.issubdtype(y.dtype, np.integer)
        fits = is_whole and y.shape[1:] == logits.shape[1:-1]
    if not fits:
        raise errors.ConfigError(
            f"--run_dir={run_dir} is a run of --task={task.name}, whose "
            "examples do not have one class each; membership inference is "
            "there for classes alone, so audit a run of a task that has them."
        )
    if per_class and y.ndim > 1 and y[0].size > 1:
        raise errors.ConfigError(
            f"--per_class is not used with --task={task.name}, whose examples "
            "are sequences of classes; leave it out."
        )


def _took_part(config: ExperimentConfig, task: Task, rounds: int) -> list[int]:
    """Positions of all clients of rounds 1 to `rounds`, in order."""
    sampler = UniformSampler(
        task.train.client_ids,
        config.clients.clients_per_round,
        config.run.seed,
    )
    return sorted(
        {
            position
            for number in range(1, rounds + 1)
            for position in sampler.positions(number)
        }
    )


def _members(
    task: Task, clients: list[int], wanted: int, draw: np.random.Generator
) -> tuple[Examples, int]:
    """Examples of clients in a drawn order, and of how many clients.

    Client by client, until there are enough of enough clients.
    """
    parts: list[Examples] = []
    for position in draw.permutation(clients):
        parts.append(task.train.load(task.train.client_ids[position]))
        if len(parts) >= _FEWEST_CLIENTS and sum(map(len, parts)) >= wanted:
            break
    if not parts:
        return task.test.take(np.arange(0)), 0
    x = np.concatenate([part.x for part in parts])
    y = np.concatenate([part.y for part in parts])
    return Examples(x, y), len(parts)


def _described(observed: membership.Observed) -> dict[str, Any]:
    return {
        "examples": len(observed),
        "mean_loss": float(np.mean(observed.losses)),
    }


def _known_differences(
    task: Task, config: ExperimentConfig, took_part: int
) -> list[str]:
    """How members and non-members differ by how they came about."""
    said = []
    if task.unseen is not None and task.test_clients is None:
        said.append(
            "Non-members are of other clients than members, whose examples "
            "may be of another kind."
        )
    elif took_part < len(task.train):
        said.append(
            f"Members are of the {took_part} clients that took part, of "
            f"{len(task.train)}; non-members may be of any."
        )
    if config.clients.steps_per_round is not None:
        said.append(
            "With --client_steps_per_round some members may not have been in "
            "any step."
        )
    return said


def _in_words(report: Mapping[str, Any]) -> str:
    members, others = report["members"], report["non_members"]
    clients = report["clients"]
    lines = [
        f"{report['task']}, round {report['round']}: membership inference",
        "",
        f"{'members':<22}{members['examples']:>9,}  mean loss "
        f"{members['mean_loss']:.4f}, of {clients['read']:,} clients of the "
        f"{clients['took_part']:,} that took part",
        f"{'non-members':<22}{others['examples']:>9,}  mean loss "
        f"{others['mean_loss']:.4f}, of the central test set",
        "",
        f"{'attack':<22}{'AUC':>7}{'95% interval':>18}{'advantage':>12}"
        f"{'95% interval':>18}{'TPR at 1% FPR':>16}",
    ]
    attacks = [*report["attacks"], report["without_model"]]
    lines += [_row(attack["name"], attack) for attack in attacks]
    lines.append("")
    lines += [f"  {attack['name']}: {attack['words']}" for attack in attacks]
    if report["per_class"]:
        lines += ["", "The threshold attack, class by class"]
        lines += [
            _row(f"class {each['class']}", each) for each in report["per_class"]
        ]
    lines += ["", report["meaning"]]
    if report["differences"]:
        lines += ["", "Members and non-members differ anyway:"]
        lines += [f"  {sentence}" for sentence in report["differences"]]
    return "\n".join(lines)


def _row(name: str, figures: Mapping[str, Any]) -> str:
    def interval(which: str) -> str:
        low, high = figures[f"{which}_interval"]
        return f"{low:.3f} to {high:.3f}"

    low_rate = figures["low_rate"]
    shown = "-" if low_rate is None else f"{low_rate:.3f}"
    return (
        f"{name:<22}{figures['auc']:>7.3f}{interval('auc'):>18}"
        f"{figures['advantage']:>12.3f}{interval('advantage'):>18}{shown:>16}"
    )
