"""The task of UCI Heart Disease: four hospitals, a logistic regression."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import heart_disease
from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import linear
from tff_pipeline.objectives import binary, outputs
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]


def heart_disease_logistic(options: DataConfig, seed: int) -> Task:
    """Returns the task of diagnosing heart disease from 13 features.

    Data, split, features and model (14 parameters) are those of FLamby's
    Fed-Heart-Disease (Ogier du Terrail et al. 2022, section 3 and appendix):
    every hospital standardises by the mean and deviation of its own training
    patients. The statistics of all hospitals that train stand in for a hospital
    that does not train, for one that the exported model does not know, and for
    all where clients are not hospitals but another `--partition`'s (FLamby's
    pooled training). A feature that does not vary in a hospital is centred
    only, where FLamby divides it by 1e-9.

    The exported model takes a patient's columns by name, as in the files, and
    "hospital", text.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    data_dir = options.required_data_dir(
        "the folder of UCI's files processed.cleveland.data, "
        "processed.hungarian.data, processed.switzerland.data and "
        "processed.va.data"
    )
    train, test, owners, test_owners = heart_disease.load(data_dir)
    data = split(
        train, test, options, seed, owners=owners, test_owners=test_owners
    )
    by_hospital = options.partition == "natural"
    means, deviations = _statistics(data.train, by_hospital)
    return Task(
        "heart_disease_logistic",
        **vars(data),
        model_fn=functools.partial(linear.patient_logistic, means, deviations),
        loss_fn=binary.logit_cross_entropy,
        metrics_fn=lambda: [binary.logit_accuracy()],
        outputs_fn=outputs.label_outputs,
        serving_fn=_serving,
    )


def _statistics(
    clients: FederatedData, by_hospital: bool
) -> tuple[Array, Array]:
    """Returns means and deviations of features by hospital's number.

    Returns:
      (means, deviations), float32 [hospitals + 1, 13], over the patients of
      `clients`. Row 0 is over all patients, and so is the row of a hospital
      that has fewer than two, and every row if not `by_hospital`.
    """
    x = np.concatenate([clients.load(each).x for each in clients.client_ids])
    features = linear.encode_patients(tf.constant(x)).numpy()
    rows = []
    for number in range(len(heart_disease.HOSPITALS) + 1):
        mine = features[x[:, 0] == number]
        chosen = mine if by_hospital and len(mine) > 1 else features
        deviation = np.std(chosen, axis=0, ddof=1)
        deviation[deviation == 0] = 1.0
        rows.append((np.mean(chosen, axis=0), deviation))
    means, deviations = zip(*rows)
    return np.stack(means), np.stack(deviations)


def _serving(model: tf.keras.Model) -> tf.keras.Model:
    """Makes the model of a patient's columns, each of shape [batch]."""
    hospital = tf.keras.Input([], name="hospital", dtype="string")
    columns = [
        tf.keras.Input([], name=name) for name in heart_disease.ATTRIBUTES
    ]
    # Hospitals become 1, 2 and so on, an unknown one 0.
    number = tf.keras.layers.StringLookup(
        vocabulary=list(heart_disease.HOSPITALS)
    )(hospital)
    patient = tf.stack([tf.cast(number, tf.float32), *columns], axis=1)
    return tf.keras.Model([hospital, *columns], model(patient))
