"""Decides, in one place, everything that epsilon depends on.

The plan is made before training from the flags and the population. Noise, clip,
sampling and accounting come from it and from nowhere else, so that they agree.
Needs no TensorFlow.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.aggregators.private.discrete_mechanism import Mechanism
from tff_pipeline.aggregators.private.grid import LARGEST_MULTIPLIER, Grid
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.privacy import PrivacyConfig
from tff_pipeline.privacy import (
    accounting,
    calibration,
    discrete_plan,
    matrix,
    secret_file,
)
from tff_pipeline.privacy import delta as deltas
from tff_pipeline.privacy.setting import Setting

Array = npt.NDArray[Any]

# As a share of the cohort: Andrew et al. 2021, section 3.1.
_COUNT_STDDEV = 0.05


@dataclasses.dataclass(frozen=True)
class Plan:
    """Plan of a run's privacy: the guarantee, and the noise that keeps it.

    Attributes:
      aggregator: The aggregator's name in `registry.AGGREGATORS`.
      options: The flags that the plan is made from.
      setting: The mechanism, the sampling and the counts that the accountant
        is told, with all rounds that are planned.
      noise_multiplier: Standard deviation of the noise on a round's sum, as a
        multiple of the clip; with `dp_local`, of the noise on an update.
      delta: Probability with which the guarantee of epsilon may fail.
      accountant: A name in `accounting.ACCOUNTANTS`.
      dimension: The count of numbers in an update.
      secret: 128 bits, from which noise and cohorts are drawn.
      described: Whether the user describes the columns, so that nothing is
        computed from the clients' data outside of the plan.
      secure_sum: The protocol that hides clients' messages from the server, or
        `None`.
    """

    aggregator: str
    options: PrivacyConfig
    setting: Setting
    noise_multiplier: float
    delta: float
    accountant: str
    dimension: int
    secret: int = dataclasses.field(repr=False)
    described: bool = False
    secure_sum: Optional[str] = None

    @property
    def seeded(self) -> bool:
        """True if the noise has a seed, so that there is no privacy."""
        return self.options.dp_noise_seed is not None

    @property
    def private(self) -> bool:
        """True if the guarantee is one that may be called privacy."""
        return (
            not self.seeded
            and self.noise_multiplier > 0
            and not self.large_delta
        )

    @property
    def large_delta(self) -> bool:
        """True if delta is so large that nothing is promised to anyone."""
        return deltas.is_large(self.delta, self.setting.population)

    @property
    def columns(self) -> list[str]:
        """Columns of metrics.csv that come from the plan."""
        adapts = self.options.dp_initial_clip is not None
        return ["epsilon", "clip"] if adapts else ["epsilon"]

    @property
    def matrix(self) -> tuple[float, ...]:
        """First column of the matrix mechanism's matrix."""
        assert self.setting.min_separation is not None
        return matrix.coefficients(
            self.setting.rounds, self.setting.min_separation
        )

    @property
    def num_canaries(self) -> int:
        """Count of made-up clients that an audit looks for."""
        return self.options.audit_canaries or 0

    @property
    def canary_key(self) -> Array:
        """Key of the canaries' directions, int64 [2]."""
        return np.frombuffer(self._derived("canaries"), np.int64)

    @property
    def noise_key(self) -> Array:
        """Key of the noise, int64 [2]."""
        return np.frombuffer(self._derived("noise"), np.int64)

    @property
    def exact_noise_key(self) -> bytes:
        """Key of the noise of --dp_secure_noise, 16 bytes."""
        return self._derived("exact noise")

    @property
    def cohort_seed(self) -> int:
        """Seed of the cohorts, secret so that nobody can guess them."""
        return int.from_bytes(self._derived("cohort"), "big")

    @property
    def cohort_key(self) -> bytes:
        """Key of the cohorts' hashes, which without one give cohorts away."""
        return self._derived("hashes of cohorts")

    @property
    def fingerprint(self) -> str:
        """Hash that identifies the secret and does not give it away."""
        return self._derived("fingerprint").hex()

    def _derived(self, purpose: str) -> bytes:
        """Derives 16 bytes from the secret, other ones for each purpose."""
        return secret_file.derived(self.secret, purpose)

    @property
    def noise_over_sensitivity(self) -> float:
        """Standard deviation over sensitivity, which the accountant is told."""
        if self.setting.mechanism == "distributed":
            return self.distributed.effective_noise_multiplier()
        return self.noise_multiplier / self.setting.sensitivity

    @property
    def distributed(self) -> Mechanism:
        """Discrete mechanism of `dp_distributed`: its grid, clip and noise."""
        return discrete_plan.mechanism(
            self.options, self.setting, self.dimension, self.noise_multiplier
        )

    @property
    def grid(self) -> Grid:
        """Grid of --dp_secure_noise; its noise is the plan's or a hair more."""
        return Grid(self.clip, self.noise_multiplier)

    @property
    def clip(self) -> float:
        """Clip of all rounds, with an aggregator that does not adapt it."""
        assert self.options.dp_clip is not None
        return self.options.dp_clip

    @property
    def count_stddev(self) -> float:
        """Standard deviation of the noise on the clip's count, in clients."""
        chosen = self.options.dp_count_stddev
        return chosen or _COUNT_STDDEV * self.setting.cohort_size

    def epsilon(self, rounds: int) -> float:
        """Computes epsilon after the first rounds.

        Args:
          rounds: The number of rounds.

        Returns:
          At least 0; infinite without noise.
        """
        if not rounds:
            return 0.0
        return accounting.epsilon(
            dataclasses.replace(self.setting, rounds=rounds),
            self.noise_over_sensitivity,
            self.delta,
            self.accountant,
        )

    def terms(self) -> dict[str, Any]:
        """Returns what a resumed run must not change, as JSON."""
        terms = {
            "aggregator": self.aggregator,
            **dataclasses.asdict(self.setting),
            "noise_multiplier": self.noise_multiplier,
            "delta": self.delta,
            "accountant": self.accountant,
            "seeded": self.seeded,
        }
        if not self._rounds_matter:
            del terms["rounds"]
        return terms

    @property
    def _rounds_matter(self) -> bool:
        """True if the noise is made for one number of rounds."""
        return (
            self.options.dp_target_epsilon is not None
            or self.setting.mechanism in ("tree", "matrix")
        )


