"""Draws Synthetic(alpha, beta): devices that differ to a chosen degree.

Li et al. 2020, "Federated Optimization in Heterogeneous Networks", section 5.1
and appendix C.1, after Shamir et al. 2014.
"""

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import randomness
from tff_pipeline.datasets.federation.federated_data import Examples

Array = npt.NDArray[Any]

DEVICES, FEATURES, CLASSES = 30, 60, 10
# The paper's sizes have no bound: now and then a device would have as many
# examples as all others together.
MOST_EXAMPLES = 5000
_FEWEST_EXAMPLES = 50
_TEST_FRACTION = 0.1


def generate(
    heterogeneity: Optional[tuple[float, float]], seed: int
) -> tuple[Examples, Examples, Array, Array]:
    """Draws 30 devices, each with its own softmax regression and inputs.

    A device has lognormal(4, 2) + 50 examples, rounded down, at most 5,000. Its
    labels are argmax(W x + b). All elements of W and b are drawn from N(u, 1),
    with u from N(0, alpha). Its inputs x are drawn from N(v, S), with S
    diagonal, S_jj = j^-1.2, all elements of v from N(B, 1), and B from
    N(0, beta). Alpha and beta are standard deviations, as in the authors' code.

    Example:
      >>> train, test, owners, _ = generate((0.5, 0.5), seed=0)
      >>> train.x.shape[1], np.unique(owners).size
      (60, 30)

    Args:
      heterogeneity: (alpha, beta); `None` for devices that are all alike, with
        one W and b drawn from N(0, 1), and v = 0.
      seed: The experiment's seed.

    Returns:
      (train, test, owners, test_owners). A tenth of each device's examples is
      to test on. `x` is float32 [n, 60], `y` int32 [n] from 0 to 9; owners are
      the devices' names, str [n].
    """
    common = randomness.generator(seed, "synthetic")
    sizes = common.lognormal(4, 2, DEVICES).astype(int) + _FEWEST_EXAMPLES
    deviations = np.arange(1, FEATURES + 1) ** -0.6
    weights = common.normal(size=[FEATURES, CLASSES])
    biases = common.normal(size=CLASSES)
    parts: list[tuple[Examples, Examples]] = []
    for device, size in enumerate(np.minimum(sizes, MOST_EXAMPLES)):
        draw = randomness.generator(seed, "synthetic", device)
        centre = np.zeros(FEATURES)
        if heterogeneity is not None:
            alpha, beta = heterogeneity
            model_mean, input_mean = draw.normal(0, [alpha, beta])
            weights = draw.normal(model_mean, 1, [FEATURES, CLASSES])
            biases = draw.normal(model_mean, 1, CLASSES)
            centre = draw.normal(input_mean, 1, FEATURES)
        x = draw.normal(centre, deviations, [size, FEATURES])
        labels = np.argmax(x @ weights + biases, axis=1)
        mine = Examples(x.astype(np.float32), labels.astype(np.int32))
        cut = size - max(1, round(size * _TEST_FRACTION))
        parts.append(
            (mine.take(np.arange(cut)), mine.take(np.arange(cut, size)))
        )
    names = [f"device_{device:02d}" for device in range(DEVICES)]
    train, test = (
        Examples(
            np.concatenate([part.x for part in side]),
            np.concatenate([part.y for part in side]),
        )
        for side in zip(*parts)
    )
    owners, test_owners = (
        np.repeat(names, [len(part) for part in side]) for side in zip(*parts)
    )
    return train, test, owners, test_owners
