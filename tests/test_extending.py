"""The additions of docs/extending.md, run as they stand on that page."""

import dataclasses
import importlib
import json
import re
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.scripts import ROOT
from tff_pipeline import experiment, registry
from tff_pipeline.aggregators.rows import rows_of
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.assembly import process
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.client_work.block import client_block
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.tagged import TaggedClients
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    AttackConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runtime.in_process import InProcessContext

BLOCK = re.compile(r"```python\n# ([^\n]+)\n(.*?)```", re.DOTALL)
TABLES = (
    *("TASKS", "AGGREGATORS", "AGGREGATOR_STEPS", "ALGORITHMS"),
    *("ATTACKS", "SINKS", "FINISHERS"),
)
ROUNDS = 4


@pytest.fixture(scope="module", autouse=True)
def additions(tmp_path_factory):
    """The page's modules where Python finds them, and its lines in force."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "additions").mkdir()
    (folder / "additions" / "__init__.py").write_text("")
    before = {name: dict(getattr(registry, name)) for name in TABLES}
    text = (ROOT / "docs" / "extending.md").read_text()
    lines = []
    for title, code in BLOCK.findall(text):
        if title == "the line":
            lines.append(code)
        else:
            (folder / title).write_text(code)
    assert len(lines) == 9 and len(list(folder.glob("additions/*.py"))) == 11
    sys.path.insert(0, str(folder))
    for line in lines:
        exec(line, {"registry": registry})
    yield
    sys.path.remove(str(folder))
    for name, table in before.items():
        known = getattr(registry, name)
        # Of the names that were there, some stood for something else.
        known.clear()
        known.update(table)
    for name in [n for n in sys.modules if n.startswith("additions")]:
        del sys.modules[name]


def config_of(path, **groups):
    defaults = {
        "data": DataConfig("clouds", num_clients=8),
        "clients": ClientConfig(
            clients_per_round=4,
            batch_size=10,
            optimizer=OptimizerConfig("client", "sgd", 0.3),
        ),
        "run": RunConfig(
            output_dir=str(path),
            total_rounds=ROUNDS,
            rounds_per_eval=ROUNDS,
            rounds_per_checkpoint=2,
            finishers="none",
        ),
    }
    return ExperimentConfig(**{**defaults, **groups})


def trained(path):
    """(round, weights) of the last checkpoint."""
    return CheckpointStore(str(path / "checkpoints")).load_weights()


def test_a_dataset_is_learned(tmp_path):
    result = experiment.run(config_of(tmp_path))
    # The best line between the centres is right for 98.3 %.
    assert result.evaluation["accuracy"] > 0.9


def test_a_model_is_trained_in_place_of_the_tasks(tmp_path):
    data = DataConfig("clouds", num_clients=8, model_fn="additions.wide:wide")
    experiment.run(config_of(tmp_path, data=data))
    _, weights = trained(tmp_path)
    assert weights.trainable[0].shape == (2, 32)


@pytest.mark.parametrize("count", [3, 4, 9])
def test_the_mean_is_of_the_values_nearest_the_median(count):
    near_median = importlib.import_module("additions.near_median")
    draw = np.random.default_rng(count)
    values = draw.normal(size=[count, 3]).astype(np.float32)
    distances = abs(values - np.median(values, axis=0))
    nearest = np.argsort(distances, axis=0)[: count - count // 2]
    expected = np.take_along_axis(values, nearest, axis=0).mean(axis=0)
    found = near_median.apply(rows_of(values), ()).value[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_aggregator_takes_clients_as_rows_and_withstands_one(tmp_path):
    experiment.run(
        config_of(tmp_path, aggregation=AggregationConfig("near_median"))
    )
    assert trained(tmp_path)[0] == ROUNDS
    clipped = AggregationConfig("clip+near_median", clip_norm=0.01)
    experiment.run(config_of(tmp_path / "clipped", aggregation=clipped))
    task = experiment.load_task(config_of(tmp_path))
    first = initial_weights(task, 0)
    moved = [
        np.concatenate(
            [np.ravel(a - b) for a, b in zip(w.trainable, first.trainable)]
        )
        for w in (trained(tmp_path)[1], trained(tmp_path / "clipped")[1])
    ]
    # A mean of values of clipped updates is no longer than sqrt(dimension)
    # clips.
    assert np.linalg.norm(moved[1]) < 0.01 * ROUNDS * np.sqrt(moved[1].size)
    assert np.linalg.norm(moved[0]) > 10 * np.linalg.norm(moved[1])


def test_an_attack_is_that_of_its_clients_alone(tmp_path):
    def moved(folder, attack):
        path = tmp_path / folder
        clients = ClientConfig(
            clients_per_round=8,
            batch_size=10,
            weighting="uniform",
            optimizer=OptimizerConfig("client", "sgd", 0.3),
        )
        run = RunConfig(output_dir=str(path), total_rounds=1, finishers="none")
        experiment.run(config_of(path, clients=clients, attack=attack, run=run))
        task = experiment.load_task(config_of(path))
        first = initial_weights(task, 0).trainable
        pairs = zip(trained(path)[1].trainable, first)
        return np.concatenate([np.ravel(a - b) for a, b in pairs])

    ids = experiment.load_task(config_of(tmp_path)).train.client_ids
    honest = moved("honest", AttackConfig())
    # All but one attack, so the mean is nearly a tenth.
    named = ",".join(ids[1:])
    lazy = moved("lazy", AttackConfig("lazy", attack_clients=named))
    last = moved("last", AttackConfig("lazy", attack_clients=ids[0]))
    # What one sends whole and seven to a tenth, and the other way round.
    np.testing.assert_allclose(lazy + last, 1.1 * honest, rtol=1e-3, atol=1e-5)


class Marked(ClientHook):
    """Marks the clients whose key is odd."""

    name = "marked"

    def prepare(self, block):
        mark = tf.cast(block["key"] % 2, tf.int32)
        return {**block, "mark": mark}


def test_a_step_knows_who_is_who_before_a_mean_too():
    config = config_of(
        "unused", aggregation=AggregationConfig("reversed_mean+mean")
    )
    task = experiment.load_task(config)
    weights = initial_weights(task, 0)
    rows = {}
    for chain, hooks in (
        ("mean", []),
        ("reversed_mean+mean", [Marked()]),
    ):
        config = config_of("unused", aggregation=AggregationConfig(chain))
        built = process.build_algorithm(config, task, Protection())
        algorithm = type(built)(
            AlgorithmContext(
                config,
                task.tff_model_fn,
                built.aggregation,
                [*hooks, *([TaggedClients()] if hooks else [])],
            )
        )
        with InProcessContext():
            state = algorithm.initial_state(weights)
            for cohort in ([2, 4, 6], [2, 4, 6, 7]):
                blocks = [
                    client_block(
                        task.train.load(task.train.client_ids[key]), key, 1
                    )
                    for key in cohort
                ]
                after, _, _ = algorithm.run_round(state, blocks, ())
                rows[chain, len(cohort)] = [
                    before - now
                    for before, now in zip(
                        weights.trainable,
                        algorithm.model_weights(after).trainable,
                    )
                ]
    # Three honest ones; then the fourth sends the negative of their mean.
    for honest, plain, attacked in zip(
        rows["mean", 3],
        rows["reversed_mean+mean", 3],
        rows["reversed_mean+mean", 4],
    ):
        np.testing.assert_allclose(plain, honest, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(
            attacked, honest * (3 - 1) / 4, rtol=1e-4, atol=1e-6
        )


def test_an_algorithm_pulls_clients_towards_where_they_started(
    tmp_path, monkeypatch
):
    proximal = importlib.import_module("additions.proximal")
    moved = {}
    for mu in (0.0, 0.5, 5.0):
        monkeypatch.setattr(proximal, "MU", mu)
        path = tmp_path / str(mu)
        algorithm = AlgorithmConfig("proximal")
        run = dataclasses.replace(
            config_of(path).run, total_rounds=1, rounds_per_eval=1
        )
        experiment.run(config_of(path, algorithm=algorithm, run=run))
        moved[mu] = trained(path)[1].trainable
    run = dataclasses.replace(run, output_dir=str(tmp_path / "plain"))
    experiment.run(config_of(tmp_path / "plain", run=run))
    # Without the term it is federated averaging, bit by bit.
    for a, b in zip(moved[0.0], trained(tmp_path / "plain")[1].trainable):
        np.testing.assert_array_equal(a, b)
    task = experiment.load_task(config_of(tmp_path))
    first = initial_weights(task, 0).trainable
    lengths = [
        sum(np.sum((a - b) ** 2) for a, b in zip(moved[mu], first))
        for mu in moved
    ]
    assert lengths[0] > lengths[1] > lengths[2] > 0


def kept_of(path, algorithm):
    """What clients keep, from the last checkpoint of a run."""
    config = config_of(path, algorithm=algorithm)
    task = experiment.load_task(config)
    built = process.build_algorithm(config, task, Protection())
    with InProcessContext():
        like = built.initial_state(initial_weights(task, 0))
    empty = KeptStates(str(path / "checkpoints"), built.initial_kept_state)
    store = CheckpointStore(str(path / "checkpoints"))
    return built, store.load_latest(like, empty)


def test_a_hooks_state_stays_on_its_client(tmp_path):
    algorithm = AlgorithmConfig("kept_momentum")
    config = config_of(tmp_path, algorithm=algorithm)
    experiment.run(config)
    records = [
        record.content
        for record in round_log.read(str(tmp_path / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]
    # Every round changed what clients keep.
    assert len({record["kept_state"] for record in records}) == ROUNDS
    built, saved = kept_of(tmp_path, algorithm)
    took_part = saved.kept.client_ids
    assert 4 <= len(took_part) <= 8
    for row in saved.kept.rows(took_part):
        assert any(np.any(part) for part in row["momentum"])
    # The momentum stays: what travels is the model, and up a weight too.
    assert built.bytes_up == built.bytes_down + 4


def test_two_clients_swap_what_they_keep(tmp_path):
    algorithm = AlgorithmConfig("swap")
    data = DataConfig("clouds", num_clients=8, client_test_fraction=0.2)
    run = dataclasses.replace(
        config_of(tmp_path).run, eval_clients="seen", total_rounds=1
    )
    experiment.run(config_of(tmp_path, algorithm=algorithm, run=run, data=data))
    built, saved = kept_of(tmp_path, algorithm)
    ids = saved.kept.client_ids
    rows = saved.kept.rows(ids)
    assert [int(row["own_model"]["has_one"]) for row in rows] == [1] * 4
    # Who swapped has what a run without swapping gave the other.
    alone = tmp_path / "alone"
    type(built).after_round, swap = (
        lambda self, state, kept, client_ids, number: (kept, {}),
        type(built).after_round,
    )
    try:
        run = dataclasses.replace(run, output_dir=str(alone))
        experiment.run(
            config_of(alone, algorithm=algorithm, run=run, data=data)
        )
    finally:
        type(built).after_round = swap
    _, unswapped = kept_of(alone, algorithm)
    digests, others = saved.kept.index.rows, unswapped.kept.index.rows
    swapped = [i for i in ids if digests[i] != others[i]]
    assert len(swapped) == 2
    a, b = swapped
    assert (digests[a], digests[b]) == (others[b], others[a])


def test_a_sink_has_the_rows_and_forgets_those_of_a_lost_future(tmp_path):
    def run(total):
        config = config_of(tmp_path)
        run = dataclasses.replace(
            config.run, sinks="csv,json_rows", total_rounds=total
        )
        experiment.run(dataclasses.replace(config, run=run))
        lines = (tmp_path / "rows.jsonl").read_text().splitlines()
        return [json.loads(line)["round"] for line in lines]

    assert run(2) == [1, 2]
    assert run(ROUNDS) == [1, 2, 3, 4]


def test_a_finisher_follows_the_last_round(tmp_path):
    config = config_of(tmp_path)
    run = dataclasses.replace(config.run, finishers="weight_norms")
    experiment.run(dataclasses.replace(config, run=run))
    norms = json.loads((tmp_path / "norms.json").read_text())
    _, weights = trained(tmp_path)
    expected = [np.linalg.norm(w) for w in weights.trainable]
    np.testing.assert_allclose(norms, expected, rtol=1e-6)
    last = round_log.read(str(tmp_path / "rounds.jsonl"))[-1]
    assert last.content["kind"] == "finished"


def test_of_a_round_that_is_rejected_clients_keep_nothing(tmp_path):
    hook = importlib.import_module("additions.kept_momentum").KeptMomentum

    class Overflowing(hook):
        """Has the mean overflow, of updates that are each finite."""

        def message(self, message, state, client):
            update = tf.nest.map_structure(
                lambda leaf: tf.ones_like(leaf) * 3e38, message.update
            )
            return message._replace(update=update), state

    module = importlib.import_module("additions.kept_momentum")
    module.KeptMomentum, before = Overflowing, module.KeptMomentum
    try:
        config = config_of(tmp_path, algorithm=AlgorithmConfig("kept_momentum"))
        run = dataclasses.replace(config.run, total_rounds=2)
        experiment.run(dataclasses.replace(config, run=run))
    finally:
        module.KeptMomentum = before
    records = [
        record.content
        for record in round_log.read(str(tmp_path / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]
    assert [r["metrics"]["rejected_update"] for r in records] == [1, 1]
    assert records[0]["kept_state"] == records[1]["kept_state"]
    assert not (tmp_path / "checkpoints" / "kept_rows").exists() or not list(
        (tmp_path / "checkpoints" / "kept_rows").iterdir()
    )
