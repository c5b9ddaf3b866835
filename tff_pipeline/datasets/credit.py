"""Reads applicants for credit and people's incomes from UCI's files.

Hofmann 1994, "Statlog (German Credit Data)"; Yeh and Lien 2009, "The
Comparisons of Data Mining Techniques" (default of credit card clients); Kohavi
1996, "Scaling Up the Accuracy of Naive-Bayes Classifiers" (adult).
"""

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import pandas as pd

from tff_pipeline import errors
from tff_pipeline.datasets.readers import delimited
from tff_pipeline.datasets.readers.column import Column

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Applicants:
    """Rows of a table with their classes and clients.

    Attributes:
      columns: The features.
      y: int32 of shape [rows], the class to predict: 1 for a bad risk, a
        default or a high income, otherwise 0.
      owners: str of shape [rows], the client of each row.
      coded: The names of columns of numbers that are codes.
      is_test: bool of shape [rows], true for test rows; `None` if the files do
        not say which these are.
    """

    columns: Sequence[Column]
    y: Array
    owners: Array
    coded: Collection[str] = ()
    is_test: Optional[Array] = None


_GERMAN = {
    "status": str,
    "duration": float,
    "history": str,
    "purpose": str,
    "amount": float,
    "savings": str,
    "employment": str,
    "installment_rate": float,
    "personal_status": str,
    "debtors": str,
    "residence": float,
    "property": str,
    "age": float,
    "installment_plans": str,
    "housing": str,
    "credits": float,
    "job": str,
    "dependents": float,
    "telephone": str,
    "foreign_worker": str,
}
_PURPOSES = {
    "A40": "new_car",
    "A41": "used_car",
    "A42": "furniture",
    "A43": "television",
    "A44": "appliances",
    "A45": "repairs",
    "A46": "education",
    "A47": "vacation",
    "A48": "retraining",
    "A49": "business",
    "A410": "others",
}


def german(data_dir: str) -> Applicants:
    """Reads Statlog German Credit: 1,000 applicants, 300 of them bad risks.

    Args:
      data_dir: The folder of `german.data`.

    Returns:
      20 columns, 13 of them codes such as "A11"; `y` is 1 for class 2, a bad
      risk. Clients are the purposes of credits, attribute 4.

    Raises:
      DataError: If the file is missing or damaged.
    """
    path = os.path.join(data_dir, "german.data")
    frame = delimited.read(path, [*_GERMAN, "class"], separator=" ")
    return Applicants(
        _columns(path, frame, _GERMAN),
        _classes(path, frame, "class", {"1": 0, "2": 1}),
        frame["purpose"]
        .map(lambda code: _PURPOSES.get(code, code))
        .to_numpy(str),
    )


_STATES = [f"PAY_{month}" for month in (0, 2, 3, 4, 5, 6)]
_DEFAULT = {
    "LIMIT_BAL": float,
    "SEX": int,
    "EDUCATION": int,
    "MARRIAGE": int,
    "AGE": float,
    **dict.fromkeys(_STATES, int),
    **{f"BILL_AMT{month}": float for month in range(1, 7)},
    **{f"PAY_AMT{month}": float for month in range(1, 7)},
}
_DEFAULT_FILES = (
    "default of credit card clients.csv",
    "default_of_credit_card_clients.csv",
    "UCI_Credit_Card.csv",
)
_DEFAULT_LABELS = (
    "default payment next month",
    "default.payment.next.month",
)


