"""What a run has spent, in step with its checkpoints.

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
    """Answers for epsilon while a run lasts."""

    def __init__(self, plan: Plan, publish: Callable[[int, Any], None]):
        """Opens it.

        Args:
          plan: Of the run.
          publish: Called whenever rounds are saved, with how many were run and
            the state after them.
        """
        self._plan = plan
        self._most = plan.options.dp_max_epsilon
        self.publish = publish
        self._known: dict[int, float] = {}

    def epsilon(self, rounds: int) -> float:
        """After so many rounds."""
        if rounds not in self._known:
            self._known[rounds] = self._plan.epsilon(rounds)
        return self._known[rounds]

    def allows(self, round_number: int) -> bool:
        """Whether `--dp_max_epsilon` holds after that round too."""
        return self._most is None or self.epsilon(round_number) <= self._most

    def record(self, rounds: int) -> dict[str, Any]:
        """What a checkpoint of so many rounds keeps, as JSON."""
        return {
            "terms": self._plan.terms(),
            "secret": self._plan.fingerprint,
            "rounds": rounds,
        }

    def check(self, saved: Optional[Mapping[str, Any]], rounds: int) -> None:
        """Raises `ConfigError` unless a checkpoint goes on with this plan.

        Args:
          saved: What `record` gave, or `None` if the checkpoint has none.
          rounds: Of the checkpoint.
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
