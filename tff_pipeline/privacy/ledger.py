"""Accounts for the privacy that a run has spent, in step with its checkpoints.

Every round of a plan spends alike, so the ledger is the plan's terms and the
rounds that were run. A round that a kill cut off from its checkpoint is run
again with the same clients and the same noise: it releases the same bits, and
is counted once.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.privacy.plan import Plan


class Ledger:
    """Answers for epsilon while a run lasts.

    Attributes:
      publish: Called whenever rounds are saved, with their number and the state
        after them.
    """

    def __init__(self, plan: Plan, publish: Callable[[int, Any], None]):
        """Opens the ledger of a run.

        Args:
          plan: The run's plan.
          publish: See the attribute.
        """
        self._plan = plan
        self._most = plan.options.dp_max_epsilon
        self.publish = publish
        self._known: dict[int, float] = {}

    def epsilon(self, rounds: int) -> float:
        """Returns the epsilon that is spent after so many rounds.

        Args:
          rounds: The number of rounds.
        """
        if rounds not in self._known:
            self._known[rounds] = self._plan.epsilon(rounds)
        return self._known[rounds]

    def allows(self, round_number: int) -> bool:
        """Returns whether a round keeps within `--dp_max_epsilon`.

        Args:
          round_number: The round, which counts as run.
        """
        return self._most is None or self.epsilon(round_number) <= self._most

    def record(self, rounds: int) -> dict[str, Any]:
        """Returns what a checkpoint keeps of the ledger, as JSON.

        Args:
          rounds: The number of rounds that the checkpoint has.
        """
        return {
            "terms": self._plan.terms(),
            "secret": self._plan.fingerprint,
            "rounds": rounds,
        }

    def check(self, saved: Optional[Mapping[str, Any]], rounds: int) -> None:
        """Checks that a checkpoint goes on with this plan.

        Args:
          saved: The checkpoint's `record`, or `None` if it has none.
          rounds: The number of rounds that the checkpoint has.

        Raises:
          ConfigError: If its secret, its terms or its rounds are others.
        """
        if saved is None or saved["rounds"] != rounds:
            raise errors.ConfigError(
                f"The checkpoint of round {rounds} has no account of its "
                "privacy; start again with --overwrite."
            )
        if saved["secret"] != self._plan.fingerprint:
            raise errors.ConfigError(
                "The run's noise_secret is missing or another one's; restore "
                "it, or start again with --overwrite."
            )
        # As they come back from a file.
        terms = json.loads(json.dumps(self._plan.terms()))
        differing = fields.differences(saved["terms"], terms)
        if differing:
            raise errors.ConfigError(
                f"The run's privacy was planned with other terms: "
                f"{', '.join(differing)}; go on with --total_rounds and data "
                "as they were, or start again with --overwrite."
            )
