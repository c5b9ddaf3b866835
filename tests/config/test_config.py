"""What a configuration promises: checked when made, the same from JSON."""

import dataclasses
import json
import math
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.testing.configs import OPTIMIZER_FIELDS, experiment_configs
from tff_pipeline import errors
from tff_pipeline.config import (
    OPTIMIZER_OPTIONS,
    SCHEDULE_OPTIONS,
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
    fields,
)
from tff_pipeline.config.data import PARTITION_OPTIONS, DataConfig

_DEFAULT = ExperimentConfig()


def groups(config, path=()):
    """Yields (path in JSON, group) of a config and all that is in it."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, fields.Group):
            yield (*path, field.name), value
            yield from groups(value, (*path, field.name))


GROUPS = dict(groups(_DEFAULT))
# All that are flags: (group, field, flag).
FIELDS = [
    (path, field, flag)
    for path, group in GROUPS.items()
    for flag, field in group.options()
]
COUNT_FIELDS = [
    (path, field.name, flag)
    for path, field, flag in FIELDS
    if field.metadata["allowed"] is fields.COUNT
]
# Values of a type that the field does not take.
WRONG_TYPES = [
    (path, field.name, flag, value)
    for path, field, flag in FIELDS
    for value in (True, False, [], {}, [1])
    if not (field.metadata["allowed"].kind is bool and value in (True, False))
]


def test_all_flags_of_an_experiment_are_in_these_tests():
    flags = [flag for _, _, flag in FIELDS]
    assert len(flags) == len(set(flags))
    assert set(_DEFAULT.flags()) <= set(flags)
    for flag in ("aggregator", "dp_clip", "dp_bits", "audit_canaries"):
        assert flag in flags
    known = {type(group) for group in _DEFAULT.groups()}
    assert known == {type(group) for group in GROUPS.values()}


def document():
    """The default config as nested dicts, to be spoilt."""
    return json.loads(_DEFAULT.to_json())


def spoilt(path, field, value):
    """The default config's JSON with one field set to `value`."""
    values = group = document()
    for key in path:
        group = group[key]
    group[field] = value
    return json.dumps(values)


@given(experiment_configs())
def test_json_gives_back_the_same_config(config):
    again = ExperimentConfig.from_json(config.to_json())
    assert again == config
    assert hash(again) == hash(config)
    assert again.to_json() == config.to_json()


def test_fields_that_json_leaves_out_have_their_defaults():
    assert ExperimentConfig.from_json("{}") == ExperimentConfig()
    text = '{"server": {"optimizer": {"side": "server", "name": "adam"}}}'
    optimizer = ExperimentConfig.from_json(text).server.optimizer
    assert optimizer == OptimizerConfig("server", "adam")


@pytest.mark.parametrize(
    "text", ["", "{", "nul", "{'a': 1}", "\ufeff{}", "{}x"]
)
def test_what_is_not_json_is_refused(text):
    with pytest.raises(errors.ConfigError, match="is not JSON"):
        ExperimentConfig.from_json(text)


def test_nesting_deeper_than_python_can_read_is_refused():
    with pytest.raises(errors.ConfigError):
        ExperimentConfig.from_json("[" * 100_000)


@pytest.mark.parametrize("text", ["[]", "null", "1", "NaN", '"text"'])
def test_json_that_is_not_an_object_is_refused(text):
    with pytest.raises(errors.ConfigError, match="must be an object"):
        ExperimentConfig.from_json(text)


@pytest.mark.parametrize("value", [[], None, 3, "sgd"])
def test_a_group_that_is_not_an_object_is_refused_by_name(value):
    with pytest.raises(errors.ConfigError, match=r"clients\.optimizer"):
        ExperimentConfig.from_json(spoilt(("clients",), "optimizer", value))


@pytest.mark.parametrize("group", GROUPS)
def test_an_unknown_field_is_refused_by_name(group):
    with pytest.raises(errors.ConfigError, match="unknown fields: nonsense;"):
        ExperimentConfig.from_json(spoilt(group, "nonsense", 1))


