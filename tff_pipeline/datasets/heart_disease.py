"""Reads UCI Heart Disease: patients of four hospitals, chosen as in FLamby.

Detrano et al. 1989; Ogier du Terrail et al. 2022, "FLamby", section 3
(Fed-Heart-Disease): the columns slope, ca and thal, mostly missing outside
Cleveland, are left out, then every patient with a value missing. 740 of 920
remain: 303 in Cleveland, 261 in Hungary, 46 in Switzerland and 130 at the VA.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import model_selection

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import delimited

Array = npt.NDArray[Any]

# A hospital's number in `x` is its place here plus one; 0 is any other.
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
ATTRIBUTES = (
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
)
_LEFT_OUT = ("slope", "ca", "thal")
_DIAGNOSIS = "num"
_TEST_FRACTION = 0.34
# FLamby's, the same for every seed of an experiment, so that figures compare.
_SPLIT_SEED = 43


def load(
    data_dir: str,
) -> tuple[Examples, Examples, Array, Array]:
    """Reads all patients without missing values, in FLamby's split.

    Of every hospital's patients two thirds are to train on and one third to
    test on, with sick and healthy ones in proportion, except in Switzerland,
    where one patient is healthy. The split does not depend on the experiment's
    seed.

    Args:
      data_dir: The folder of `processed.cleveland.data` and its three siblings.

    Returns:
      (train, test, owners, test_owners). `x` is float32 [n, 11]: the hospital's
      number, from 1, then `ATTRIBUTES` as in the files. `y` is float32 [n, 1]:
      1 for a diseased patient (`num` above 0), otherwise 0. Owners are the
      hospitals' names, str [n].

    Raises:
      DataError: If a file is missing or damaged; the message names it.
    """
    parts: dict[str, list[Examples]] = {"train": [], "test": []}
    owners: dict[str, list[Array]] = {"train": [], "test": []}
    for number, hospital in enumerate(HOSPITALS, start=1):
        patients = _hospital(data_dir, hospital, number)
        sick = patients.y[:, 0]
        both_kinds = min(sick.sum(), (1 - sick).sum()) > 2
        train, test = model_selection.train_test_split(
            np.arange(len(patients)),
            test_size=_TEST_FRACTION,
            random_state=_SPLIT_SEED,
            stratify=sick if both_kinds else None,
        )
        for which, rows in (("train", train), ("test", test)):
            parts[which].append(patients.take(np.sort(rows)))
            owners[which].append(np.full(len(rows), hospital))

    def joined(which: str) -> Examples:
        return Examples(
            np.concatenate([part.x for part in parts[which]]),
            np.concatenate([part.y for part in parts[which]]),
        )

    return (
        joined("train"),
        joined("test"),
        np.concatenate(owners["train"]),
        np.concatenate(owners["test"]),
    )


def _path(data_dir: str, hospital: str) -> str:
    return os.path.join(data_dir, f"processed.{hospital}.data")


def _hospital(data_dir: str, hospital: str, number: int) -> Examples:
    """Reads a hospital's patients without missing values."""
    path = _path(data_dir, hospital)
    used = [*ATTRIBUTES, _DIAGNOSIS]
    frame = delimited.read(path, [*ATTRIBUTES, *_LEFT_OUT, _DIAGNOSIS])
    values = delimited.numbers(path, frame, used, missing="?")
    values = values[~np.isnan(values).any(axis=1)]
    if len(values) < 2:
        raise errors.DataError(
            f"{path} has {len(values)} patients without missing values, "
            "but training and testing need at least two; fetch it again."
        )
    x = np.insert(values[:, :-1], 0, number, axis=1)
    return Examples(
        x.astype(np.float32), (values[:, -1:] > 0).astype(np.float32)
    )
