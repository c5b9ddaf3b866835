"""An encrypted mean: equal to the mean, and the server can read nothing."""

import sys
import warnings

import numpy as np
import pytest
import tensorflow_federated as tff

from tests.testing import small_training as small
from tff_pipeline import errors, experiment
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.commands import before_start
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.runs import metrics_file
from tff_pipeline.runtime.in_process import InProcessContext

tenseal = pytest.importorskip("tenseal")

from tff_pipeline.aggregators.encrypted import ckks  # noqa: E402
from tff_pipeline.aggregators.encrypted.he_mean import (  # noqa: E402
    EncryptedMeanFactory,
)

TYPE = tff.types.to_type([(np.float32, (50, 90)), (np.float32, (7,))])
SIZE = 50 * 90 + 7


@pytest.fixture(scope="module")
def holder():
    return ckks.KeyHolder()


@pytest.fixture(scope="module")
def process():
    return EncryptedMeanFactory().create(TYPE, tff.TensorType(np.float32))


def drawn(draw, scale=1.0):
    return [
        np.asarray(draw.normal(scale=scale, size=shape), np.float32)
        for shape in ((50, 90), (7,))
    ]


def flat(value):
    return np.concatenate([np.ravel(part) for part in value])


def mean_of(process, values, weights):
    with InProcessContext(client_threads=2):
        output = process.next(process.initialize(), values, weights)
    return flat(output.result), output.measurements


@pytest.mark.parametrize(
    "weights", [[1, 1, 1, 1, 1], [600, 3, 0, 12345, 1], [0.3, 0.5, 0.1, 1, 2]]
)
def test_it_equals_the_mean_to_1e_5(process, weights):
    draw = np.random.default_rng(1)
    values = [drawn(draw) for _ in weights]
    weights = np.array(weights, np.float32)
    mean, measured = mean_of(process, values, list(weights))
    expected = np.average(
        [flat(v).astype(np.float64) for v in values], axis=0, weights=weights
    )
    np.testing.assert_allclose(mean, expected, atol=1e-5, rtol=0)
    assert measured["clients"] == 5 and measured["too_large"] == 0


def test_other_noise_of_the_encryption_gives_the_same_bits(process):
    draw = np.random.default_rng(2)
    values = [drawn(draw) for _ in range(6)]
    weights = [np.float32(10 * i) for i in range(1, 7)]
    one, _ = mean_of(process, values, weights)
    other, _ = mean_of(process, values, weights)
    with_other_keys = EncryptedMeanFactory().create(
        TYPE, tff.TensorType(np.float32)
    )
    third, _ = mean_of(with_other_keys, values, weights)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, third)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e30])
def test_what_does_not_fit_counts_for_nothing_and_is_counted(process, bad):
    draw = np.random.default_rng(3)
    good, wrong = drawn(draw), drawn(draw)
    wrong[0][3, 4] = bad
    mean, measured = mean_of(
        process, [good, wrong], [np.float32(2), np.float32(5)]
    )
    np.testing.assert_allclose(mean, flat(good), atol=1e-6)
    assert measured["clients"] == 2 and measured["too_large"] == 1


def test_nobody_s_mean_is_not_a_number(process):
    mean, measured = mean_of(process, [], [])
    assert np.isnan(mean).all() and measured["clients"] == 0


def test_the_bytes_of_a_client_are_measured(process):
    values = [drawn(np.random.default_rng(4))] * 2
    _, measured = mean_of(process, values, [np.float32(1)] * 2)
    # Two ciphertexts each, for 4,460 numbers; of 2 polynomials of 8,192
    # coefficients of 2 moduli, of at most 8 bytes.
    size = measured["bytes"] / 2
    assert 0.8 * 4 * 2 * 8192 * 8 < size < 4 * 2 * 8192 * 8


def test_clients_send_nothing_that_is_not_encrypted(process):
    """Weights are inside: what an aggregator sums in the open is lengths."""
    text = process.next.to_building_block().compact_representation()
    assert text.count("federated_aggregate") == 1
    # Ciphertexts, and the lengths of ciphertexts.
    assert text.count("federated_sum") == 1
    assert "federated_mean" not in text and "weighted_mean" not in text


def test_the_server_s_context_has_no_secret_key(holder):
    context = tenseal.context_from(holder.public_context)
    assert context.is_public() and not context.has_secret_key()
    message = ckks.Client(holder.public_context).encrypt(np.arange(9))
    (chunk,) = ckks._read(tenseal, context, message)
    with pytest.raises(ValueError, match="secret_key"):
        chunk.decrypt()