@pytest.mark.parametrize("key", ["clients", "server"])
@pytest.mark.parametrize("side", [None, "worker", 3, []])
def test_an_optimizer_of_no_side_is_refused(key, side):
    with pytest.raises(errors.ConfigError, match="side"):
        ExperimentConfig.from_json(spoilt((key, "optimizer"), "side", side))


def test_a_missing_side_is_refused():
    text = '{"server": {"optimizer": {"name": "adam"}}}'
    with pytest.raises(errors.ConfigError, match="side"):
        ExperimentConfig.from_json(text)


@pytest.mark.parametrize(
    ("key", "other"), [("clients", "server"), ("server", "client")]
)
def test_an_optimizer_of_the_other_side_is_refused(key, other):
    # It would hide behind the other side's flags in flags.txt.
    with pytest.raises(errors.ConfigError, match="side"):
        ExperimentConfig.from_json(spoilt((key, "optimizer"), "side", other))


@pytest.mark.parametrize(("group", "field", "flag", "value"), WRONG_TYPES)
def test_a_wrong_type_is_refused_by_flag(group, field, flag, value):
    with pytest.raises(errors.ConfigError) as caught:
        ExperimentConfig.from_json(spoilt(group, field, value))
    assert f"--{flag}={value}: must be " in str(caught.value)


@pytest.mark.parametrize(("group", "field", "flag"), COUNT_FIELDS)
@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, "1", True, math.nan])
def test_a_count_is_a_whole_number_of_at_least_one(group, field, flag, value):
    with pytest.raises(errors.ConfigError) as caught:
        ExperimentConfig.from_json(spoilt(group, field, value))
    assert f"--{flag}={value}: must be a whole number" in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, -0.1])
@pytest.mark.parametrize(
    ("make", "flag"),
    [
        (
            lambda value: OptimizerConfig("client", learning_rate=value),
            "client_learning_rate",
        ),
        (
            lambda value: OptimizerConfig("server", learning_rate=value),
            "server_learning_rate",
        ),
        (
            lambda value: OptimizerConfig("server", "adam", epsilon=value),
            "server_adam_epsilon",
        ),
        (
            lambda value: DataConfig(
                partition="dirichlet", dirichlet_alpha=value
            ),
            "dirichlet_alpha",
        ),
    ],
)
def test_a_rate_is_finite_and_above_zero(make, flag, value):
    with pytest.raises(errors.ConfigError) as caught:
        make(value)
    assert f"--{flag}={value}: must be a finite number" in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1, 1.0, -0.1])
@pytest.mark.parametrize(
    ("name", "option", "flag"),
    [
        ("momentum", "momentum", "client_momentum"),
        ("adam", "beta_1", "client_adam_beta_1"),
        ("yogi", "beta_2", "client_yogi_beta_2"),
        ("rmsprop", "decay", "client_rmsprop_decay"),
        ("muon", "momentum", "client_muon_momentum"),
    ],
)
def test_a_decay_is_at_least_zero_and_below_one(name, option, flag, value):
    with pytest.raises(errors.ConfigError) as caught:
        OptimizerConfig("client", name, **{option: value})
    assert f"--{flag}={value}: must be at least 0" in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_target_value_is_finite(value):
    with pytest.raises(errors.ConfigError, match="--target_value="):
        RunConfig(target_metric="eval_loss", target_value=value)


@pytest.mark.parametrize(
    ("group", "field"),
    [(("server", "optimizer"), "learning_rate"), (("run",), "target_value")],
)
def test_a_whole_number_too_large_for_a_float_is_refused(group, field):
    with pytest.raises(errors.ConfigError, match=field):
        ExperimentConfig.from_json(spoilt(group, field, 10**400))


@pytest.mark.parametrize("seed", [-1, 2**32, 0.0, True])
def test_a_seed_is_a_whole_number_of_32_bits(seed):
    with pytest.raises(errors.ConfigError, match="--seed="):
        RunConfig(seed=seed)


