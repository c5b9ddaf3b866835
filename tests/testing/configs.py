"""Draws configurations, for properties that hold for all of them.

A field is drawn by the values that it allows, so that one that is added later
is drawn too; what is written down by name is what fields demand of each other.
"""

import dataclasses
import itertools

from hypothesis import strategies as st

from tff_pipeline import registry
from tff_pipeline.config import (
    OPTIMIZER_OPTIONS,
    RUNTIME_OPTIONS,
    SCHEDULE_OPTIONS,
    AggregationConfig,
    ClientConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
    fields,
)
from tff_pipeline.config.aggregation import (
    AGGREGATOR_OPTIONS,
    ROBUST,
    names_in_chain,
)
from tff_pipeline.config.clients import CLASS_WEIGHTS, SAMPLING_OPTIONS
from tff_pipeline.config.data import PARTITION_OPTIONS, DataConfig
from tff_pipeline.config.devices import OVER_SELECTION
from tff_pipeline.config.privacy import (
    MECHANISM_OF,
    PRIVACY_OPTIONS,
    SAMPLINGS_OF,
)

COUNTS = st.integers(1, 2**31 - 1)
RATES = st.floats(0, 1e30, exclude_min=True) | st.integers(1, 2**40)
# Paths and names that a line of a flagfile can hold.
TEXTS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]
    ),
    min_size=1,
)
VALUES = {
    fields.TEXT: TEXTS,
    fields.PATTERN: st.sampled_from(["^dense", "kernel$|logits", r"_\d+/"]),
    fields.REFERENCE: st.just("package.module:function"),
    fields.NAMES: st.sampled_from(["shift", "noise,shift"]),
    fields.BITS: st.integers(1, 30),
    fields.COUNT: COUNTS,
    fields.CONCENTRATION: st.floats(1e-6, 1e6),
    fields.NATURAL: st.integers(0, 2**40),
    fields.SEED: st.integers(0, 2**32 - 1),
    fields.FINITE: st.floats(-1e300, 1e300),
    fields.POSITIVE: RATES,
    fields.NOT_NEGATIVE: st.just(0.0) | RATES,
    fields.PROBABILITY: st.floats(0, 1, exclude_min=True, exclude_max=True),
    fields.SWITCH: st.booleans(),
    fields.SHARE: st.floats(0, 1),
    OVER_SELECTION: st.floats(1, 10),
    fields.FRACTION: st.floats(0, 1, exclude_max=True),
    # Balanced ones do not go with privacy.
    CLASS_WEIGHTS: st.sampled_from(["1,3.5", "2,1e-3,7"]),
}
# Fields whose names are those of a table, with commas between them.
LISTS = {
    "sinks": [
        ",".join(names)
        for length in range(1, len(registry.SINKS) + 1)
        for names in itertools.permutations(registry.SINKS, length)
        if "csv" in names
    ],
    "finishers": [
        "none",
        *(
            ",".join(names)
            for length in range(1, len(registry.FINISHERS) + 1)
            for names in itertools.permutations(registry.FINISHERS, length)
        ),
    ],
}
OPTIMIZER_FIELDS = sorted(
    {name for options in OPTIMIZER_OPTIONS.values() for name in options}
)
DATA_TABLES = {
    "partition": {
        name: {
            **options,
            **({"unseen_clients": 0} if name == "natural" else {}),
        }
        for name, options in PARTITION_OPTIONS.items()
    },
    "task": {
        name: registry.task_entry(name).options for name in registry.TASKS
    },
}


def values_of(field):
    """A strategy of the values that a field of a group allows."""
    allowed = field.metadata["allowed"]
    if field.name in LISTS:
        return st.sampled_from(LISTS[field.name])
    return st.sampled_from(allowed.names) if allowed.names else VALUES[allowed]


@st.composite
def group_values(draw, group, tables, **fixed):
    """Values for some of the fields of a group, by name.

    Args:
      draw: Hypothesis's.
      group: The group's default.
      tables: Name of a field -> its table of options. A field that is an
        option is drawn only where the name that was chosen takes it.
      **fixed: The values of fields that must not be drawn; `None` is no value.
    """
    values = {k: v for k, v in fixed.items() if v is not None}
    for _, field in group.options():
        owners = [t for t, table in tables.items() if _takes(table, field.name)]
        if field.name in fixed or any(
            field.name not in tables[table][values[table]] for table in owners
        ):
            continue
        if draw(st.booleans()):
            values[field.name] = draw(values_of(field))
    return values


def _takes(table, name):
    return any(name in options for options in table.values())


@st.composite
def optimizer_configs(draw, side):
    schedule = draw(st.sampled_from(list(SCHEDULE_OPTIONS)))
    rounds = lr_decay = None
    if schedule != "constant":
        rounds = draw(COUNTS)
        lr_decay = draw(st.floats(0, 1, exclude_min=True, exclude_max=True))
    values = group_values(
        OptimizerConfig(side),
        {"name": OPTIMIZER_OPTIONS},
        name=draw(st.sampled_from(list(OPTIMIZER_OPTIONS))),
        lr_schedule=schedule,
        lr_decay=lr_decay,
        lr_decay_rounds=rounds,
    )
    return OptimizerConfig(side, **draw(values))


