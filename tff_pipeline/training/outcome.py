"""What training ended with, or stands at."""

import dataclasses
from typing import Any, Optional

from tff_pipeline.runs.best import NONE_YET, Best
from tff_pipeline.runs.kept_states import KeptStates


@dataclasses.dataclass(frozen=True)
class Outcome:
    """State of training after its last round, and why it ended.

    Attributes:
      round_number: The number of rounds trained, in this process and before.
      state: The server's state after these rounds.
      kept: The kept states of all clients; `None` if they keep nothing.
      target_reached: Whether training stopped because of `--target_value`.
      budget_spent: Whether training stopped because the privacy budget allows
        no further round.
      interrupted_by: The name of the signal that stopped training, or `None`.
      best: The best evaluation by `--target_metric`.
      out_of_patience: Whether training stopped because of `--patience`.
    """

    round_number: int
    state: Any
    kept: Optional[KeptStates] = None
    target_reached: bool = False
    budget_spent: bool = False
    interrupted_by: Optional[str] = None
    best: Best = NONE_YET
    out_of_patience: bool = False

    @property
    def ended(self) -> bool:
        """True if training ended before all rounds, not to go on later."""
        return self.target_reached or self.budget_spent or self.out_of_patience
