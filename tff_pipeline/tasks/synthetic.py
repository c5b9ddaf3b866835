"""Tasks Synthetic(alpha, beta) of Li et al. 2020: softmax regression."""

import functools
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import synthetic
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import linear
from tff_pipeline.tasks.task import Task


def synthetic_iid(options: DataConfig, seed: int) -> Task:
    """Returns the task whose devices are all alike; 610 parameters.

    Li et al. 2020, "Federated Optimization in Heterogeneous Networks", section
    5.1, "Synthetic IID".

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
    """
    return _task("synthetic_iid", None, options, seed)


def synthetic_0_0(options: DataConfig, seed: int) -> Task:
    """Returns the task whose devices' models and inputs differ around zero.

    Li et al. 2020, section 5.1, Synthetic(0, 0).

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
    """
    return _task("synthetic_0_0", (0.0, 0.0), options, seed)


def synthetic_05_05(options: DataConfig, seed: int) -> Task:
    """Returns the task whose devices' models and inputs differ more.

    Li et al. 2020, section 5.1, Synthetic(0.5, 0.5).

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
    """
    return _task("synthetic_0.5_0.5", (0.5, 0.5), options, seed)


def synthetic_1_1(options: DataConfig, seed: int) -> Task:
    """Returns the task whose devices' models and inputs differ most.

    Li et al. 2020, section 5.1, Synthetic(1, 1).

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
    """
    return _task("synthetic_1_1", (1.0, 1.0), options, seed)


def _task(
    name: str,
    heterogeneity: Optional[tuple[float, float]],
    options: DataConfig,
    seed: int,
) -> Task:
    if options.data_dir is not None:
        raise errors.ConfigError(
            f"--data_dir={options.data_dir} is not used with --task={name}, "
            "whose data are drawn by --seed; leave it out."
        )
    train, test, owners, test_owners = synthetic.generate(heterogeneity, seed)
    return Task(
        name,
        **vars(
            split(
                train,
                test,
                options,
                seed,
                owners=owners,
                test_owners=test_owners,
            )
        ),
        model_fn=functools.partial(
            linear.regression, synthetic.FEATURES, synthetic.CLASSES
        ),
        input_name="features",
    )
