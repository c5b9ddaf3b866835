"""The task of film ratings: matrix factorisation, each user a client."""

import functools

import numpy as np
import tensorflow as tf

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import movielens
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import split_where
from tff_pipeline.models import factorisation
from tff_pipeline.objectives import outputs
from tff_pipeline.objectives.rating import StarAccuracy
from tff_pipeline.tasks.task import Task

_TEST_FRACTION = 0.2
# The number of factors, and the weight of a rating's penalty. People's ratings
# scatter by almost a star, which many factors would learn by heart without it.
_RANK, _PENALTY = 16, 0.15
# Drawn ratings have as many factors, and half as much noise.
_GENERATED_RANK, _GENERATED_PENALTY = 4, 0.02


def movielens_mf(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting the stars that a user gives a film.

    With `--data_dir`, MovieLens (Harper and Konstan 2015) and factors of rank
    16; without, ratings drawn from known factors of rank 4, see
    `datasets.movielens`. A fifth of each user's ratings, drawn by the seed, is
    tested on. Measures "root_mean_squared_error" and, as "accuracy", how often
    the nearest star (half star, where there are such) is right.

    Training starts from the mean of the ratings that are trained on, and each
    rating has a penalty (Koren et al. 2009, equation 5), see
    `models.factorisation`; the loss that is reported is without it.

    The server averages the factors of all users, though each client moves its
    own alone; Singhal et al. 2021 ("Federated Reconstruction") never send them.

    The exported model takes "user" and "item", text, and refuses those that are
    not in the ratings.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    if options.data_dir is None:
        ratings, _ = movielens.generate(seed)
        rank, penalty = _GENERATED_RANK, _GENERATED_PENALTY
    else:
        ratings = movielens.load(options.data_dir)
        rank, penalty = _RANK, _PENALTY
    owners = np.array(ratings.users)[ratings.pairs[:, 0]]
    is_test = hold_out.mask(len(owners), owners, _TEST_FRACTION, seed)
    everything = Examples(ratings.pairs, ratings.stars)
    data = split_where(is_test, everything, options, seed, owners=owners)
    stars = [data.train.load(name).y for name in data.train.client_ids]
    return Task(
        "movielens_mf",
        **vars(data),
        model_fn=functools.partial(
            factorisation.biased_factorisation,
            len(ratings.users),
            len(ratings.items),
            rank,
            float(np.concatenate(stars).mean()),
            (ratings.step, 5.0),
            penalty=penalty,
        ),
        loss_fn=tf.keras.losses.MeanSquaredError,
        metrics_fn=functools.partial(_metrics, ratings.step),
        outputs_fn=outputs.value_outputs,
        serving_fn=functools.partial(_serving, ratings.users, ratings.items),
    )


def _metrics(step: float) -> list[tf.keras.metrics.Metric]:
    return [
        tf.keras.metrics.RootMeanSquaredError(name="root_mean_squared_error"),
        StarAccuracy(step, name="accuracy"),
    ]


def _serving(
    users: tuple[str, ...], items: tuple[str, ...], model: tf.keras.Model
) -> tf.keras.Model:
    """Makes the model of names, each of shape [batch], as in the files."""
    inputs, places = [], []
    for name, known in (("user", users), ("item", items)):
        inputs.append(tf.keras.Input([], name=name, dtype="string"))
        lookup = tf.keras.layers.StringLookup(
            vocabulary=list(known), num_oov_indices=0
        )
        places.append(tf.cast(lookup(inputs[-1]), tf.int32))
    return tf.keras.Model(inputs, model(tf.stack(places, axis=1)))
