"""Plans differential privacy of single examples, which the clients keep.

Every client runs DP-SGD (Abadi et al. 2016, "Deep Learning with Differential
Privacy", algorithm 1) with noise for its own number of examples, so that what
leaves it is private against everyone else, the server too. Noise, sampling and
accounting come from here and from nowhere else. Needs no TensorFlow.
"""

import collections
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import durable
from tff_pipeline.privacy import calibration, paper, secret_file
from tff_pipeline.privacy import delta as deltas
from tff_pipeline.privacy.setting import Setting
from tff_pipeline.runs.directory import RunDirectory

Array = npt.NDArray[Any]

MOST_LISTED = 100  # Clients, in the statement.


@dataclasses.dataclass(frozen=True)
class ExamplePlan:
    """Holds what is promised of an example, and how it is kept.

    Attributes:
      target_epsilon: The most that a client that takes part in all rounds
        spends on each of its examples.
      delta: The probability that is left out.
      clip: The largest L2 norm of an example's gradient.
      batch_size: The number of examples that a step expects, or all of a client
        with fewer.
      steps: The number of a client's steps in all rounds.
      secret: 128 bits, from which batches and noise are drawn.
      seeded: Whether the secret can be guessed, so that there is no privacy.
      large_delta: Whether delta is so large that nothing is promised.
      described: Whether the user describes the columns, so that nothing is
        computed from the clients' data outside of the plan.
    """

    target_epsilon: float
    delta: float
    clip: float
    batch_size: int
    steps: int
    secret: int = dataclasses.field(repr=False)
    seeded: bool = False
    large_delta: bool = False
    described: bool = False

    @property
    def private(self) -> bool:
        """True if the guarantee is one that may be called privacy."""
        return not self.seeded and not self.large_delta

    @property
    def key(self) -> Array:
        """The key of batches and noise, int64 [2]."""
        return np.frombuffer(
            secret_file.derived(self.secret, "examples"), np.int64
        )

    def setting(self, examples: int) -> Setting:
        """Returns the setting of a client, whose population its examples are.

        Args:
          examples: The client's number of examples; at least 1.
        """
        return Setting(
            "gaussian",
            "poisson",
            examples,
            min(self.batch_size, examples),
            self.steps,
        )

    def noise_multiplier(self, examples: int) -> float:
        """Returns the noise on a step's sum: standard deviation over the clip.

        Args:
          examples: The client's number of examples; at least 1.

        Raises:
          ConfigError: If no noise keeps the target.
        """
        try:
            return _multiplier(
                self.setting(examples), self.target_epsilon, self.delta
            )
        except errors.ConfigError:
            raise errors.ConfigError(
                f"--client_dp_target_epsilon={self.target_epsilon} cannot be "
                f"kept for a client of {examples} examples in {self.steps} "
                f"steps of --client_batch_size={self.batch_size}; raise it, or "
                "lower --total_rounds or --client_steps_per_round."
            ) from None


# Calibrating takes a second or two, and many clients are of one size.
@functools.cache
def _multiplier(setting: Setting, target_epsilon: float, delta: float) -> float:
    return calibration.noise_multiplier(setting, target_epsilon, delta)


def for_run(
    config: ExperimentConfig,
    directory: RunDirectory,
    overwrite: bool,
    examples: int,
) -> Optional[ExamplePlan]:
    """Returns the plan of a run with its secret, or `None` if it has none.

    Args:
      config: The experiment.
      directory: The run's folder, if it was begun.
      overwrite: Whether it begins anew.
      examples: The number of examples of all clients, or fewer.

    Raises:
      ConfigError: If delta is too large for so many.
      RunDirectoryError: If the secret cannot be read, or is gone.
    """
    clients = config.clients
    if clients.dp_target_epsilon is None:
        return None
    # `ClientConfig` sees to it.
    assert clients.dp_delta is not None
    assert clients.dp_clip is not None
    assert clients.steps_per_round is not None
    delta = deltas.settled(
        clients.dp_delta,
        examples,
        flag="client_dp_delta",
        unit="examples",
        allow_large=bool(config.privacy.dp_allow_large_delta),
    )
    return ExamplePlan(
        clients.dp_target_epsilon,
        delta,
        clients.dp_clip,
        clients.batch_size,
        config.run.total_rounds * clients.steps_per_round,
        secret_file.secret_of_run(directory, clients.dp_noise_seed, overwrite),
        clients.dp_noise_seed is not None,
        deltas.is_large(delta, examples),
        config.data.described,
    )


