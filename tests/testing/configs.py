"""Draws configurations, for properties that hold for all of them."""

from hypothesis import strategies as st

from tff_pipeline.config import (
    OPTIMIZER_OPTIONS,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.config.data import PARTITION_OPTIONS, DataConfig

COUNTS = st.integers(1, 2**31 - 1)
RATES = st.floats(0, 1e30, exclude_min=True) | st.integers(1, 2**40)
FRACTIONS = st.floats(0, 1, exclude_max=True)
# Paths and names that a line of a flagfile can hold.
TEXTS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]
    ),
    min_size=1,
)
# Of every option of an optimizer, the values that it may have.
OPTIMIZER_VALUES = {
    "momentum": FRACTIONS,
    "beta_1": FRACTIONS,
    "beta_2": FRACTIONS,
    "decay": FRACTIONS,
    "epsilon": RATES,
    "weight_decay": st.just(0.0) | RATES,
    "initial_accumulator": st.just(0.0) | RATES,
}
PARTITION_VALUES = {
    "num_clients": COUNTS,
    "shards_per_client": COUNTS,
    "dirichlet_alpha": st.floats(1e-6, 1e6),
    "quantity_exponent": st.floats(0, 1e30),
    "labels_per_client": COUNTS,
}


@st.composite
def optimizer_configs(draw, side):
    name = draw(st.sampled_from(list(OPTIMIZER_OPTIONS)))
    options = {
        option: draw(OPTIMIZER_VALUES[option])
        for option in OPTIMIZER_OPTIONS[name]
        if draw(st.booleans())
    }
    return OptimizerConfig(side, name, draw(RATES), **options)


@st.composite
def experiment_configs(draw):
    partition = draw(st.sampled_from(list(PARTITION_OPTIONS)))
    options = {
        option: draw(PARTITION_VALUES[option])
        for option in PARTITION_OPTIONS[partition]
        if draw(st.booleans())
    }
    most = 2**31 - 1
    if partition != "natural":
        most = options.get("num_clients", 100)
    target = draw(st.booleans())
    return ExperimentConfig(
        data=DataConfig(
            task=draw(st.sampled_from(["digits_2nn", "mnist_cnn"])),
            data_dir=draw(st.none() | TEXTS),
            partition=partition,
            max_examples_per_client=draw(st.none() | COUNTS),
            **options,
        ),
        clients=ClientConfig(
            clients_per_round=draw(st.integers(1, most)),
            epochs_per_round=draw(COUNTS),
            batch_size=draw(COUNTS),
            weighting=draw(st.sampled_from(["num_examples", "uniform"])),
            optimizer=draw(optimizer_configs("client")),
        ),
        server=ServerConfig(draw(optimizer_configs("server"))),
        run=RunConfig(
            output_dir=draw(st.none() | TEXTS),
            total_rounds=draw(COUNTS),
            rounds_per_eval=draw(COUNTS),
            rounds_per_checkpoint=draw(COUNTS),
            keep_checkpoints=draw(st.integers(0, 2**40)),
            max_consecutive_failures=draw(COUNTS),
            max_round_retries=draw(st.integers(0, 9)),
            on_failed_round=draw(st.sampled_from(["retry", "skip", "stop"])),
            signing_key=draw(st.none() | TEXTS),
            client_threads=draw(st.none() | COUNTS),
            seed=draw(st.integers(0, 2**32 - 1)),
            target_metric=draw(TEXTS) if target else None,
            target_value=draw(st.floats(-1e300, 1e300)) if target else None,
        ),
    )