def test_the_secret_key_reads_a_single_client(holder):
    """What the documentation must say plainly: the sum is not all it opens."""
    message = ckks.Client(holder.public_context).encrypt(np.array([4, -9]))
    assert holder.decrypt(message).tolist() == [4, -9]


def test_vectors_are_cut_without_a_warning(holder):
    vector = np.arange(2 * ckks.SLOTS + 1) - 4000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = ckks.Client(holder.public_context).encrypt(vector)
    assert holder.decrypt(message).tolist() == vector.tolist()


def test_sums_are_exact_up_to_the_largest(holder):
    draw = np.random.default_rng(5)
    clients = 16
    most = int(ckks.LARGEST_SUM) // clients
    vectors = draw.integers(-most, most, [clients, 300], endpoint=True)
    vectors[:, :2] = [most, -most]
    client = ckks.Client(holder.public_context)
    server = ckks.Server(holder.public_context)
    total = b""
    for vector in vectors:
        total = server.add(total, client.encrypt(vector))
    np.testing.assert_array_equal(holder.decrypt(total), vectors.sum(axis=0))


def test_two_encryptions_of_one_vector_differ(holder):
    client = ckks.Client(holder.public_context)
    assert client.encrypt(np.zeros(3)) != client.encrypt(np.zeros(3))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m[:10],
        lambda m: m[:-1],
        lambda m: m[: len(m) // 2],
        lambda m: m + b"\0",
        lambda m: b"pickle" + m[6:],
        lambda m: m[:8] + b"\7" + m[9:],
        lambda m: m[:16] + b"\xff" * 4 + m[20:],
    ],
)
def test_what_is_no_message_is_refused(holder, spoil):
    message = ckks.Client(holder.public_context).encrypt(np.arange(5))
    spoilt = spoil(message)
    with pytest.raises(errors.DataError, match="encrypted vector"):
        holder.decrypt(spoilt)
    with pytest.raises(errors.DataError, match="encrypted"):
        ckks.Server(holder.public_context).add(message, spoilt)


def test_vectors_of_other_lengths_are_not_added(holder):
    client = ckks.Client(holder.public_context)
    with pytest.raises(errors.DataError, match="as many numbers"):
        ckks.Server(holder.public_context).add(
            client.encrypt(np.arange(5)), client.encrypt(np.arange(6))
        )


def test_a_message_of_another_key_is_refused(holder):
    other = ckks.Client(ckks.KeyHolder().public_context)
    with pytest.raises(errors.DataError, match="another one"):
        holder.decrypt(other.encrypt(np.arange(20)))


def test_training_ends_as_with_the_mean():
    task = small.task_of(small.dense)
    weights = small.start(task)
    rounds = [small.blocks(task, number) for number in (1, 2)]
    ends = []
    with InProcessContext(client_threads=2):
        for factory in (WeightedMeanFactory(), EncryptedMeanFactory()):
            process = fed_avg.build(
                task.tff_model_fn, small.CLIENTS, small.SERVER, factory
            )
            ends.append(small.train(process, weights, rounds)[0])
    for one, other in zip(*ends):
        np.testing.assert_allclose(one, other, atol=1e-5)


def config_of(path, rounds):
    return ExperimentConfig(
        data=DataConfig("synthetic_iid"),
        clients=ClientConfig(clients_per_round=2, steps_per_round=1),
        aggregation=AggregationConfig("he_mean"),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_checkpoint=1,
            finishers="none",
        ),
    )


def test_a_run_resumes_to_the_bit_and_writes_no_metric_of_training(tmp_path):
    whole = experiment.run(config_of(tmp_path / "whole", 2))
    experiment.run(config_of(tmp_path / "parts", 2), until=1)
    parts = experiment.run(config_of(tmp_path / "parts", 2))
    assert whole.evaluation == parts.evaluation
    rows = metrics_file.read(whole.directory.metrics)
    assert "eval_loss" in rows[0] and rows[0]["too_large_updates"] == 0
    # Of 610 numbers; 2,444 bytes in the open.
    assert 100_000 < rows[0]["bytes_up"] < 262_144
    assert not {"examples", "clients", "train_loss"} & set(rows[0])


def test_tffs_worker_is_refused():
    with pytest.raises(errors.ConfigError, match="--runtime=local is not used"):
        ExperimentConfig(
            aggregation=AggregationConfig("he_mean"),
            run=RunConfig(runtime="local"),
        )


def test_without_tenseal_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(errors.ConfigError, match=r"tff-pipeline\[he\]"):
        before_start.check(config_of(tmp_path, 1))
    with pytest.raises(errors.ConfigError, match=r"tff-pipeline\[he\]"):
        EncryptedMeanFactory()
