"""Failed rounds: tried again, skipped, or the end of the run."""

import dataclasses
from collections.abc import Sequence

import grpc
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.config import RunConfig
from tff_pipeline.runs.metrics_file import Row

# Failures of data, memory and machines. All else is a bug, and shows its
# traceback.
FAILURES = (
    MemoryError,
    OSError,
    tf.errors.OpError,
    grpc.RpcError,
    errors.DataError,
    errors.TrainingError,
)


@dataclasses.dataclass(frozen=True)
class Policy:
    """Decides what follows a failure, by the flags of a run.

    Attributes:
      config: `on_failed_round`, `max_round_retries` and
        `max_consecutive_failures` decide.
    """

    config: RunConfig

    def of_error(self, attempt: int) -> str:
        """Returns "retry", "skip" or "stop" for a round that failed.

        Args:
          attempt: The number of attempts at the round, 1 or above.
        """
        policy = self.config.on_failed_round
        if policy == "retry" and attempt > self.config.max_round_retries:
            return "stop"
        return policy

    def of_update(self) -> str:
        """Returns "skip" or "stop" for an update that is not finite.

        The round is not tried again, since it would give the same update.
        """
        return "stop" if self.config.on_failed_round == "stop" else "skip"

    def check(self, rows: Sequence[Row], why: str = "") -> None:
        """Checks that not too many rounds in a row were lost.

        Args:
          rows: The rows of all rounds so far, in order.
          why: Why the last was lost; empty for an update that is not finite.

        Raises:
          TrainingError: If the last `max_consecutive_failures` were lost;
            `NotFiniteError` where no update was finite.
        """
        most = self.config.max_consecutive_failures
        last = rows[-most:]
        if len(last) == most and all(r.get("rejected_update") for r in last):
            if why:
                raise errors.TrainingError(
                    f"{most} rounds in a row were lost "
                    f"(--max_consecutive_failures), the last being "
                    f"{last[-1]['round']}: {why}; raise --clients_per_round or "
                    "lower --byzantine_clients. The last checkpoint stands."
                )
            raise errors.NotFiniteError(
                f"No update was finite in {most} rounds in a row "
                f"(--max_consecutive_failures), the last being "
                f"{last[-1]['round']}; lower --client_learning_rate, or look "
                "for values in the data that are not finite. The last "
                "checkpoint stands."
            )


def explained(error: BaseException, number: int, attempt: int) -> Exception:
    """Returns the error that ends a run after a failed round.

    Args:
      error: The cause.
      number: The round that failed.
      attempt: The number of attempts at it.
    """
    tried = f" (tried {attempt} times)" if attempt > 1 else ""
    if isinstance(error, errors.PipelineError):
        return type(error)(f"Round {number} failed{tried}: {error}")
    why = " ".join(str(error).split())[:300]
    lasts = isinstance(error, FloatingPointError)
    explanation = errors.NotFiniteError if lasts else errors.TrainingError
    return explanation(
        f"Round {number} failed{tried} ({type(error).__name__}: {why}); mend "
        "the cause and give the same command again. The last checkpoint "
        "stands."
    )
