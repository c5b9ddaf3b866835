"""The interface of attacks, and the clients that attack.

Attackers are drawn once, so that a cohort holds more of them in one round than
in another. An attack acts in up to three places: on the examples that an
attacker trains on, on the message that leaves it, and, knowing the messages of
its whole cohort, on the rows that an aggregator sees.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors, randomness, registry
from tff_pipeline.aggregators.rows import RowStep
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.config import AttackConfig, ExperimentConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]
# Whether a client attacks, in its block and on its row: 1 or 0.
BLOCK_SPEC: Mapping[str, tf.TensorSpec] = {"mark": tf.TensorSpec([], tf.int32)}
_MOST_NAMED = 3


class Marked(ClientHook):
    """Reads from a client's block whether it attacks; changes nothing."""

    name = "attack"
    block_spec = BLOCK_SPEC


@dataclasses.dataclass(frozen=True)
class AttackContext:
    """The arguments that an attack is built from.

    Attributes:
      config: The options of the attack.
      task: The task.
      cohort_size: The number of clients in a round.
      attackers: The number of clients that attack, of all.
    """

    config: AttackConfig
    task: Task
    cohort_size: int
    attackers: int


@dataclasses.dataclass(frozen=True)
class Attack:
    """What hostile clients do.

    Attributes:
      on_data: From an attacker's examples and a generator to the examples that
        it trains on; `None` if it trains on its own.
      on_update: The hook that changes an attacker's message; `None` if its
        message is that of an honest client.
      on_rows: The step that replaces attackers' rows, knowing all of them;
        `None` if attackers do not know each other.
      trigger: From inputs [n, ...] to inputs with a pattern that a backdoor is
        to react to; `None` if there is no backdoor.
      target: The class that inputs with the pattern are to become.
      note: A sentence about its strength, printed at the start; may be empty.
      marked: Whether clients are told that they attack even if nothing of the
        above needs it.
    """

    on_data: Optional[Callable[[Examples, np.random.Generator], Examples]] = (
        None
    )
    on_update: Optional[ClientHook] = None
    on_rows: Optional[RowStep] = None
    trigger: Optional[Callable[[Array], Array]] = None
    target: int = 0
    note: str = ""
    marked: bool = False

    @property
    def hook(self) -> Optional[ClientHook]:
        """Hook of every client, by which attackers are told from others."""
        if self.on_update is not None:
            return self.on_update
        return Marked() if self.on_rows is not None or self.marked else None


def attackers(
    config: AttackConfig, seed: int, client_ids: Sequence[str]
) -> frozenset[int]:
    """Returns the positions of the clients that attack in every round.

    Args:
      config: The options of the attack.
      seed: The experiment's seed.
      client_ids: The ids of all clients that train, in order.

    Returns:
      Positions from 0; empty without an attack.

    Raises:
      ConfigError: If a named client does not train, nobody attacks, or all do.
    """
    if config.name is None:
        return frozenset()
    if config.client_ids:
        known = {each: position for position, each in enumerate(client_ids)}
        missing = [each for each in config.client_ids if each not in known]
        if missing:
            raise errors.ConfigError(
                f"--attack_clients={config.attack_clients}: there is no client "
                f"{missing[0]!r} among the {len(client_ids)} that train, such "
                f"as {', '.join(list(client_ids[:_MOST_NAMED]))}; name others."
            )
        chosen = frozenset(known[each] for each in config.client_ids)
    else:
        assert config.attack_fraction is not None  # `AttackConfig` sees to it.
        count = round(config.attack_fraction * len(client_ids))
        draw = randomness.generator(seed, "attackers")
        drawn = draw.choice(len(client_ids), count, replace=False)
        chosen = frozenset(map(int, drawn))
    if not 0 < len(chosen) < len(client_ids):
        raise errors.ConfigError(
            f"--attack={config.name} makes {len(chosen)} of the "
            f"{len(client_ids)} clients attack; at least one must and "
            "one must not: change --attack_fraction or --attack_clients."
        )
    return chosen


def of_experiment(config: ExperimentConfig, task: Task) -> Attack:
    """Builds the attack of an experiment.

    Args:
      config: The experiment.
      task: Its task.

    Raises:
      ConfigError: If the task is not one that the attack can be used on, or the
        clients that attack are not as they must be.
    """
    hostile = attackers(config.attack, config.run.seed, task.train.client_ids)
    return build(
        AttackContext(
            config.attack,
            task,
            config.clients.clients_per_round,
            len(hostile),
        )
    )


def build(context: AttackContext) -> Attack:
    """Builds the attack that `--attack` names.

    Args:
      context: The arguments of the attack.

    Returns:
      The attack; one that does nothing if `--attack` is not set.

    Raises:
      ConfigError: If the task is not one that it can attack.
    """
    if context.config.name is None:
        return Attack()
    build_named: Callable[[AttackContext], Attack] = registry.load(
        context.config.name, registry.ATTACKS
    )
    return dataclasses.replace(
        build_named(context),
        marked=context.config.attack_kept_momentum is False,
    )
