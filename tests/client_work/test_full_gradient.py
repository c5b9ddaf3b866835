"""Numbers of examples that a gradient of all is taken of at once."""

import pytest
import tensorflow as tf

from tff_pipeline.client_work.full_gradient import examples_at_once
from tff_pipeline.config import ClientConfig


@pytest.mark.parametrize(
    ("x", "y", "options", "expected"),
    [
        ([3], [], {}, 256),
        ([28, 28, 1], [], {}, (1 << 17) // 784),
        # Large images, long texts and shapes that are not known.
        ([224, 224, 3], [], {}, 10),
        ([80], [80], {}, 10),
        ([None], [], {}, 10),
        (None, [], {}, 10),
        # What clients are told is what they do.
        ([3], [], {"batch_size": 1000}, 1000),
        ([3], [], {"micro_batch_size": 2}, 2),
    ],
)
def test_how_many_examples_are_computed_at_once(x, y, options, expected):
    clients = ClientConfig(**{"batch_size": 10, **options})
    shapes = tf.TensorShape(x), tf.TensorShape(y)
    assert examples_at_once(clients, *shapes) == expected