# Without what can stand in no chain twice, or behind steps on rows, and without
# those that demand much of other groups, which have tests of their own.
AGGREGATORS = [
    *sorted(
        {*registry.AGGREGATORS} - {*PRIVACY_OPTIONS, "he_mean", "secure_mean"}
    ),
    *("clip+mean", "zeroing+clip_quantile+mean"),
    *("nnm+bucketing+clip+krum", "clip+nnm+centered_clipping"),
    *PRIVACY_OPTIONS,
]
# Options without which an aggregator is refused.
_DEMANDED = ("clip_norm", "centered_clip_norm")


def aggregation_config(draw, name):
    taken = set()
    for part in names_in_chain(name):
        taken |= {*AGGREGATOR_OPTIONS.get(part, {})}
    values = {}
    for _, field in AggregationConfig().options():
        if field.name in taken and (
            field.name in _DEMANDED or draw(st.booleans())
        ):
            values[field.name] = draw(values_of(field))
    return AggregationConfig(name, **values)


def privacy_config(draw, aggregator):
    """Options of a private aggregator; those of others are left alone."""
    options = PRIVACY_OPTIONS.get(aggregator, {})
    noise = ("dp_noise_multiplier", "dp_target_epsilon")
    values = {}
    for _, field in PrivacyConfig().options():
        if field.name not in options or field.name in noise:
            continue
        if field.name == "dp_clip" or draw(st.booleans()):
            values[field.name] = draw(values_of(field))
    if options:
        values[draw(st.sampled_from(noise))] = draw(RATES)
    return PrivacyConfig(**values)


@st.composite
def client_configs(draw, most, aggregator):
    private = aggregator in PRIVACY_OPTIONS
    demanded = {"epochs_per_round": draw(COUNTS), "steps_per_round": None}
    if draw(st.booleans()):
        demanded = {"epochs_per_round": 1, "steps_per_round": draw(COUNTS)}
    protection = dict.fromkeys(
        ("dp_target_epsilon", "dp_delta", "dp_clip", "dp_noise_seed")
    )
    if not private and demanded["steps_per_round"] and draw(st.booleans()):
        protection = {
            "dp_target_epsilon": draw(RATES),
            "dp_delta": draw(VALUES[fields.PROBABILITY]),
            "dp_clip": draw(RATES),
            "dp_noise_seed": draw(st.none() | VALUES[fields.SEED]),
        }
    samplings = tuple(SAMPLING_OPTIONS)
    if private:
        samplings = SAMPLINGS_OF[MECHANISM_OF[aggregator]]
    weightings = ["uniform"]
    if not private and not {*names_in_chain(aggregator)} & {*ROBUST}:
        weightings.append("num_examples")
    values = group_values(
        ClientConfig(),
        {"sampling": SAMPLING_OPTIONS},
        clients_per_round=draw(st.integers(1, most)),
        sampling=draw(st.sampled_from(samplings)),
        weighting=draw(st.none() | st.sampled_from(weightings)),
        **demanded,
        **protection,
        # Which is for SGD without privacy.
        kept_momentum=None,
        # Which take the gradient of each example.
        **({"micro_batch_size": None} if protection["dp_clip"] else {}),
    )
    return ClientConfig(
        optimizer=draw(optimizer_configs("client")), **draw(values)
    )


@st.composite
def device_configs(draw, population_known, aggregator):
    """Devices; with privacy none, for each mechanism has its own demands."""
    if aggregator in PRIVACY_OPTIONS:
        return DeviceConfig()
    values = draw(
        group_values(
            DeviceConfig(),
            {},
            # Which might choose more clients than there are.
            **({"over_selection": None} if population_known else {}),
        )
    )
    if not values.get("dropout"):
        values.pop("dropout_in_training", None)
    if not values.get("stragglers"):
        values.pop("straggler_work", None)
    if "sessions" in values:
        values.pop("availability", None)
    return DeviceConfig(**values)


@st.composite
def run_configs(draw, aggregator):
    policies = ["retry", "stop"] + (
        [] if aggregator in PRIVACY_OPTIONS else ["skip"]
    )
    values = draw(
        group_values(
            RunConfig(),
            {"runtime": RUNTIME_OPTIONS},
            runtime=draw(st.sampled_from(list(RUNTIME_OPTIONS))),
            on_failed_round=draw(st.sampled_from(policies)),
        )
    )
    if "target_metric" not in values:
        values.pop("target_value", None)
        values.pop("patience", None)
    if "min_workers" in values:
        more = draw(st.integers(0, 9))
        values["ray_workers"] = values["min_workers"] + more
    return RunConfig(**values)


@st.composite
def experiment_configs(draw):
    values = draw(
        group_values(
            DataConfig(),
            DATA_TABLES,
            task=draw(st.sampled_from(["digits_2nn", "mnist_cnn"])),
            partition=draw(st.sampled_from(list(PARTITION_OPTIONS))),
        )
    )
    if not values.get("validation_fraction"):
        values.pop("validation_by", None)
    data = DataConfig(**values)
    aggregator = draw(st.sampled_from(AGGREGATORS))
    clients = draw(client_configs(data.num_clients or 2**31 - 1, aggregator))
    run = draw(run_configs(aggregator))
    privacy = privacy_config(draw, aggregator)
    if clients.sampling == "uniform" or run.runtime != "in_process":
        privacy = dataclasses.replace(privacy, dp_secure_noise=None)
    return ExperimentConfig(
        data=data,
        clients=clients,
        server=ServerConfig(draw(optimizer_configs("server"))),
        aggregation=aggregation_config(draw, aggregator),
        privacy=privacy,
        devices=draw(device_configs(bool(data.num_clients), aggregator)),
        run=run,
    )
