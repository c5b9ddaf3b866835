"""The task of electricity transformers: their oil's temperature for a day."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import ett
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import forecast
from tff_pipeline.objectives import outputs, scaled_error
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

HISTORY = 96  # Known hours.
HORIZON = 24  # Hours to predict, which follow them.


def load_forecast_gru(options: DataConfig, seed: int) -> Task:
    """Returns the task of forecasting the hourly readings of ETTh1 and ETTh2.

    Zhou et al. 2021, "Informer", section 4: 12 months train, 4 are for choosing
    settings and are not read, 4 are the test set. The model is a GRU. A client
    is a station in one calendar month. Errors are counted in the station's
    standard deviation over the months that train, as the literature does; the
    model takes and gives the readings' own units.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    data_dir = options.required_data_dir(
        "the folder of ETTh1.csv.gz and ETTh2.csv.gz"
    )
    stations = ett.load(data_dir)
    readings = ett.training_readings(stations)
    train, owners = ett.training_windows(readings, HISTORY, HORIZON)
    test, test_owners = ett.test_windows(stations, HISTORY, HORIZON)
    names = [station.name for station in stations]
    data = split(
        _with_station(train, owners, names),
        _with_station(test, test_owners, names),
        options,
        seed,
        owners=owners,
        test_owners=test_owners,
    )
    if options.partition == "natural":
        readings = {name: readings[name] for name in data.train.client_ids}
    everything = np.concatenate(list(readings.values())).astype(np.float64)
    deviations = _target_deviations(readings, names)
    # The groups are the stations.
    error_fn = functools.partial(scaled_error.error_by_group, deviations)
    return Task(
        "load_forecast_gru",
        **vars(data),
        model_fn=functools.partial(
            forecast.gru,
            HISTORY,
            HORIZON,
            everything.mean(axis=0).tolist(),
            [float(value) or 1.0 for value in everything.std(axis=0)],
            ett.TARGET,
        ),
        loss_fn=functools.partial(scaled_error.ScaledSquaredError, error_fn),
        metrics_fn=functools.partial(
            scaled_error.scaled_error_metrics, error_fn
        ),
        input_name="history",
        outputs_fn=outputs.value_outputs,
        notes=_notes(data.test, deviations),
    )


def _station(client: str) -> str:
    return client.rpartition("_")[0]


def _with_station(
    examples: Examples, owners: Array, names: Sequence[str]
) -> Examples:
    """Returns labels float32 [n, HORIZON, 2]: temperature, station's number."""
    station_numbers = {
        name: names.index(_station(name)) for name in set(owners)
    }
    stations = np.array([station_numbers[name] for name in owners], np.float32)
    stations = np.broadcast_to(stations[:, np.newaxis], examples.y.shape)
    return Examples(examples.x, np.stack([examples.y, stations], axis=-1))


def _target_deviations(
    readings: dict[str, Array], names: Sequence[str]
) -> list[float]:
    """Returns each station's deviation, or that of all if none of it trains."""
    deviations = []
    for name in names:
        own = [r for client, r in readings.items() if _station(client) == name]
        target = np.concatenate(own or list(readings.values()))[:, ett.TARGET]
        deviations.append(float(np.std(target, dtype=np.float64)) or 1.0)
    return deviations


def _notes(test: Examples, deviations: Sequence[float]) -> str:
    """Says in words the test errors of forecasts that need no model."""
    known = test.x[..., ett.TARGET]
    scale = np.array(deviations)[test.y[..., 1].astype(int)]

    def both(predicted: Array) -> str:
        error = (predicted - test.y[..., 0]) / scale
        return f"{np.mean(error**2):.4f} and {np.mean(np.abs(error)):.4f}"

    return (
        "Errors are in each station's standard deviation over the months that "
        "train. Mean squared and mean absolute error without a model: the last "
        f"hour, repeated, {both(known[:, -1:])}; the last day, repeated, "
        f"{both(known[:, -HORIZON:])}."
    )
