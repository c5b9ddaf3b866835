"""Makes the private aggregations, one function for each aggregator.

Each function takes a context with a privacy plan, and returns the aggregation
whose noise the plan accounts for. `config.privacy` has the aggregators' flags.
"""

import dataclasses
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
    Factory,
)
from tff_pipeline.aggregators.private import dp_mean, key_stream, noise
from tff_pipeline.aggregators.private.distributed import (
    NumberedDistributedDpMeanFactory,
)
from tff_pipeline.aggregators.private.grid_mean import GridDpMeanFactory
from tff_pipeline.aggregators.private.recorded import RecordedFactory
from tff_pipeline.client_work.hooks import ClientHook, NumberedClients
from tff_pipeline.client_work.local_noise import LocalNoise
from tff_pipeline.config.privacy import SAMPLINGS_OF
from tff_pipeline.privacy.canaries import Canaries
from tff_pipeline.privacy.plan import Plan

# What private aggregators do on clients, but for what hooks say.
_IN_WORDS = {
    "dp_distributed": "clipped, rounded, with the client's share of the noise",
}


def client_hooks(plan: Plan) -> list[ClientHook]:
    """Returns the hooks that a plan needs on clients, in order.

    Args:
      plan: The plan of a private aggregator.
    """
    hooks: list[ClientHook] = []
    if plan.num_canaries:
        hooks.append(Canaries(plan.canary_key))
    if plan.aggregator == "dp_local":
        hooks.append(
            LocalNoise(plan.clip, plan.noise_multiplier, plan.noise_key)
        )
    if plan.aggregator == "dp_distributed":
        hooks.append(NumberedClients())
    return hooks


def _aggregation(plan: Plan, factory: Factory) -> Aggregation:
    """Describes the aggregation of `plan`; canaries need what is released."""
    if plan.num_canaries:
        factory = RecordedFactory(factory)
    adapts = plan.options.dp_initial_clip is not None

    def measure(measurements: Any) -> dict[str, float]:
        return {"clip": float(measurements["clip"])} if adapts else {}

    return Aggregation(
        factory,
        plan,
        SAMPLINGS_OF[plan.setting.mechanism],
        plan.columns,
        measure,
        secure=plan.aggregator == "dp_distributed",
        describe=_IN_WORDS.get(plan.aggregator, ""),
        noise_on_clients=plan.aggregator == "dp_local",
    )


def dp_gaussian(context: AggregationContext) -> Aggregation:
    """Clips, sums up and adds fresh noise every round (McMahan et al. 2018).

    With `--dp_secure_noise` sums are of integers and their noise is exact.

    Args:
      context: Has a plan of this aggregator.
    """
    plan = _plan(context)
    if plan.options.dp_secure_noise:
        key_stream.library()
        factory = GridDpMeanFactory(
            plan.grid, plan.setting.cohort_size, plan.exact_noise_key
        )
        return _aggregation(plan, factory)
    return _mean(plan, noise.FreshNoise(plan.noise_key))


def dp_gaussian_adaptive(context: AggregationContext) -> Aggregation:
    """Adapts the clip to a quantile of the norms (Andrew et al. 2021).

    Args:
      context: Has a plan of this aggregator.
    """
    plan = _plan(context)
    options = plan.options
    assert options.dp_initial_clip is not None  # `PrivacyConfig` settles
    assert options.dp_quantile is not None  # all three.
    assert options.dp_clip_learning_rate is not None
    factory = dp_mean.AdaptiveDpMeanFactory(
        plan.noise_multiplier,
        plan.count_stddev,
        plan.setting.cohort_size,
        plan.noise_key,
        options.dp_initial_clip,
        options.dp_quantile,
        options.dp_clip_learning_rate,
    )
    return _aggregation(plan, factory)


def dp_tree(context: AggregationContext) -> Aggregation:
    """Adds the noise of one binary tree (Kairouz et al. 2021, DP-FTRL).

    Args:
      context: Has a plan of this aggregator.
    """
    plan = _plan(context)
    return _mean(plan, noise.TreeNoise(plan.noise_key, plan.setting.rounds))


def dp_tree_restart(context: AggregationContext) -> Aggregation:
    """Adds the noise of a new tree in every epoch (Kairouz et al. 2021).

    Args:
      context: Has a plan of this aggregator.
    """
    plan = _plan(context)
    setting = plan.setting
    tree = noise.TreeNoise(plan.noise_key, setting.rounds, setting.epoch)
    return _mean(plan, tree)


def dp_matrix(context: AggregationContext) -> Aggregation:
    """Adds the noise of a banded matrix (Choquette-Choo et al. 2023).

    Args:
      context: Has a plan of this aggregator.
    """
    plan = _plan(context)
    return _mean(plan, noise.BandedNoise(plan.noise_key, plan.matrix))


def dp_distributed(context: AggregationContext) -> Aggregation:
    """Sums up integers to which clients added noise (Kairouz et al. 2021b).

    Args:
      context: Has a plan of this aggregator.
    """
    plan = _plan(context)
    mechanism = plan.distributed
    factory = NumberedDistributedDpMeanFactory(
        mechanism.noise_multiplier,
        mechanism.bound,
        mechanism.expected_clients,
        plan.noise_key,
        mechanism.bits,
    )

    def sent_bytes(value_type: tff.Type, weight_type: tff.Type) -> int:
        del value_type, weight_type  # The plan has the dimension.
        return -(-mechanism.padded * mechanism.bits // 8)

    return dataclasses.replace(
        _aggregation(plan, factory), sent_bytes=sent_bytes
    )


def dp_local(context: AggregationContext) -> Aggregation:
    """Averages updates that clients clipped and noised; see `client_hooks`.

    Args:
      context: Has a plan of this aggregator.
    """
    return _aggregation(_plan(context), tff.aggregators.UnweightedMeanFactory())


def _plan(context: AggregationContext) -> Plan:
    """Returns the plan of a context, by its own type."""
    plan = context.plan
    assert isinstance(plan, Plan)  # Assembly makes it for private names.
    return plan


def _mean(plan: Plan, fresh: noise.Noise) -> Aggregation:
    """Returns the mean with a fixed clip, to which `fresh` adds its noise."""
    factory = dp_mean.DpMeanFactory(
        plan.clip, plan.noise_multiplier, plan.setting.cohort_size, fresh
    )
    return _aggregation(plan, factory)
