"""`tff.learning` optimizers from their configuration.

Reddi et al. 2021, "Adaptive Federated Optimization", for those that adapt on
the server: FedAdagrad, FedAdam, FedYogi. Options that `config` left `None` do
not belong to the optimizer.
"""

import tensorflow_federated as tff

from tff_pipeline import registry
from tff_pipeline.config import OptimizerConfig
from tff_pipeline.optimizers import rates
from tff_pipeline.optimizers.fed_adam import FedAdam


def build_optimizer(
    options: OptimizerConfig,
) -> tff.learning.optimizers.Optimizer:
    """Builds the optimizer that `options` describes, for either side.

    Args:
      options: The optimizer's name, side and options.

    Returns:
      An optimizer that keeps its learning rate in its state. The server's
      follows its schedule; a client's starts from the configured rate, and
      `rates.with_rate` sets that of the round.
    """
    optimizer = registry.load(options.name, registry.OPTIMIZERS)(options)
    if options.side == "server" and options.scheduled:
        return rates.scheduled(optimizer, options)
    return optimizer


def sgd(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_sgdm(options.learning_rate)


def momentum(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_sgdm(
        options.learning_rate, options.momentum
    )


def adam(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_adam(
        options.learning_rate, options.beta_1, options.beta_2, options.epsilon
    )


def adamw(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_adamw(
        options.learning_rate,
        options.beta_1,
        options.beta_2,
        options.epsilon,
        options.weight_decay,
    )


def fedadam(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    names = ("learning_rate", "beta_1", "beta_2", "epsilon")
    return FedAdam(**{name: getattr(options, name) for name in names})


def yogi(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_yogi(
        options.learning_rate,
        options.beta_1,
        options.beta_2,
        options.epsilon,
        options.initial_accumulator,
    )


def adagrad(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_adagrad(
        options.learning_rate, options.initial_accumulator, options.epsilon
    )


def rmsprop(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    return tff.learning.optimizers.build_rmsprop(
        options.learning_rate, options.decay, options.epsilon
    )