def publish(
    plan: ExamplePlan,
    directory: RunDirectory,
    sizes: Mapping[str, int],
    uncovered: Sequence[str] = (),
) -> None:
    """Keeps the secret and writes the statement.

    Args:
      plan: The run's plan.
      directory: The run's folder.
      sizes: The number of examples of each client that is to be listed.
      uncovered: What else of the run is not covered, a sentence each.

    Raises:
      ConfigError: If no noise keeps the target for one of these.
      RunDirectoryError: If it cannot be written.
    """
    if not plan.seeded:
        secret_file.keep(directory.noise_secret, plan.secret)
    stated = content(plan, sizes, paper.head(directory), uncovered)
    durable.write_text(
        directory.privacy_json, json.dumps(stated, indent=2) + "\n"
    )
    durable.write_text(directory.privacy_text, in_words(stated))


def content(
    plan: ExamplePlan,
    sizes: Mapping[str, int],
    head: Optional[Mapping[str, Any]] = None,
    uncovered: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the statement as a JSON object.

    Args:
      plan: The run's plan.
      sizes: The number of examples of each client that is to be listed.
      head: The run's name, date and data: the result of `paper.head`.
      uncovered: What else of the run is not covered, a sentence each.

    Raises:
      ConfigError: If no noise keeps the target for one of these.
    """
    warning = _warning(plan)
    counts = collections.Counter(sizes.values())
    return {
        **(head or {}),
        "private": plan.private,
        "verdict": paper.verdict(
            warning, plan.target_epsilon, plan.delta, "example"
        ),
        "guarantee": _guarantee(plan),
        "warning": warning,
        "epsilon": plan.target_epsilon,
        "delta": plan.delta,
        "unit": "one example",
        "adjacency": "add or remove one example of a client",
        "against": "everyone but the client, the server too",
        "mechanism": "DP-SGD on every client",
        "clip": plan.clip,
        "expected_batch_size": plan.batch_size,
        "steps_in_all_rounds": plan.steps,
        "accountant": "pld",
        "not_covered": [
            "How many examples a client has, by which batches are drawn and "
            "updates are weighed.",
            "A person with several examples, or with examples at several "
            "clients: epsilon is of one example of one client.",
            "What the user looked at to write --categories_file and "
            "--column_bounds_file; nothing else of the columns was computed "
            "before training."
            if plan.described
            else "What the task computed from the data before training, such "
            "as the mean and deviation of a column.",
            "Evaluation: exact figures of the evaluated examples.",
            "Choosing: whoever looks at several runs on the same examples "
            "spends the epsilon of all of them.",
            *uncovered,
        ],
        "clients": [
            {
                "clients": counts[size],
                "examples": size,
                "noise_multiplier": plan.noise_multiplier(size),
            }
            for size in sorted(counts)
        ],
    }


def _warning(plan: ExamplePlan) -> Optional[str]:
    """Returns the reason why nothing is private, or `None`."""
    if plan.seeded:
        return (
            "Simulation only, no privacy: batches and noise come from a seed "
            "(--client_dp_noise_seed) that can be guessed."
        )
    if plan.large_delta:
        return (
            f"Delta {plan.delta:.3g} is too large for so few examples "
            "(--dp_allow_large_delta): the promise may fail for a whole one."
        )
    return None


def _guarantee(plan: ExamplePlan) -> str:
    """Returns the guarantee in a sentence, or that there is none."""
    figures = f"epsilon {plan.target_epsilon:g} at delta {plan.delta:g}"
    if not plan.private:
        return f"No guarantee: {figures} is the figure of a simulation."
    return (
        f"Every client's update is ({plan.target_epsilon:g}, {plan.delta:g})-"
        "differentially private for one example, over all rounds, against "
        "everyone but the client, the server too."
    )


def in_words(stated: dict[str, Any]) -> str:
    """Returns the statement as text.

    Args:
      stated: The JSON object of `content`.
    """
    lines = [
        paper.filled(stated["guarantee"]),
        "",
        f"adjacency    {stated['adjacency']}",
        f"mechanism    {stated['mechanism']}: gradients of examples clipped at "
        f"{stated['clip']:g}, {stated['steps_in_all_rounds']} steps",
        f"sampling     poisson, {stated['expected_batch_size']} examples of a "
        "client expected a step",
        f"accountant   {stated['accountant']}",
        "",
        "Not covered:",
        *(f"  {each}" for each in stated["not_covered"]),
        "",
        f"{'clients':<12}{'examples of each':>18}{'noise multiplier':>20}",
        *(
            f"{each['clients']:<12}{each['examples']:>18}"
            f"{each['noise_multiplier']:>20.4g}"
            for each in stated["clients"]
        ),
        "",
        paper.to_sign(),
    ]
    return paper.in_words(stated) + "\n".join(lines)
