"""Runs on real Ray workers: their bits, and what befalls them."""

import dataclasses
import itertools
import os
import signal
import socket

import pytest

from tests.testing.scripts import rows_of
from tests.testing.sharded_runs import config_of, end
from tff_pipeline import errors, experiment, registry
from tff_pipeline.assembly import workers
from tff_pipeline.assembly.task import load_task
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.ray.options import PoolOptions

pytest.importorskip("ray", reason="Ray is not installed: .[ray]")

from tff_pipeline.runtime.ray import cluster
from tff_pipeline.runtime.ray.context import RayContext
from tff_pipeline.runtime.ray.pool import RayPool

JOINED = "has joined"


class SharedContext(RayContext):
    """Stays in its cluster from one run to the next."""

    def __enter__(self):
        return InProcessContext.__enter__(self)

    def __exit__(self, *exception):
        InProcessContext.__exit__(self, *exception)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cluster of two workers, for runs on the same clients."""
    config = config_of("fed_avg", tmp_path_factory.mktemp("any"), runtime="ray")
    task, said = load_task(config), []
    made = SharedContext(
        workers.reader_of(config, task, None),
        workers.facts(config, task),
        "local",
        PoolOptions(workers=2, wait_seconds=120, shard_seconds=120),
        config.run.clients_per_shard,
        said.append,
    )
    made.said = said
    RayContext.__enter__(made)
    InProcessContext.__exit__(made, None, None, None)
    yield made
    made._joined.close()


@pytest.fixture
def on_shared(shared, monkeypatch):
    monkeypatch.setitem(registry.RUNTIMES, "ray", f"{__name__}:SharedContext")
    monkeypatch.setattr(
        "tff_pipeline.assembly.runtimes._context",
        lambda name: (lambda *_: shared) if name == "ray" else InProcessContext,
    )
    return shared


@pytest.mark.parametrize("case", ["fed_avg", "dp_gaussian", "scaffold"])
def test_two_workers_give_the_bits_of_one_process(case, tmp_path, on_shared):
    one, many = tmp_path / "one", tmp_path / "many"
    experiment.run(config_of(case, one))
    experiment.run(config_of(case, many, runtime="ray"))
    assert end(one) == end(many)


# Of a worker that stands still only a limit tells; one that is short enough to
# wait for may be too short for a slow machine too, which loses more.
@pytest.mark.parametrize(
    ("how", "seconds"), [(signal.SIGKILL, 120), (signal.SIGSTOP, 20)]
)
def test_a_lost_worker_changes_nothing(
    how, seconds, tmp_path, on_shared, monkeypatch
):
    one, many = tmp_path / "one", tmp_path / "many"
    experiment.run(config_of("fed_avg", one, rounds=8))
    monkeypatch.setattr(
        on_shared.workers,
        "_options",
        dataclasses.replace(
            on_shared.workers._options, shard_seconds=seconds, max_tries=20
        ),
    )
    before = on_shared.workers.losses
    # Another one would stand in for a worker that is lost too early.
    pid = on_shared.workers.wait_for(2)[0].pid
    compute, calls = on_shared.workers.compute, itertools.count()

    def losing(*arguments):
        if next(calls) == 3:  # Both workers are given a shard next.
            os.kill(pid, how)
        return compute(*arguments)

    monkeypatch.setattr(on_shared.workers, "compute", losing)
    experiment.run(config_of("fed_avg", many, rounds=8, runtime="ray"))
    assert end(one) == end(many)
    lost = sum(int(row["lost_workers"]) for row in rows_of(many))
    assert lost == on_shared.workers.losses - before >= 1
    assert any(
        f"{pid} on" in line and "is lost" in line for line in on_shared.said
    )


def test_a_worker_with_other_data_is_refused(shared):
    facts = {**shared.workers._facts, "clients": "others"}
    pool = RayPool(
        shared._make_reader, facts, PoolOptions(workers=1), lambda _: None
    )
    shared.workers.close()  # There are two processors.
    host = socket.gethostname()
    with pytest.raises(errors.PipelineError) as error:
        pool.wait_for(1)
    pool.close()
    assert f"worker on {host} is not like the driver in clients" in str(error)
    # The same again would not help, so nothing tries.
    assert not error.value.may_pass


def test_too_few_workers_end_the_run(shared):
    options = PoolOptions(workers=3, min_workers=3, wait_seconds=0.1)
    pool = RayPool(shared._make_reader, {}, options, lambda _: None)
    with pytest.raises(errors.TrainingError, match="--min_workers=3"):
        pool.wait_for(3)
    pool.close()


@pytest.mark.parametrize("address", ["nowhere", "a:b", ":1", "10.0.0.1"])
def test_an_address_has_a_host_and_a_port(address):
    with (
        pytest.raises(errors.ConfigError, match=f"ray_address={address}"),
        cluster.joined(address, 1, 30),
    ):
        pass


def test_an_address_must_answer():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(errors.TrainingError, match="does not answer"),
            cluster.joined(address, 1, 30),
        ):
            pass


def test_other_versions_are_both_named(monkeypatch):
    def init(**_):
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n"
            "    Ray: 2.51.2\n    Python: 3.9.18\n"
            "This process on node 10.0.0.2 was started with:\n"
            "    Ray: 2.52.1\n    Python: 3.11.7\n"
        )

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    with (
        pytest.raises(errors.TrainingError) as error,
        cluster.joined("local", 1, 30),
    ):
        pass
    said = str(error.value)
    assert "\n" not in said
    for words in ("Ray: 2.51.2 Python: 3.9.18", "Ray: 2.52.1 Python: 3.11.7"):
        assert words in said
    assert "Ray of the same version, with the same Python" in said
