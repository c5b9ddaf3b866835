"""Starts a Ray cluster on this machine, or joins one that runs.

Whoever reaches a Ray cluster without TLS and a token runs code on all of its
machines: `ray start` listens on every interface, and takes anyone. So a cluster
that this package starts listens on the loopback interface alone and has a token
of its own, and one beyond it is joined only with both;
docs/cluster_security.md says how.
"""

import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from typing import Optional

# Read by Ray when it is imported: no report of its use leaves this machine.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Nothing here needs a GPU; Ray would hide it from workers without asking.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from tff_pipeline import errors
from tff_pipeline.runtime.ray import credentials, own_token
from tff_pipeline.runtime.ray.watchdog import limited

_LOOPBACK = "127.0.0.1"
# A machine of a cluster that has one of these addresses listens on it alone;
# measured, one with any other, 127.0.0.2 too, listens on every interface.
_CLOSED = (_LOOPBACK, "::1")
_CONNECT_SECONDS = 10.0


@contextlib.contextmanager
def joined(address: str, workers: int, seconds: float) -> Iterator[None]:
    """Joins a cluster, and leaves it at the end.

    A cluster of this process asks for a random token meanwhile.

    Args:
      address: The cluster's address, such as 10.0.0.1:6379; `local` starts a
        cluster on this machine, which ends with this process.
      workers: How many processors a cluster on this machine is told of.
      seconds: How long joining and leaving may take each.

    Raises:
      ConfigError: If the address is none, or the cluster is open to others.
      TrainingError: If it cannot be joined.
    """
    options: dict[str, object] = {"address": address}
    if address == "local":
        options["num_cpus"] = workers
    loopback = _LOOPBACK if address == "local" else _loopback(address)
    if loopback is not None:
        options["_node_ip_address"] = loopback
    if address != "local" and loopback in _CLOSED:
        # 127.0.0.1 and localhost, as they are, Ray would replace by an
        # address of this machine that a closed cluster does not listen on;
        # other names (LOCALHOST) it asks a name server for, and waits.
        port = address.rpartition(":")[2]
        options["address"] = f"[::ffff:{_LOOPBACK}]:{port}"
    with contextlib.ExitStack() as stack:
        if address == "local":
            stack.enter_context(own_token.shown())
        _init(options, address, seconds)
        stack.callback(_leave, seconds)
        if address != "local":
            _check_nodes(address, seconds)
        yield


def _init(options: dict[str, object], address: str, seconds: float) -> None:
    """Joins the cluster, or says why not."""
    with limited(seconds, f"joining --ray_address={address}"):
        try:
            ray.init(
                **options,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises nearly all that there is.
            ray.shutdown()
            loopback = options.get("_node_ip_address")
            if type(error) is ConnectionError and not str(error) and loopback:
                # Measured: all that Ray says if it finds no such machine.
                raise errors.TrainingError(
                    f"--ray_address={address} cannot be joined: no machine of "
                    f"the cluster that answers there has the address {loopback}"
                    "; name the one that ray start was given."
                ) from None
            raise errors.TrainingError(
                f"--ray_address={address} cannot be joined: {said(error)}; see "
                "that Ray of the same version, with the same Python, runs "
                "there and on this machine (ray start), with TLS files of the "
                "same authority and the same token."
            ) from None


def _leave(seconds: float) -> None:
    with limited(seconds, "leaving the cluster"):
        ray.shutdown()


def _check_nodes(address: str, seconds: float) -> None:
    """Refuses a cluster of which a machine is open to others.

    That its head answers on the loopback interface does not tell: one that
    listens on every interface answers there too.
    """
    with limited(seconds, "asking the cluster for its machines"):
        nodes = ray.nodes()
    if any(
        node["Alive"] and node["NodeManagerAddress"] not in _CLOSED
        for node in nodes
    ):
        _check_closed(address)


def said(error: Exception) -> str:
    """Returns what an exception of Ray's says, in one line.

    Ray's lines that follow the first name the versions that differ.
    """
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _loopback(address: str) -> Optional[str]:
    """Returns the IP address, if it is a loopback address; checks it.

    Ray would wait long for one that does not answer.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise errors.ConfigError(
            f"--ray_address={address}: must be local, or host and port, such "
            "as 10.0.0.1:6379."
        )
    try:
        with socket.create_connection((host, int(port)), _CONNECT_SECONDS) as c:
            there = ipaddress.ip_address(c.getpeername()[0])
    except (OSError, OverflowError) as error:
        raise errors.TrainingError(
            f"--ray_address={address} does not answer "
            f"({getattr(error, 'strerror', None) or error}); start the cluster "
            "there (ray start --head), or correct the address."
        ) from None
    if not there.is_loopback:
        _check_closed(address)
    credentials.check(host, int(port), closed=not there.is_loopback)
    return str(there) if there.is_loopback else None


def _check_closed(address: str) -> None:
    """Refuses a cluster that others than its owners could use."""
    if tuple(map(int, ray.__version__.split(".")[:2])) < (2, 52):
        raise errors.ConfigError(
            f"--ray_address={address} reaches beyond this machine, and Ray "
            f"{ray.__version__} knows no token, so that anyone who reaches it "
            "runs code there; use Python 3.10 or later, with Ray 2.52."
        )
    missing = credentials.missing()
    if missing:
        raise errors.ConfigError(
            f"--ray_address={address} reaches beyond this machine, and without "
            "TLS and a token anyone who reaches it runs code there and reads "
            f"what clients send; set {', '.join(missing)} here and on all of "
            "its machines (docs/cluster_security.md; scripts/make_certs.py "
            "makes the files)."
        )
