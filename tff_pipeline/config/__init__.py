"""Defines an experiment by frozen dataclasses, checked when they are made.

Every field is a flag of the same name (optimizers: with the prefix of their
side), every value is checked at construction, and a config that exists can be
run. Options that belong to one partition or one optimizer are `None` unless
that partition or optimizer is chosen; then they hold a number, never `None`.
"""

from tff_pipeline.config.aggregation import AggregationConfig
from tff_pipeline.config.algorithm import AlgorithmConfig
from tff_pipeline.config.attack import AttackConfig
from tff_pipeline.config.clients import (
    SAMPLING_OPTIONS,
    WEIGHTINGS,
    ClientConfig,
)
from tff_pipeline.config.compression import CompressionConfig
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.devices import DeviceConfig
from tff_pipeline.config.experiment import ExperimentConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.config.optimizers import (
    OPTIMIZER_OPTIONS,
    SCHEDULE_OPTIONS,
    SHARED_FIELDS,
    OptimizerConfig,
    ServerConfig,
    optimizer_flag,
)
from tff_pipeline.config.privacy import PrivacyConfig
from tff_pipeline.config.pruning import PruningConfig
from tff_pipeline.config.run import EVAL_CLIENTS, RUNTIME_OPTIONS, RunConfig
from tff_pipeline.config.secure_aggregation import SecureAggregationConfig

__all__ = [
    "EVAL_CLIENTS",
    "OPTIMIZER_OPTIONS",
    "RUNTIME_OPTIONS",
    "SAMPLING_OPTIONS",
    "SCHEDULE_OPTIONS",
    "SHARED_FIELDS",
    "WEIGHTINGS",
    "AggregationConfig",
    "AlgorithmConfig",
    "AttackConfig",
    "ClientConfig",
    "CompressionConfig",
    "DataConfig",
    "DeviceConfig",
    "ExperimentConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PrivacyConfig",
    "PruningConfig",
    "RunConfig",
    "SecureAggregationConfig",
    "ServerConfig",
    "optimizer_flag",
]
