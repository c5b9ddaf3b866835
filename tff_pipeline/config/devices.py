"""Configures the devices of clients: who comes, how fast, and who is lost."""

import dataclasses
import math
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config import fields

AVAILABILITY = {
    "always": "every client at any time",
    "diurnal": "four times as many at midnight as at noon",
}
STRAGGLER_WORK = {
    "all": "all of it, in more time",
    "less": "as much as they have time for",
    "late": "all of it, after the round's end",
}
# Values that are no paths.
EQUAL, LOGNORMAL, BY_SIZE = "equal", "lognormal", "by_size"

OVER_SELECTION = fields.Allowed(
    float, "a number from 1 to 10", lambda v: 1 <= v <= 10
)


@dataclasses.dataclass(frozen=True)
class DeviceConfig(fields.Group):
    """Options of simulated devices; by default there are none.

    Without devices every client that is chosen takes part, and there is no
    simulated clock. Its fields are flags, whose help says what they mean.

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    dropout: float = fields.field(
        0.0,
        fields.FRACTION,
        "Sets the probability with which a client that is there drops out of "
        "a round, such as 0.08.",
        flag="device_dropout",
    )
    dropout_in_training: Optional[float] = fields.field(
        None,
        fields.SHARE,
        "Sets the share of drop-outs that happen while the client trains; the "
        "others are lost before the model reaches them. Default: 1. Only with "
        "--device_dropout.",
        flag="device_dropout_in_training",
    )
    availability: str = fields.field(
        "always",
        fields.known(AVAILABILITY),
        "Chooses when clients are there: always, or diurnal (four times as "
        "many at midnight as at noon of the simulated clock, which begins at "
        "midnight).",
        flag="device_availability",
    )
    sessions: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names a CSV file of when clients are there, with the columns "
        "client_id, start_s, end_s; after its last second it begins again. A "
        "client without a row never comes. Default: --device_availability.",
        flag="device_sessions",
    )
    over_selection: float = fields.field(
        1.0,
        OVER_SELECTION,
        "Chooses so many times --clients_per_round clients, and keeps the "
        "first --clients_per_round that finish, such as 1.3.",
    )
    stragglers: float = fields.field(
        0.0,
        fields.SHARE,
        "Sets the probability with which a client that does not drop out has "
        "too little time in a round, such as 0.5.",
    )
    straggler_work: Optional[str] = fields.field(
        None,
        fields.known(STRAGGLER_WORK),
        "Chooses what stragglers do: all (they take four times as long), less "
        "(fewer epochs, or fewer steps where there is one epoch, drawn "
        "uniformly) or late (they come too late and count not). Default: late."
        " Only with --stragglers.",
    )
    speeds: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Chooses how fast clients are: equal, lognormal (the fastest tenth is "
        "at least ten times as fast as the slowest tenth), or a CSV file with "
        "the columns client_id, samples_per_second, kbps_down, kbps_up. "
        "Default: equal.",
        flag="device_speeds",
    )
    round_deadline_s: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets after how many simulated seconds a round ends; clients that take "
        "longer count not. Default: a round waits for all.",
    )
    client_learning_rates: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Gives every client a learning rate of its own: a CSV file with the "
        "columns client_id, learning_rate_factor, or by_size (a client with "
        "more examples than the average takes smaller steps, by as much). "
        "Default: one rate for all.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dropout_in_training is not None and not self.dropout:
            raise errors.ConfigError(
                f"--device_dropout_in_training={self.dropout_in_training} is "
                "given without --device_dropout, the share that drops out; "
                "set it above 0, or leave both out."
            )
        if self.straggler_work is not None and not self.stragglers:
            raise errors.ConfigError(
                f"--straggler_work={self.straggler_work} is given without "
                "--stragglers, the share that has too little time; set it "
                "above 0, or leave both out."
            )
        if self.sessions is not None and self.availability != "always":
            raise errors.ConfigError(
                f"--device_sessions={self.sessions} and "
                f"--device_availability={self.availability} both say when "
                "clients are there; leave one out."
            )

    @property
    def simulated(self) -> bool:
        """True if clients have devices, so that there is a simulated clock."""
        plain = DeviceConfig(client_learning_rates=self.client_learning_rates)
        return self != plain

    @property
    def timed(self) -> bool:
        """True if the time of day says who is there."""
        return self.sessions is not None or self.availability != "always"

    def chosen(self, clients_per_round: int) -> int:
        """Returns how many clients are chosen in a round.

        >>> DeviceConfig(over_selection=1.3).chosen(100)
        130

        Args:
          clients_per_round: The number of clients that are kept.
        """
        # 1.1 times 10 must not be 12 because 1.1 is no number of base 2.
        return math.ceil(round(self.over_selection * clients_per_round, 6))

    def files(self) -> dict[str, str]:
        """Returns the paths of the files that describe devices, by flag."""
        paths = {
            "device_speeds": self.speeds,
            "device_sessions": self.sessions,
            "client_learning_rates": self.client_learning_rates,
        }
        return {
            flag: path
            for flag, path in paths.items()
            if path is not None and path not in (EQUAL, LOGNORMAL, BY_SIZE)
        }
