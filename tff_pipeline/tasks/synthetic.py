"""Synthetic(alpha, beta) of Li et al. 2020: softmax regression."""

import functools
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import synthetic
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import linear
from tff_pipeline.tasks.task import Task


def synthetic_iid(options: DataConfig, seed: int) -> Task:
    """All devices alike; 610 parameters."""
    return _task("synthetic_iid", None, options, seed)


def synthetic_0_0(options: DataConfig, seed: int) -> Task:
    """Devices with models and inputs of their own, around zero."""
    return _task("synthetic_0_0", (0.0, 0.0), options, seed)


def synthetic_05_05(options: DataConfig, seed: int) -> Task:
    """Devices whose models and inputs differ more."""
    return _task("synthetic_0.5_0.5", (0.5, 0.5), options, seed)


def synthetic_1_1(options: DataConfig, seed: int) -> Task:
    """Devices whose models and inputs differ most."""
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
        **vars(split(train, test, options, seed, owners, test_owners)),
        model_fn=functools.partial(
            linear.regression, synthetic.FEATURES, synthetic.CLASSES
        ),
        input_name="features",
    )
