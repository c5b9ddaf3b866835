"""Reads scikit-learn's handwritten digits: 1,797 images, without a download.

The test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak 1998): 8x8 pixels of 0 to 16, ten classes.
"""

import numpy as np
from sklearn import datasets, model_selection

from tff_pipeline.datasets.federation.federated_data import Examples

TEST_FRACTION = 0.2


def load() -> tuple[Examples, Examples]:
    """Reads 1,437 training and 360 test images, the same at every call.

    Example:
      >>> train, test = load()
      >>> train.x.shape, len(test)
      ((1437, 8, 8, 1), 360)

    Returns:
      (train, test); `x` is uint8 [n, 8, 8, 1] with values from 0 to 16, `y`
      int32 [n] with values from 0 to 9, the classes in proportion in both.
    """
    digits = datasets.load_digits()
    images = digits.images.astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    train_x, test_x, train_y, test_y = model_selection.train_test_split(
        images,
        labels,
        test_size=TEST_FRACTION,
        stratify=labels,
        random_state=0,
    )
    return Examples(train_x, train_y), Examples(test_x, test_y)