def make(
    config: ExperimentConfig, population: int, dimension: int, secret: int
) -> Plan:
    """Makes the plan of an experiment.

    Args:
      config: The experiment; its aggregator must be private.
      population: The count of all clients, canaries too.
      dimension: The count of numbers in an update; of these, the aggregator
        has as many as --compression sends.
      secret: A number of 128 bits; see `secret_file`.

    Raises:
      ConfigError: If the flags do not go together, or no noise reaches the
        target epsilon; the flag to change is named.
    """
    options, clients = config.privacy, config.clients
    dimension = config.compression.numbers_sent(dimension)
    aggregator = config.aggregation.last
    size = clients.clients_per_round
    if size > population:
        raise errors.ConfigError(
            f"--clients_per_round={size} is more than the {population} clients "
            f"there are; lower it to at most {population}."
        )
    min_separation = None
    if clients.sampling == "min_separation":
        min_separation = clients.min_separation or population // size
    assert clients.sampling is not None  # `ExperimentConfig` settles it.
    setting = Setting(
        options.mechanism(aggregator),
        clients.sampling,
        population,
        size,
        config.run.total_rounds,
        min_separation,
    )
    delta = deltas.settled(
        options.dp_delta,
        population,
        flag="dp_delta",
        allow_large=bool(options.dp_allow_large_delta),
    )
    accountant = options.dp_accountant or accounting.default_accountant(setting)
    multiplier = options.dp_noise_multiplier
    with _flags_of_training():
        accounting.check_accountant(setting, accountant)
        if multiplier is None:
            assert options.dp_target_epsilon is not None
            multiplier = setting.sensitivity * calibration.noise_multiplier(
                setting, options.dp_target_epsilon, delta, accountant
            )
            if setting.mechanism == "distributed":
                multiplier = discrete_plan.noise_multiplier(
                    options, setting, dimension, multiplier
                )
    if options.dp_secure_noise and multiplier > LARGEST_MULTIPLIER:
        raise errors.ConfigError(
            f"--dp_noise_multiplier={multiplier:g}: must be at most "
            f"{LARGEST_MULTIPLIER:.0f} with --dp_secure_noise."
        )
    plan = Plan(
        aggregator,
        options,
        setting,
        multiplier,
        delta,
        accountant,
        dimension,
        secret,
        config.data.described,
        None
        if config.secure_aggregation.is_plain
        else config.secure_aggregation.protocol,
    )
    if aggregator == "dp_gaussian_adaptive":
        _check_count(plan)
    if setting.mechanism == "distributed":
        discrete_plan.check(options, setting, dimension, multiplier)
    return plan


@contextlib.contextmanager
def _flags_of_training() -> Iterator[None]:
    """Renames flags of scripts/privacy.py in errors to those of train.py."""
    try:
        yield
    except errors.ConfigError as error:
        text = re.sub(
            r"--(accountant|delta|noise_multiplier|target_epsilon)\b",
            r"--dp_\1",
            str(error),
        )
        raise errors.ConfigError(text) from None


def _check_count(plan: Plan) -> None:
    """Refuses an adaptive clip whose count has too little noise."""
    noise, size = plan.noise_multiplier, plan.setting.cohort_size
    # Andrew et al. 2021, theorem 1: the count alone would spend it all.
    if noise < 2 * plan.count_stddev:
        return
    if plan.options.dp_count_stddev is not None:
        raise errors.ConfigError(
            f"--dp_count_stddev={plan.options.dp_count_stddev} is too little "
            f"for a noise multiplier of {noise:.4g}; raise it above "
            f"{noise / 2:.4g}, such as {noise:.4g}, or leave it out."
        )
    least = int(noise / (2 * _COUNT_STDDEV)) + 1
    raise errors.ConfigError(
        f"--clients_per_round={size} is too few for the count by which the "
        f"clip adapts, with a noise multiplier of {noise:.4g}; raise it to "
        f"{least} or more, or give --dp_count_stddev above {noise / 2:.4g}."
    )
