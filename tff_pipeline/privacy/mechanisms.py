"""The aggregators of a privacy plan: one function a mechanism.

Each takes the plan and gives the factory whose noise the plan accounts for.
"""

from collections.abc import Mapping
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import registry
from tff_pipeline.aggregators.private import dp_mean, noise
from tff_pipeline.aggregators.private.distributed import (
    NumberedDistributedDpMeanFactory,
)
from tff_pipeline.aggregators.private.recorded import RecordedFactory
from tff_pipeline.algorithms.fed_avg import Aggregator
from tff_pipeline.client_work.local_noise import LocalNoise
from tff_pipeline.client_work.process import Release
from tff_pipeline.privacy.canaries import Canaries
from tff_pipeline.privacy.plan import Plan


def aggregator(plan: Plan) -> Aggregator:
    """The plan's aggregator; with canaries, it records what it releases."""
    factory = registry.load(plan.options.name, registry.AGGREGATORS)(plan)
    return RecordedFactory(factory) if plan.num_canaries else factory


def release(plan: Plan) -> Optional[Release]:
    """What clients do to their updates before they send them, if anything."""
    steps: list[Release] = []
    if plan.num_canaries:
        steps.append(Canaries(plan.canary_key))
    if plan.options.name == "dp_local":
        steps.append(
            LocalNoise(plan.clip, plan.noise_multiplier, plan.noise_key)
        )
    if not steps:
        return None

    def apply(update: Any, block: Mapping[str, tf.Tensor]) -> Any:
        for step in steps:
            update = step(update, block)
        return update

    return apply


def dp_gaussian(plan: Plan) -> tff.aggregators.UnweightedAggregationFactory:
    return _mean(plan, noise.FreshNoise(plan.noise_key))


def dp_gaussian_adaptive(
    plan: Plan,
) -> tff.aggregators.UnweightedAggregationFactory:
    options = plan.options
    assert options.dp_initial_clip is not None  # `AggregatorConfig` settles
    assert options.dp_quantile is not None  # all three.
    assert options.dp_clip_learning_rate is not None
    return dp_mean.AdaptiveDpMeanFactory(
        plan.noise_multiplier,
        plan.count_stddev,
        plan.setting.cohort_size,
        plan.noise_key,
        options.dp_initial_clip,
        options.dp_quantile,
        options.dp_clip_learning_rate,
    )


def dp_tree(plan: Plan) -> tff.aggregators.UnweightedAggregationFactory:
    return _mean(plan, noise.TreeNoise(plan.noise_key, plan.setting.rounds))


def dp_tree_restart(plan: Plan) -> tff.aggregators.UnweightedAggregationFactory:
    setting = plan.setting
    tree = noise.TreeNoise(plan.noise_key, setting.rounds, setting.epoch)
    return _mean(plan, tree)


def dp_matrix(plan: Plan) -> tff.aggregators.UnweightedAggregationFactory:
    return _mean(plan, noise.BandedNoise(plan.noise_key, plan.matrix))


def dp_distributed(plan: Plan) -> tff.aggregators.WeightedAggregationFactory:
    mechanism = plan.distributed
    return NumberedDistributedDpMeanFactory(
        mechanism.noise_multiplier,
        mechanism.bound,
        mechanism.expected_clients,
        plan.noise_key,
        mechanism.bits,
    )


def dp_local(_: Plan) -> tff.aggregators.UnweightedAggregationFactory:
    # Clients clip and add noise before they send: `algorithms.local_noise`.
    return tff.aggregators.UnweightedMeanFactory()


def _mean(
    plan: Plan, drawn: noise.Noise
) -> tff.aggregators.UnweightedAggregationFactory:
    return dp_mean.DpMeanFactory(
        plan.clip,
        plan.noise_multiplier,
        plan.setting.cohort_size,
        drawn,
    )
