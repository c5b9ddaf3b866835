"""Errors of a secure sum: why a message or a round is refused.

All are `TrainingError`: a round that ends with one is lost by the run's policy
(`--on_failed_round`), and the model stays as it was.
"""

from tff_pipeline import errors


class SecureSumError(errors.TrainingError):
    """Reports that a secure sum cannot be taken."""


class MalformedMessageError(SecureSumError):
    """Reports a message that is cut short, too long or of another format."""


class ForgedMessageError(SecureSumError):
    """Reports a message that its sender did not make, or not like this."""


class ReplayedMessageError(SecureSumError):
    """Reports a message of another session or round, or one that came twice."""


class OutOfOrderError(SecureSumError):
    """Reports a message of a stage that is over or has not begun."""


class UnfairRequestError(SecureSumError):
    """Reports a request of the server by which it could learn too much."""


class TooFewClientsError(SecureSumError):
    """Reports that fewer clients are left than the threshold."""


class ModulusError(SecureSumError):
    """Reports a sum that its modulus does not hold."""
