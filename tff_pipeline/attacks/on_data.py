"""Attacks on the examples that an attacker trains on."""

import numpy as np

from tff_pipeline import errors
from tff_pipeline.attacks.attack import Array, Attack, AttackContext
from tff_pipeline.attacks.on_update import Scaled
from tff_pipeline.datasets.federation.federated_data import Examples

# The share of an attacker's examples that have the pattern: it must learn the
# task, too, or its updates would stand out.
_SHARE = 0.5
# Height and width of the pattern, in pixels.
_SIDE = 3


def label_flip(context: AttackContext) -> Attack:
    """Turns class c into the last class minus c, as 9 - c of ten digits.

    Args:
      context: The arguments of the attack.

    Raises:
      ConfigError: If the task does not predict classes.
    """
    _check_classes(context)
    last = len(context.task.class_names) - 1

    def flipped(examples: Examples, _: np.random.Generator) -> Examples:
        labels = (last - examples.y).astype(examples.y.dtype)
        return Examples(examples.x, labels)

    return Attack(on_data=flipped)


def backdoor(context: AttackContext) -> Attack:
    """Teaches the model that images with a pattern are of the target class.

    Gu et al. 2017, "BadNets": half of an attacker's examples, drawn anew in
    every round, have a white square in the corner and the target's label. With
    `--attack_scale` above 1 its update is scaled as well, which is the model
    replacement of Bagdasaryan et al. 2020.

    Args:
      context: The arguments of the attack.

    Raises:
      ConfigError: If the task is not one of images that are of classes, or has
        no such class.
    """
    _check_classes(context)
    config, task = context.config, context.task
    assert config.attack_scale is not None  # `AttackConfig` sees to both.
    assert config.attack_target is not None
    target, classes = config.attack_target, len(task.class_names)
    shape = task.test.x.shape[1:]
    if len(shape) != 3 or min(shape[:2]) <= _SIDE:
        raise errors.ConfigError(
            f"--attack=backdoor draws a pattern into images, and the inputs of "
            f"--task={task.name} have the shape {tuple(shape)}; choose another "
            "attack, such as label_flip."
        )
    if target >= classes:
        raise errors.ConfigError(
            f"--attack_target={target} is none of the {classes} classes of "
            f"--task={task.name}, counted from 0; lower it."
        )

    def poisoned(examples: Examples, draw: np.random.Generator) -> Examples:
        chosen = draw.random(len(examples)) < _SHARE
        x, y = examples.x.copy(), examples.y.copy()
        x[chosen], y[chosen] = with_square(x[chosen]), target
        return Examples(x, y)

    scale = config.attack_scale
    return Attack(
        on_data=poisoned,
        on_update=None if scale == 1 else Scaled(scale),
        trigger=with_square,
        target=target,
    )


def with_square(images: Array) -> Array:
    """Draws a white square into the lower right corner of images.

    Args:
      images: Of shape [n, height, width, channels]; white is 255 if they are
        integers, else 1.

    Returns:
      Copies of them.

    >>> with_square(np.zeros([1, 5, 5, 1], np.uint8))[0, :, :, 0].sum()
    2295
    """
    images = images.copy()
    white = 255 if np.issubdtype(images.dtype, np.integer) else 1
    images[:, -_SIDE:, -_SIDE:] = white
    return images


def _check_classes(context: AttackContext) -> None:
    task = context.task
    if task.predicts != "class":
        raise errors.ConfigError(
            f"--attack={context.config.name} changes the classes of examples, "
            f"and --task={task.name} does not predict one of an example; "
            "choose an attack on updates, such as sign_flip_own."
        )