def test_the_ends_of_the_ranges_are_allowed():
    run = RunConfig(seed=2**32 - 1, keep_checkpoints=0, total_rounds=1)
    assert run.seed == 2**32 - 1
    adamw = OptimizerConfig("client", "adamw", beta_1=0, weight_decay=0)
    assert (adamw.beta_1, adamw.weight_decay) == (0, 0)


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda: DataConfig(task="nope"), "csv, npz, sqlite, digits_2nn"),
        (
            lambda: DataConfig(partition="nope"),
            "iid, shards, dirichlet, quantity, label_k, natural, pooled",
        ),
        (lambda: OptimizerConfig("client", "nope"), "sgd, momentum, adam"),
        (lambda: ClientConfig(weighting="nope"), "num_examples, uniform"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(make, known):
    with pytest.raises(errors.ConfigError) as caught:
        make()
    assert "=nope: must be one of: " + known in str(caught.value)


@pytest.mark.parametrize("partition", PARTITION_OPTIONS)
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_clients", 3),
        ("shards_per_client", 3),
        ("dirichlet_alpha", 0.3),
        ("quantity_exponent", 0.3),
        ("labels_per_client", 3),
    ],
)
def test_a_partition_refuses_the_options_of_others(partition, option, value):
    if option in PARTITION_OPTIONS[partition]:
        data = DataConfig(partition=partition, **{option: value})
        assert getattr(data, option) == value
        return
    with pytest.raises(errors.ConfigError) as caught:
        DataConfig(partition=partition, **{option: value})
    assert f"--{option}={value} is not used with" in str(caught.value)
    assert f"--partition={partition};" in str(caught.value)


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("name", OPTIMIZER_OPTIONS)
@pytest.mark.parametrize("option", OPTIMIZER_FIELDS)
def test_an_optimizer_refuses_the_options_of_others(side, name, option):
    # Some are counts.
    value = 2 if option.startswith("adam_") else 0.25
    if option in OPTIMIZER_OPTIONS[name]:
        optimizer = OptimizerConfig(side, name, **{option: value})
        assert getattr(optimizer, option) == value
        return
    with pytest.raises(errors.ConfigError) as caught:
        OptimizerConfig(side, name, **{option: value})
    assert f"={value} is not used with" in str(caught.value)
    assert f"--{side}_optimizer={name};" in str(caught.value)


def test_server_momentum_without_momentum_is_refused_by_its_flag():
    with pytest.raises(errors.ConfigError, match=r"--server_momentum=0\.9 "):
        OptimizerConfig("server", "sgd", momentum=0.9)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_constant_rate_refuses_the_options_of_a_decay(side):
    for option, value in (("lr_decay", 0.5), ("lr_decay_rounds", 9)):
        with pytest.raises(errors.ConfigError) as caught:
            OptimizerConfig(side, **{option: value})
        assert f"--{side}_{option}={value} is not used" in str(caught.value)
        assert f"--{side}_lr_schedule=constant;" in str(caught.value)
        assert "step, exponential, cosine, linear" in str(caught.value)


@pytest.mark.parametrize("schedule", list(SCHEDULE_OPTIONS)[1:])
def test_a_decay_needs_its_rounds(schedule):
    with pytest.raises(errors.ConfigError) as caught:
        OptimizerConfig("server", lr_schedule=schedule)
    assert f"--server_lr_schedule={schedule} " in str(caught.value)
    assert "--server_lr_decay_rounds" in str(caught.value)
    settled = OptimizerConfig("server", lr_schedule=schedule, lr_decay_rounds=9)
    assert settled.lr_decay == SCHEDULE_OPTIONS[schedule]["lr_decay"]
    assert settled.scheduled


@pytest.mark.parametrize("schedule", ["step", "exponential"])
def test_a_decay_that_leaves_nothing_at_once_is_refused(schedule):
    with pytest.raises(errors.ConfigError, match="--client_lr_decay=0"):
        OptimizerConfig(
            "client", lr_schedule=schedule, lr_decay=0, lr_decay_rounds=9
        )


