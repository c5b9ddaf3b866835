"""What becomes of a round that fails."""

import dataclasses
from collections.abc import Sequence

import grpc
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.config import RunConfig
from tff_pipeline.runs.metrics_file import Row

# What data, memory and machines do. All else is a bug, and shows its traceback.
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
    """Decides by the flags of a run."""

    config: RunConfig

    def of_error(self, attempt: int) -> str:
        """After so many attempts at a round: "retry", "skip" or "stop"."""
        wanted = self.config.on_failed_round
        if wanted == "retry" and attempt > self.config.max_round_retries:
            return "stop"
        return wanted

    def of_update(self) -> str:
        """For an update that is not finite: "skip" or "stop".

        To run the round again would give the same one.
        """
        return "stop" if self.config.on_failed_round == "stop" else "skip"

    def check(self, rows: Sequence[Row]) -> None:
        """Raises `TrainingError` after too many lost rounds in a row."""
        most = self.config.max_consecutive_failures
        last = rows[-most:]
        if len(last) == most and all(r.get("rejected_update") for r in last):
            raise errors.TrainingError(
                f"No update was finite in {most} rounds in a row "
                f"(--max_consecutive_failures), the last being "
                f"{last[-1]['round']}; lower --client_learning_rate, or look "
                "for values in the data that are not finite. The last "
                "checkpoint stands."
            )


def explained(error: BaseException, number: int, attempt: int) -> Exception:
    """The error that ends a run whose round `number` failed."""
    tried = f" (tried {attempt} times)" if attempt > 1 else ""
    if isinstance(error, errors.PipelineError):
        return type(error)(f"Round {number} failed{tried}: {error}")
    why = " ".join(str(error).split())[:300]
    return errors.TrainingError(
        f"Round {number} failed{tried} ({type(error).__name__}: {why}); mend "
        "the cause and give the same command again. The last checkpoint "
        "stands."
    )
