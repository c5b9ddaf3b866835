"""Reads TCGA-BRCA: survival of breast-cancer patients of six regions.

The Cancer Genome Atlas Network 2012; prepared by FLamby (Ogier du Terrail et
al. 2022, Fed-TCGA-BRCA), whose files these are and whose split this is.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import delimited

Array = npt.NDArray[Any]

# The regions' names by their numbers in the split file.
REGIONS = ("northeast", "south", "west", "midwest", "europe", "canada")
NUM_FEATURES = 39
_PATIENT, _EVENT, _TIME = "pid", "E", "T"


def load(
    data_dir: str,
) -> tuple[Examples, Examples, Array, Array]:
    """Reads 1,088 patients: 866 to train on and 222 to test on.

    Args:
      data_dir: The folder of `brca.csv` and `train_test_split.csv`.

    Returns:
      (train, test, owners, test_owners). `x` is float32 [n, 39], the features
      of `brca.csv` in its order: the age in years and 38 indicators. `y` is
      float32 [n, 2]: 1 if the patient's death was observed, otherwise 0, and
      the days until it or until the last observation. Owners are the regions'
      names, str [n].

    Raises:
      DataError: If a file is missing or damaged, or the two do not belong
        together; the message names it.
    """
    path = os.path.join(data_dir, "brca.csv")
    frame = delimited.read(path)
    delimited.check_columns(path, frame, [_PATIENT, _EVENT, _TIME])
    features = [name for name in frame if name not in (_PATIENT, _EVENT, _TIME)]
    if len(features) != NUM_FEATURES:
        raise errors.DataError(
            f"{path} has {len(features)} features; FLamby's file has "
            f"{NUM_FEATURES}, so fetch it again."
        )
    x = delimited.numbers(path, frame, features)
    y = delimited.numbers(path, frame, [_EVENT, _TIME])
    if not np.isin(y[:, 0], (0, 1)).all() or y[:, 1].min() < 0:
        raise errors.DataError(
            f"{path} has an event {_EVENT} that is not 0 or 1, or a time "
            f"{_TIME} below 0; fetch it again."
        )
    patients = Examples(x.astype(np.float32), y.astype(np.float32))
    places = pd.Series(range(len(frame)), index=frame[_PATIENT])
    if not places.index.is_unique:
        raise errors.DataError(f"{path} has a patient twice; fetch it again.")
    train, owners = _part(data_dir, "train", places)
    test, test_owners = _part(data_dir, "test", places)
    return patients.take(train), patients.take(test), owners, test_owners


def _part(data_dir: str, which: str, places: pd.Series) -> tuple[Array, Array]:
    """Reads the places and regions of patients to train on or to test on."""
    path = os.path.join(data_dir, "train_test_split.csv")
    frame = delimited.read(path)
    delimited.check_columns(path, frame, [_PATIENT, "fold2"])
    regions = {f"{which}_{number}": name for number, name in enumerate(REGIONS)}
    chosen = frame[frame["fold2"].isin(regions)]
    unknown = chosen[~chosen[_PATIENT].isin(places.index)]
    if len(unknown) or not len(chosen):
        raise errors.DataError(
            f"{path} "
            + (
                f"names patient {unknown[_PATIENT].iloc[0]}, whom brca.csv "
                "does not have"
                if len(unknown)
                else f"puts nobody into {which}_0 to {which}_5"
            )
            + "; fetch both files again."
        )
    rows = places[chosen[_PATIENT]].to_numpy()
    return rows, chosen["fold2"].map(regions).to_numpy(str)