def test_a_warm_up_goes_with_a_constant_rate():
    assert OptimizerConfig("client", lr_warmup_rounds=5).scheduled
    assert not OptimizerConfig("client").scheduled


@pytest.mark.parametrize(
    ("optimizer", "defaults"),
    [
        (OptimizerConfig("client"), {}),
        (OptimizerConfig("client", "momentum"), {"momentum": 0.9}),
        (
            OptimizerConfig("client", "yogi", epsilon=0.1),
            {
                "beta_1": 0.9,
                "beta_2": 0.999,
                "epsilon": 0.1,
                "initial_accumulator": 1e-6,
            },
        ),
    ],
)
def test_options_of_the_chosen_optimizer_are_filled_in(optimizer, defaults):
    values = {name: getattr(optimizer, name) for name in OPTIMIZER_FIELDS}
    assert {k: v for k, v in values.items() if v is not None} == defaults


def test_options_of_the_chosen_partition_are_filled_in():
    shards = DataConfig(partition="shards")
    assert (shards.num_clients, shards.shards_per_client) == (100, 2)
    assert shards.dirichlet_alpha is None
    assert DataConfig(partition="dirichlet").dirichlet_alpha == 0.5
    assert DataConfig(partition="natural").num_clients is None


def test_a_filled_in_default_equals_the_same_value_given():
    assert DataConfig(partition="iid", num_clients=100) == DataConfig()


def test_a_target_value_needs_its_metric_and_not_the_other_way_round():
    assert RunConfig(target_metric="eval_loss").target_value is None
    with pytest.raises(errors.ConfigError) as caught:
        RunConfig(target_value=0.5)
    assert "--target_metric=" in str(caught.value)
    assert "--target_value=0.5" in str(caught.value)


def test_a_private_run_skips_no_round():
    private = PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0)
    with pytest.raises(errors.ConfigError, match="--on_failed_round=skip"):
        ExperimentConfig(
            aggregation=AggregationConfig("dp_gaussian"),
            privacy=private,
            run=RunConfig(on_failed_round="skip"),
        )


@pytest.mark.parametrize(
    "value",
    ["", "even", "1,", "1,0", "1,-2", "nan,1", "1,inf", "1, 2", "1,2000000"],
)
def test_weights_of_classes_are_balanced_or_numbers(value):
    with pytest.raises(errors.ConfigError) as caught:
        ClientConfig(class_weights=value)
    assert str(caught.value).startswith(f"--class_weights={value}: must be")
    for allowed in ("balanced", "1,3.5", "0.1,1e3,1000000"):
        assert ClientConfig(class_weights=allowed).class_weights == allowed


@pytest.mark.parametrize(
    "private",
    [
        {
            "aggregation": AggregationConfig("dp_gaussian"),
            "privacy": PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0),
        },
        {
            "clients": {
                "steps_per_round": 1,
                "dp_target_epsilon": 3.0,
                "dp_delta": 1e-5,
                "dp_clip": 1.0,
            }
        },
    ],
)
def test_balanced_weights_are_refused_where_labels_are_private(private):
    clients = private.pop("clients", {})

    def config(weights):
        weighted = ClientConfig(class_weights=weights, **clients)
        return ExperimentConfig(clients=weighted, **private)

    assert config("1,3.5").clients.class_weights == "1,3.5"
    with pytest.raises(errors.ConfigError) as caught:
        config("balanced")
    assert "--class_weights=balanced" in str(caught.value)
    assert "--class_weights=1,3.5" in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_cohort_is_at_most_the_population():
    ten = DataConfig(num_clients=10)
    assert ExperimentConfig(ten, ClientConfig(clients_per_round=10))
    with pytest.raises(errors.ConfigError) as caught:
        ExperimentConfig(ten, ClientConfig(clients_per_round=11))
    assert "--clients_per_round=11 " in str(caught.value)
    assert "--num_clients=10" in str(caught.value)


def test_a_cohort_of_a_population_not_yet_known_is_left_for_later():
    natural = DataConfig(partition="natural")
    assert ExperimentConfig(natural, ClientConfig(clients_per_round=10**6))


