"""Ray itself, with TLS and a token: who joins, what listens."""

import subprocess
import sys
import time

import pytest

pytest.importorskip("ray", reason="Ray is not installed: .[ray]")

from tests.testing import ray_ports, secured_cluster
from tests.testing.cluster_files import Lab
from tests.testing.fork_server import ROOT
from tff_pipeline.runtime.ray import certificates

pytestmark = pytest.mark.soak

_JOINS = """
import sys
from tff_pipeline import errors
from tff_pipeline.runtime.ray import cluster
import ray
try:
    with cluster.joined(sys.argv[1], 1, 25):
        print(ray.get(ray.remote(lambda: 6 * 7).remote()))
except errors.PipelineError as error:
    print(f"error: {error}")
"""


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A head, and the files of its machine and of others."""
    # Ray's sockets have names of at most 107 bytes.
    folder = tmp_path_factory.mktemp("r")
    lab = Lab(folder)
    host = secured_cluster.HOST
    lab.own = certificates.make(str(folder / "own"), [host], 1)[host]
    environment = secured_cluster.environment_of(lab.own)
    with secured_cluster.started_head(environment, folder) as head:
        yield head, lab


def join(address, environment):
    """Returns what a process that joins says, and the seconds it takes."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _JOINS, address],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr[-2000:], time.monotonic() - begun


def test_the_clusters_own_files_join_and_compute(secured):
    head, lab = secured
    said, _ = join(head.address, secured_cluster.environment_of(lab.own))
    assert said.startswith("42\n")


@pytest.mark.parametrize(
    ("files", "others", "words"),
    [
        ("stranger", {}, "shows a certificate that does not hold by"),
        ("expired", {}, "does not hold today, but from"),
        (None, {}, "does not answer as a Ray cluster does"),
        ("own", {"RAY_AUTH_TOKEN": "0" * 64}, "does not take the token"),
        ("own", {"RAY_AUTH_MODE": "disabled"}, "asks for a token, and none"),
        ("own", {"RAY_AUTH_TOKEN_PATH": "/nowhere"}, "cannot be read"),
    ],
)
def test_others_are_told_why_in_half_a_minute(secured, files, others, words):
    head, lab = secured
    folder = files and getattr(lab, files)
    environment = {**secured_cluster.environment_of(folder), **others}
    said, seconds = join(head.address, environment)
    assert said.startswith("error: ")
    assert words in said.splitlines()[0]
    assert seconds < 30


@pytest.fixture(scope="module")
def listeners(secured):
    head, lab = secured
    environment = secured_cluster.environment_of(lab.own)
    with ray_ports.working(head.address, environment) as driver:
        return ray_ports.scan(head, driver, lab.own)


def test_no_listener_answers_strangers_but_for_metrics(listeners):
    found = {row["listener"]: row for row in listeners}
    assert set(found) == {
        *("GCS", "node manager", "object manager", "Ray client server"),
        *("runtime env agent", secured_cluster.METRICS),
        *("worker", "driver"),
    }
    metrics = found.pop(secured_cluster.METRICS)
    assert metrics["stranger"] == "answers /metrics"
    agent = found.pop("runtime env agent")
    assert (agent["tls"], agent["stranger"]) == (False, "refused")
    assert agent["address"] == secured_cluster.HOST
    for row in found.values():
        assert row["tls"]
        assert row["stranger"] == "nothing"
        assert row["without_token"] == "refused"


def test_the_table_of_the_document_is_what_is_measured(listeners):
    text = (ROOT / "docs/cluster_security.md").read_text()
    assert ray_ports.table(listeners) in text
