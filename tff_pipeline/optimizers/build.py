"""Builds `tff.learning` optimizers from their configuration.

On the server fedadagrad, fedadam and fedyogi are the adaptive methods of Reddi
et al. 2021, "Adaptive Federated Optimization". `config` has settled the options
of the chosen optimizer; all others are `None`.
"""

import tensorflow_federated as tff

from tff_pipeline import registry
from tff_pipeline.config import OptimizerConfig
from tff_pipeline.optimizers import rates
from tff_pipeline.optimizers.fed_adam import FedAdagrad, FedAdam, FedYogi
from tff_pipeline.optimizers.muon import Muon

_FED_ADAM = ("learning_rate", "beta_1", "beta_2", "epsilon")


def build_optimizer(
    options: OptimizerConfig,
) -> tff.learning.optimizers.Optimizer:
    """Builds the optimizer that `options` describes, for either side.

    Example:
      >>> import tensorflow as tf
      >>> optimizer = build_optimizer(OptimizerConfig("client", "sgd", 0.5))
      >>> state = optimizer.initialize(tf.TensorSpec([2]))
      >>> ones = tf.ones([2])
      >>> optimizer.next(state, ones, ones)[1].numpy().tolist()
      [0.5, 0.5]

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
    """Builds stochastic gradient descent: w - rate * g.

    Args:
      options: The rate is used.
    """
    return tff.learning.optimizers.build_sgdm(options.learning_rate)


def momentum(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds SGD with momentum: v = momentum * v + g, w - rate * v.

    Args:
      options: `learning_rate` and `momentum` are used.
    """
    return tff.learning.optimizers.build_sgdm(
        options.learning_rate, options.momentum
    )


def adam(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds Adam (Kingma and Ba 2015, algorithm 1).

    Args:
      options: `learning_rate`, `beta_1`, `beta_2` and `epsilon` are used.
    """
    return tff.learning.optimizers.build_adam(
        options.learning_rate, options.beta_1, options.beta_2, options.epsilon
    )


def adamw(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Args:
      options: The fields of `adam` and `weight_decay` are used.
    """
    return tff.learning.optimizers.build_adamw(
        options.learning_rate,
        options.beta_1,
        options.beta_2,
        options.epsilon,
        options.weight_decay,
    )


def fedadam(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds FedAdam (Reddi et al. 2021, algorithm 2), see `FedAdam`.

    Args:
      options: `learning_rate`, `beta_1`, `beta_2` and `epsilon` are used.
    """
    return FedAdam(**{name: getattr(options, name) for name in _FED_ADAM})


def fedyogi(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds FedYogi (Reddi et al. 2021, algorithm 2), see `FedYogi`.

    Args:
      options: `learning_rate`, `beta_1`, `beta_2` and `epsilon` are used.
    """
    return FedYogi(**{name: getattr(options, name) for name in _FED_ADAM})


def fedadagrad(
    options: OptimizerConfig,
) -> tff.learning.optimizers.Optimizer:
    """Builds FedAdagrad (Reddi et al. 2021, algorithm 2), see `FedAdagrad`.

    Args:
      options: `learning_rate`, `beta_1` and `epsilon` are used.
    """
    names = ("learning_rate", "beta_1", "epsilon")
    return FedAdagrad(**{name: getattr(options, name) for name in names})


def yogi(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds Yogi (Zaheer et al. 2018, algorithm 2).

    Args:
      options: The fields of `adam` and `initial_accumulator` are used.
    """
    return tff.learning.optimizers.build_yogi(
        options.learning_rate,
        options.beta_1,
        options.beta_2,
        options.epsilon,
        options.initial_accumulator,
    )


def adagrad(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds Adagrad (Duchi et al. 2011).

    Args:
      options: `learning_rate`, `initial_accumulator` and `epsilon` are used.
    """
    return tff.learning.optimizers.build_adagrad(
        options.learning_rate, options.initial_accumulator, options.epsilon
    )


def rmsprop(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds RMSprop (Tieleman and Hinton 2012).

    Args:
      options: `learning_rate`, `decay` and `epsilon` are used.
    """
    return tff.learning.optimizers.build_rmsprop(
        options.learning_rate, options.decay, options.epsilon
    )


def muon(options: OptimizerConfig) -> tff.learning.optimizers.Optimizer:
    """Builds Muon (Jordan et al. 2024), see `Muon`.

    Args:
      options: `learning_rate`, `momentum`, `beta_1`, `beta_2`, `epsilon` and
        the fields that begin with `adam_` are used.
    """
    names = ("learning_rate", "momentum", "beta_1", "beta_2", "epsilon")
    adam = ("adam_factor", "adam_first", "adam_last")
    return Muon(**{name: getattr(options, name) for name in (*names, *adam)})