def credit_default(data_dir: str) -> Applicants:
    """Reads 30,000 credit card holders in Taiwan, of whom 6,636 defaulted.

    Args:
      data_dir: The folder of UCI's sheet, saved as CSV, with its two lines of
        names or only the second.

    Returns:
      23 columns, 9 of them codes: sex, education, marriage and the states of
      payment in six months. Clients are the levels of education,
      "education_0" to "education_6".

    Raises:
      DataError: If the file is missing or damaged.
    """
    path = _first_of(data_dir, _DEFAULT_FILES)
    # The first of two lines of names has X1, X2 and so on.
    frame = delimited.read(path, comment="X1")
    if "LIMIT_BAL" not in frame:
        names = frame.iloc[0].to_list()
        frame = frame.iloc[1:].set_axis(names, axis=1)
    label = next((n for n in _DEFAULT_LABELS if n in frame), _DEFAULT_LABELS[0])
    delimited.check_columns(path, frame, [*_DEFAULT, label])
    return Applicants(
        _columns(path, frame, _DEFAULT),
        _classes(path, frame, label, {"0": 0, "1": 1}),
        ("education_" + frame["EDUCATION"]).to_numpy(str),
        [name for name, kind in _DEFAULT.items() if kind is int],
    )


_ADULT = {
    "age": float,
    "workclass": str,
    "fnlwgt": float,
    "education": str,
    "education_num": float,
    "marital_status": str,
    "occupation": str,
    "relationship": str,
    "race": str,
    "sex": str,
    "capital_gain": float,
    "capital_loss": float,
    "hours_per_week": float,
    "native_country": str,
}


def adult(data_dir: str) -> Applicants:
    """Reads Adult, people of the US census of 1994 and their incomes.

    Args:
      data_dir: The folder of `adult.data`, 32,561 people to train on, and
        `adult.test`, 16,281 to test on.

    Returns:
      14 columns, 8 of them words, "?" where missing; `y` is 1 for more than
      50,000 dollars a year. Clients are occupations, "unknown" where missing;
      not native countries, which nine of ten people share.

    Raises:
      DataError: If a file is missing or damaged.
    """
    frames, classes = [], []
    for name, end in (("adult.data", ""), ("adult.test", ".")):
        path = os.path.join(data_dir, name)
        # The first line of the test file is a remark.
        frame = delimited.read(path, [*_ADULT, "income"], comment="|")
        known = {f"<=50K{end}": 0, f">50K{end}": 1}
        classes.append(_classes(path, frame, "income", known))
        # Checks each file by itself, so that errors name its lines.
        _columns(path, frame, _ADULT)
        frames.append(frame)
    both = pd.concat(frames, ignore_index=True)
    return Applicants(
        _columns(data_dir, both, _ADULT),
        np.concatenate(classes),
        both["occupation"].replace("?", "unknown").to_numpy(str),
        is_test=np.repeat([False, True], [len(frame) for frame in frames]),
    )


def _first_of(data_dir: str, names: Sequence[str]) -> str:
    for path in (os.path.join(data_dir, name) for name in names):
        if os.path.exists(path):
            return path
    raise errors.DataError(
        f"{os.path.join(data_dir, names[0])} does not exist (nor as "
        f"{' or '.join(names[1:])}); save UCI's sheet as CSV there."
    )


def _columns(
    path: str, frame: pd.DataFrame, kinds: Mapping[str, type]
) -> list[Column]:
    """Converts columns: words where `kinds` has str, otherwise numbers."""
    columns = []
    for name, kind in kinds.items():
        if kind is not str:
            values = delimited.numbers(path, frame, [name])[:, 0]
            columns.append(Column(name, values))
            continue
        known = tuple(sorted(set(frame[name]) - {"?"}))
        place = {category: number for number, category in enumerate(known)}
        codes = frame[name].map(lambda text, of=place: of.get(text, -1))
        columns.append(Column(name, codes.to_numpy(np.int32), known))
    return columns


def _classes(
    path: str, frame: pd.DataFrame, name: str, known: dict[str, int]
) -> Array:
    wrong = ~frame[name].isin(known)
    if wrong.any():
        line = frame.index[np.argmax(wrong)]
        raise errors.DataError(
            f"{path}, line {line}, has the class {frame[name][line]!r}; it "
            f"must be {' or '.join(known)}."
        )
    return frame[name].map(known).to_numpy(np.int32)
