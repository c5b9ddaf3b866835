"""Differential privacy of examples: gradients, batches, noise, whole runs."""

import dataclasses
import json
import shutil
import stat

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from scipy import stats

from tests.testing.blocks import drawn_block
from tests.testing.data import data_folder
from tests.testing.soaked import soaked
from tff_pipeline import errors, experiment
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.example_dp import ExampleDp, clipped_sum
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.privacy import accounting, example_plan
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runtime.in_process import InProcessContext

layers = tf.keras.layers
KEY = np.array([3, 4], np.int64)
CLIP = 0.7


def cross_entropy():
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def dense():
    return tf.keras.Sequential(
        [tf.keras.Input([5]), layers.Dense(4, "tanh"), layers.Dense(3)]
    )


def of_ids():
    return tf.keras.Sequential(
        [
            tf.keras.Input([6], dtype="int32"),
            layers.Embedding(9, 4),
            layers.LSTM(5),
            layers.Dense(3),
        ]
    )


def of_images():
    return tf.keras.Sequential(
        [
            tf.keras.Input([6, 6, 1]),
            layers.Conv2D(2, 3, activation="relu"),
            layers.GroupNormalization(2),
            layers.MaxPool2D(),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def examples_of(make, count, seed=0):
    draw = np.random.default_rng(seed)
    (given,) = make().inputs
    shape = [count, *given.shape[1:]]
    if given.dtype == tf.int32:
        x = draw.integers(9, size=shape).astype(np.int32)
    else:
        x = draw.normal(size=shape).astype(np.float32)
    return Examples(x, draw.integers(3, size=count).astype(np.int32))


def wrapped(make, examples, loss=None):
    def spec(values):
        return tf.TensorSpec([None, *values.shape[1:]], values.dtype)

    return tff.learning.models.from_keras_model(
        make(),
        loss=loss or cross_entropy(),
        input_spec=(spec(examples.x), spec(examples.y)),
    )


def block_of(examples, noise=0.0, client=0):
    (block,) = drawn_block(examples, client=client, noise_multiplier=noise)
    return {name: tf.constant(value) for name, value in block.items()}


def gradients(make, examples, clip=CLIP, size=4, noise=0.0, steps=1):
    """Of so many steps, each a vector; and the model."""
    model = wrapped(make, examples)
    step_fn = ExampleDp(cross_entropy(), clip, size, KEY)
    block = block_of(examples, noise)

    @tf.function
    def flat(step):
        return tf.concat(
            [tf.reshape(g, [-1]) for g in step_fn.gradient(model, block, step)],
            0,
        )

    found = [flat(tf.constant(step)).numpy() for step in range(steps)]
    return np.stack(found), model


def single(model, examples):
    """The gradient of each example by itself, float64 [n, parameters]."""
    rows = []
    for place in range(len(examples)):
        row = slice(place, place + 1)
        with tf.GradientTape() as tape:
            output = model.predict_on_batch(examples.x[row], training=True)
            loss = cross_entropy()(examples.y[row], output)
        given = tape.gradient(loss, model.trainable_variables)
        rows.append(
            np.concatenate(
                [tf.convert_to_tensor(g).numpy().ravel() for g in given]
            )
        )
    return np.stack(rows).astype(np.float64)


@pytest.mark.parametrize(
    ("clip", "make"),
    [
        *((0.3, dense), (1e6, dense), (0.3, of_ids), (1e6, of_images)),
        pytest.param(1e6, of_ids, marks=pytest.mark.soak),
        pytest.param(0.3, of_images, marks=pytest.mark.soak),
    ],
)
def test_gradient_is_the_sum_of_clipped_ones(make, clip):
    """With a batch of all, which Poisson sampling then always draws."""
    examples = examples_of(make, 7)
    found, model = gradients(make, examples, clip, size=9)
    each = single(model, examples)
    norms = np.linalg.norm(each, axis=1, keepdims=True)
    expected = (each * np.minimum(1, clip / norms)).sum(axis=0) / 7
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)
    assert (norms > 0.3).any()


@pytest.mark.parametrize("wild", [1e30, -3e38, np.inf, np.nan, 1e-30, 0.0])
def test_one_example_moves_the_sum_by_at_most_the_clip(wild):
    draw = np.random.default_rng(0)
    shapes = [(4, 3), (3,), ()]
    tame = [
        draw.normal(size=[6, *shape]).astype(np.float32) for shape in shapes
    ]
    for place in range(3):
        added = [np.concatenate([t, t[:1]]) for t in tame]
        added[place][-1] = wild
        before = clipped_sum(tame, tf.ones([6], tf.bool), CLIP)
        after = clipped_sum(added, tf.ones([7], tf.bool), CLIP)
        moved = [(a - b).numpy().ravel() for a, b in zip(after, before)]
        # Sums are rounded to float32.
        assert np.linalg.norm(np.concatenate(moved)) <= CLIP * (1 + 1e-5)


@pytest.mark.parametrize("wild", [1e30, np.inf, np.nan])
def test_one_wild_example_of_a_client_is_bounded(wild):
    """Through the model; all others of the batch count as they are."""
    examples = examples_of(dense, 5)
    x = examples.x.copy()
    x[2] = wild
    found, model = gradients(dense, Examples(x, examples.y), size=5)
    each = single(model, examples)[[0, 1, 3, 4]]
    norms = np.linalg.norm(each, axis=1, keepdims=True)
    rest = (each * np.minimum(1, CLIP / norms)).sum(axis=0)
    assert np.isfinite(found).all()
    assert np.linalg.norm(5 * found[0] - rest) <= CLIP * (1 + 1e-5)


def test_noise_has_the_stated_deviation_and_never_repeats():
    examples = examples_of(dense, 50)
    zero = {"clip": 1e-12, "noise": 3e12 * CLIP, "size": 2, "steps": 40}
    found, _ = gradients(dense, examples, **zero)
    deviation = 3 * CLIP / 2
    assert_normal(found / deviation)
    assert len(np.unique(found)) == found.size
    again, _ = gradients(dense, examples, **zero)
    np.testing.assert_array_equal(again, found)


def assert_normal(numbers):
    """Independent standard normal ones, as far as a sum of squares tells."""
    total, count = np.sum(np.square(numbers, dtype=np.float64)), numbers.size
    low, high = stats.chi2.ppf([5e-5, 1 - 5e-5], count)
    assert low < total < high
    assert abs(numbers.mean()) < 4 / np.sqrt(count)


def test_batches_are_drawn_example_by_example():
    """One-hot inputs and a linear loss show who was in which step."""
    count, size, steps = 40, 3, 600
    examples = Examples(
        np.eye(count, dtype=np.float32), np.zeros(count, np.int32)
    )

    def make():
        return tf.keras.Sequential(
            [tf.keras.Input([count]), layers.Dense(1, use_bias=False)]
        )

    model = wrapped(make, examples)
    step_fn = ExampleDp(lambda y, out: tf.reduce_sum(out), 1.0, size, KEY)
    block = block_of(examples)

    @tf.function
    def drawn(step):
        (gradient,) = step_fn.gradient(model, block, step)
        return tf.reshape(gradient, [-1]) * size

    there = np.stack(
        [drawn(tf.constant(step)).numpy() for step in range(steps)]
    )
    np.testing.assert_allclose(there, np.round(there), atol=1e-5)
    there = np.round(there)
    chance = size / count
    sizes = there.sum(axis=1)
    # Some batches are empty: (1 - 3/40) ** 40 is .044.
    assert (sizes == 0).any()
    deviation = np.sqrt(chance * (1 - chance))
    scaled = (there - chance) / deviation
    assert abs(scaled.mean()) * np.sqrt(scaled.size) < 4
    # Of independent ones, the variance of sizes is the sum of variances.
    low, high = stats.chi2.ppf([5e-5, 1 - 5e-5], steps)
    total = np.sum(np.square(sizes - size)) / (count * deviation**2)
    assert low < total < high
    # Nobody hangs on another, nor on itself a step before.
    others = np.corrcoef(there.T)[np.triu_indices(count, 1)]
    assert np.abs(others).max() < 5 / np.sqrt(steps)
    before = (scaled[1:] * scaled[:-1]).mean(axis=0)
    assert np.abs(before).max() < 5 / np.sqrt(steps)


def test_clients_and_rounds_have_their_own_noise():
    """In real processes: the update of steps without any gradient."""
    steps, rate, size = 3, 0.1, 4

    def make():
        return tf.keras.Sequential([tf.keras.Input([50]), layers.Dense(40)])

    draw = np.random.default_rng(0)
    cohort = [
        Examples(
            draw.normal(size=[count, 50]).astype(np.float32),
            np.zeros(count, np.int32),
        )
        for count in (9, 200)
    ]
    clients = ClientConfig(
        steps_per_round=steps,
        batch_size=size,
        weighting="uniform",
        optimizer=OptimizerConfig("client", "sgd", rate),
    )
    multipliers = (5.0, 2.0)
    step_fn = ExampleDp(
        lambda y, out: 0.0 * tf.reduce_sum(out), CLIP, size, KEY
    )
    with InProcessContext(2):
        process = fed_avg.build(
            lambda: wrapped(make, cohort[0]),
            clients,
            ServerConfig(),
            hooks=[step_fn],
        )
        state = process.initialize()
        before = process.get_model_weights(state).trainable
        updates = []
        for number in (1, 2):
            for client, examples in enumerate(cohort):
                block = drawn_block(
                    examples,
                    0,
                    number,
                    client,
                    noise_multiplier=multipliers[client],
                )
                after = process.next(state, [block]).state
                after = process.get_model_weights(after).trainable
                update = np.concatenate(
                    [np.ravel(a - b) for a, b in zip(after, before)]
                )
                deviation = rate * multipliers[client] * CLIP / size
                updates.append(update / (deviation * np.sqrt(steps)))
    for update in updates:
        # Weights are rounded, which is little beside the noise.
        assert_normal(update)
    correlation = np.corrcoef(updates)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(updates[0].size)


def with_dropout():
    return tf.keras.Sequential(
        [
            tf.keras.Input([5]),
            layers.Dense(40, "tanh"),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("make", [*soaked(of_ids), with_dropout])
def test_real_processes_take_the_same_step(make):
    """One step of all examples, in a recurrent model and in a random one."""
    examples = examples_of(make, 6)
    clients = ClientConfig(
        steps_per_round=1,
        batch_size=6,
        optimizer=OptimizerConfig("client", "sgd", 1.0),
    )
    with InProcessContext(1):
        process = fed_avg.build(
            lambda: wrapped(make, examples),
            clients,
            ServerConfig(),
            hooks=[ExampleDp(cross_entropy(), CLIP, 6, KEY)],
        )
        state = process.initialize()
        before = process.get_model_weights(state)

        def update(client):
            block = drawn_block(examples, client=client, noise_multiplier=0.0)
            after = process.next(state, [block]).state
            after = process.get_model_weights(after).trainable
            return np.concatenate(
                [np.ravel(b - a) for a, b in zip(after, before.trainable)]
            )

        found, other = update(0), update(1)
        np.testing.assert_array_equal(update(0), found)
    assert 0 < np.linalg.norm(found) <= CLIP
    if make is with_dropout:
        assert np.abs(found - other).max() > 1e-4
        return
    model = wrapped(make, examples)
    for variable, value in zip(model.trainable_variables, before.trainable):
        variable.assign(value)
    each = single(model, examples)
    norms = np.linalg.norm(each, axis=1, keepdims=True)
    expected = (each * np.minimum(1, CLIP / norms)).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def digits(path, rounds=2, **changes):
    private = {
        "dp_target_epsilon": 2.0,
        "dp_delta": 1e-4,
        "dp_clip": 0.5,
        "dp_noise_seed": 5,
    }
    return ExperimentConfig(
        data=DataConfig(task="digits_2nn", num_clients=6),
        clients=ClientConfig(
            clients_per_round=3,
            steps_per_round=4,
            batch_size=8,
            **{**private, **changes},
        ),
        run=RunConfig(
            output_dir=str(path), total_rounds=rounds, rounds_per_checkpoint=1
        ),
    )


def weights_of(path, round_number):
    store = CheckpointStore(str(path / "checkpoints"))
    return store.load_weights(round_number)[1].trainable


@pytest.mark.soak
def test_run_resumes_with_the_same_noise(tmp_path):
    run = tmp_path / "run"
    experiment.run(digits(run))
    first = weights_of(run, 2)
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert not [name for name in header if name.startswith("train_")]
    stated = json.loads((run / "privacy.json").read_text())
    assert not stated["private"]
    assert stated["epsilon"] == 2.0
    assert stated["unit"] == "one example"
    assert stated["steps_in_all_rounds"] == 8
    assert sum(each["clients"] for each in stated["clients"]) == 6
    assert "NO PRIVACY" in (run / "privacy.txt").read_text()
    assert not (run / "noise_secret").exists()
    # As if it had been killed after its first round.
    shutil.rmtree(run / "checkpoints" / "round_000002")
    experiment.run(digits(run))
    for one, other in zip(weights_of(run, 2), first):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(errors.ConfigError, match="total_rounds"):
        experiment.run(digits(run, rounds=3))


@pytest.mark.soak
def test_secret_is_drawn_once_and_kept_to_its_owner(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    for path in (run, other):
        experiment.run(digits(path, rounds=1, dp_noise_seed=None))
    secret = run / "noise_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() != (other / "noise_secret").read_text()
    assert json.loads((run / "privacy.json").read_text())["private"]
    assert any(
        not np.array_equal(one, two)
        for one, two in zip(weights_of(run, 1), weights_of(other, 1))
    )
    kept = secret.read_text()
    experiment.run(digits(run, rounds=1, dp_noise_seed=None))
    assert secret.read_text() == kept
    secret.unlink()
    with pytest.raises(errors.RunDirectoryError, match="noise_secret"):
        experiment.run(digits(run, rounds=1, dp_noise_seed=None))


def test_a_delta_of_one_example_or_more_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError) as caught:
        experiment.run(digits(tmp_path / "run", dp_delta=1e-3))
    said = str(caught.value)
    assert "--client_dp_delta=0.001 is 1 / " in said
    assert "examples or more" in said and "--dp_allow_large_delta" in said
    assert not (tmp_path / "run").exists()
    forced = dataclasses.replace(
        digits(tmp_path / "run", dp_delta=1e-3, dp_noise_seed=None),
        privacy=PrivacyConfig(dp_allow_large_delta=True),
    )
    planned = example_plan.for_run(
        forced, RunDirectory(str(tmp_path / "run")), False, 1000
    )
    stated = example_plan.content(planned, {"Mrs Marple": 7, "Poirot": 7})
    assert stated["private"] is False
    assert stated["clients"][0]["clients"] == 2
    words = example_plan.in_words(stated)
    assert "NO PRIVACY" in words and "No guarantee" in words
    assert "Marple" not in words
    # Where nobody's examples are protected it says nothing.
    with pytest.raises(errors.ConfigError, match="dp_allow_large_delta=True"):
        ExperimentConfig(privacy=PrivacyConfig(dp_allow_large_delta=True))


def test_noise_keeps_the_target_for_every_size():
    plan = ExamplePlan(1.0, 1e-4, 1.1, 4, 1500, secret=1)
    multipliers = [plan.noise_multiplier(n) for n in (1, 3, 30, 85, 199)]
    assert multipliers == sorted(multipliers, reverse=True)
    for count, multiplier in zip((1, 30, 199), multipliers[::2]):
        spent = accounting.epsilon(plan.setting(count), multiplier, 1e-4)
        assert 0.99 <= spent <= 1.0
    assert "secret" not in repr(plan)
    other = ExamplePlan(1.0, 1e-4, 1.1, 4, 1500, secret=2)
    assert not np.array_equal(plan.key, other.key)
    hopeless = ExamplePlan(1e-6, 1e-12, 1.1, 4, 1500, secret=1)
    with pytest.raises(errors.ConfigError, match="client_dp_target_epsilon"):
        hopeless.noise_multiplier(3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dp_clip": None}, "--client_dp_clip"),
        ({"dp_delta": None}, "--client_dp_delta"),
        ({"dp_target_epsilon": None}, "--client_dp_target_epsilon"),
        ({"dp_target_epsilon": 0.0}, "--client_dp_target_epsilon=0.0"),
        ({"dp_delta": 1.0}, "--client_dp_delta=1.0"),
        ({"dp_clip": -1.0}, "--client_dp_clip=-1.0"),
        ({"steps_per_round": None}, "needs --client_steps_per_round"),
    ],
)
def test_flags_that_do_not_go_together_are_named(changes, words):
    given = {
        "dp_target_epsilon": 1.0,
        "dp_delta": 1e-4,
        "dp_clip": 1.0,
        "steps_per_round": 10,
    }
    with pytest.raises(errors.ConfigError, match=words):
        ClientConfig(**{**given, **changes})
    with pytest.raises(errors.ConfigError, match="go together"):
        ClientConfig(dp_noise_seed=1)


def test_private_aggregators_are_another_promise(tmp_path):
    config = digits(tmp_path)
    privacy = PrivacyConfig(dp_noise_multiplier=1.0, dp_clip=1.0)
    clients = dataclasses.replace(
        config.clients, weighting="uniform", sampling="poisson"
    )
    with pytest.raises(errors.ConfigError, match="protects examples"):
        ExperimentConfig(
            clients=clients,
            aggregation=AggregationConfig("dp_gaussian"),
            privacy=privacy,
        )


def test_what_cannot_be_kept_is_refused_before_the_run(tmp_path):
    config = digits(tmp_path / "run")
    data_dir = str(data_folder("tcga_brca"))
    config = ExperimentConfig(
        data=DataConfig(task="tcga_brca_cox", data_dir=data_dir),
        clients=config.clients,
        run=config.run,
    )
    with pytest.raises(errors.ConfigError, match="no mean over examples"):
        experiment.run(config)
    hopeless = digits(tmp_path / "run", dp_target_epsilon=1e-7, dp_delta=1e-12)
    with pytest.raises(errors.ConfigError, match="cannot be kept"):
        experiment.run(hopeless)
    assert not (tmp_path / "run").exists()
