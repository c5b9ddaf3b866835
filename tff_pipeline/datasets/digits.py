"""Scikit-learn's handwritten digits: 1,797 images that need no download.

The test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak 1998): 8x8 pixels of 0 to 16, ten classes.
"""

import numpy as np
from sklearn import datasets, model_selection

from tff_pipeline.datasets.federation.federated_data import Examples

TEST_FRACTION = 0.2


def load() -> tuple[Examples, Examples]:
    """The same 1,437 training and 360 test images every time.

    Returns:
      (train, test); `x` uint8 of shape [n, 8, 8, 1] with values 0 to 16, `y`
      int32 of shape [n] with values 0 to 9, each class in proportion.
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
