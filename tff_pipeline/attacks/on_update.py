"""Attacks on the message that leaves an attacker, which knows no other."""

from typing import Any

import tensorflow as tf

from tff_pipeline.attacks.attack import Attack, AttackContext, Marked
from tff_pipeline.client_work.hooks import Finished, Message


class Scaled(Marked):
    """Multiplies all that leaves an attacker, but for its weight."""

    def __init__(self, factor: float):
        """Makes the hook.

        Args:
          factor: The factor; below 0 the update leads back, at 0 it is gone.
        """
        self._factor = factor

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Multiplies update and extras, if the client attacks.

        Args:
          message: The message as the hooks before this one left it.
          state: Not used.
          client: The client after its last step.

        Returns:
          (the message, the state as it was).
        """
        attacks = client.block["mark"] > 0

        def scaled(value: tf.Tensor) -> tf.Tensor:
            factor = tf.where(attacks, self._factor, 1.0)
            return value * tf.cast(factor, value.dtype)

        sent = (message.update, message.extras)
        update, extras = tf.nest.map_structure(scaled, sent)
        return message._replace(update=update, extras=extras), state


def sign_flip_own(context: AttackContext) -> Attack:
    """Sends the opposite of what the attacker learned, times a scale.

    Li et al. 2019 (RSA) and bit flips of Karimireddy et al. 2022; the opposite
    of the honest mean is `on_cohort.sign_flip_mean`.

    Args:
      context: The arguments of the attack.
    """
    scale = context.config.attack_scale
    assert scale is not None  # `AttackConfig` sees to it.
    return Attack(on_update=Scaled(-scale))


def scale(context: AttackContext) -> Attack:
    """Multiplies the update so that the mean becomes the attacker's model.

    Bagdasaryan et al. 2020, "How To Backdoor Federated Learning", equation 3,
    with a server that steps by the mean: the factor is the number of clients of
    a round, unless `--attack_scale` is set.

    Args:
      context: The arguments of the attack.
    """
    factor = context.config.attack_scale or float(context.cohort_size)
    note = f"Attackers multiply what they learned by {factor:g}."
    return Attack(on_update=Scaled(factor), note=note)


def free_rider(context: AttackContext) -> Attack:
    """Sends the model back as it came, and claims the weight of its data.

    Fraboni et al. 2021, "Free-rider Attacks on Model Aggregation in Federated
    Learning", section 3.1, the plain one.

    Args:
      context: The arguments of the attack.
    """
    del context
    return Attack(on_update=Scaled(0.0))