def test_flags_are_all_that_is_set_under_the_names_of_the_command_line():
    flags = ExperimentConfig(
        server=ServerConfig(OptimizerConfig("server", "adam", 0.01)),
        run=RunConfig(output_dir="runs/1"),
    ).flags()
    assert flags["num_clients"] == 100
    assert flags["client_optimizer"] == "sgd"
    assert flags["client_learning_rate"] == 0.1
    assert flags["server_optimizer"] == "adam"
    assert flags["server_learning_rate"] == 0.01
    assert flags["server_adam_beta_2"] == 0.999
    assert flags["client_batch_size"] == 10
    assert flags["output_dir"] == "runs/1"
    assert "target_metric" not in flags
    assert None not in flags.values()


@given(experiment_configs())
def test_identity_is_all_but_where_how_long_and_what_is_kept(config):
    flags, identity = config.flags(), config.flags(identity_only=True)
    if flags["runtime"] == "ray":  # Its results are those of one process.
        flags["runtime"] = "in_process"
    assert identity.items() <= flags.items()
    kept = {
        "data_dir",
        "output_dir",
        "total_rounds",
        "rounds_per_checkpoint",
        "keep_checkpoints",
        "max_consecutive_failures",
        "max_round_retries",
        "on_failed_round",
        "signing_key",
        "client_threads",
        *("ray_address", "ray_workers", "min_workers", "worker_data_dir"),
        *("max_shard_tries", "shard_seconds"),
        "dp_max_epsilon",
        "sinks",
        "finishers",
    }
    # Noise of clients is made for so many rounds.
    if config.clients.dp_target_epsilon is not None:
        kept.remove("total_rounds")
    assert set(flags) - set(identity) == set(flags) & kept


def test_flagfile_leaves_out_the_folder_and_makes_the_data_absolute():
    config = ExperimentConfig(
        data=DataConfig(task="mnist_2nn", data_dir="data/mnist"),
        run=RunConfig(output_dir="runs/1"),
    )
    lines = config.flagfile().splitlines()
    assert not [line for line in lines if line.startswith("--output_dir")]
    assert f"--data_dir={os.path.abspath('data/mnist')}" in lines
    assert "--task=mnist_2nn" in lines


def test_text_that_no_flagfile_can_hold_is_refused():
    with pytest.raises(errors.ConfigError, match="--data_dir="):
        DataConfig(data_dir="not UTF-8: \udcff")


def test_what_is_held_out_is_said_once():
    columns = {"client_column": "k", "label_column": "y", "split_column": "p"}
    config = DataConfig("csv", **columns)
    assert config.test_fraction is None
    with pytest.raises(
        errors.ConfigError, match=r"--test_fraction=0\.5 is not"
    ):
        DataConfig("csv", **columns, test_fraction=0.5)


@pytest.mark.parametrize("group", ExperimentConfig().groups())
def test_every_group_is_frozen(group):
    for field in dataclasses.fields(group):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(group, field.name, getattr(group, field.name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExperimentConfig().data = DataConfig()


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def check_answer(text):
    """Reads a config or a ConfigError of one sentence, and nothing else."""
    try:
        config = ExperimentConfig.from_json(text)
    except errors.ConfigError as error:
        assert str(error)
    else:
        assert ExperimentConfig.from_json(config.to_json()) == config


@given(st.text())
@example("9" * 10_000)
@example('"\ud800"')
def test_any_text_is_a_config_or_a_config_error(text):
    check_answer(text)


@given(JSON_VALUES)
def test_any_json_is_a_config_or_a_config_error(value):
    check_answer(json.dumps(value))


@given(st.data())
def test_any_value_in_any_place_is_a_config_or_a_config_error(data):
    values = document()
    inner = values
    while True:
        key = data.draw(st.sampled_from(list(inner)))
        if not isinstance(inner[key], dict) or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = data.draw(JSON_VALUES)
    check_answer(json.dumps(values))
