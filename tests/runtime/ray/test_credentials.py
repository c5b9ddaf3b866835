"""Tests what is said of a certificate or token that a cluster does not take.

The cluster is a gRPC server with TLS that asks for a certificate and a token as
Ray's does; tests/runtime/ray/test_secured_cluster.py asks Ray itself.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import socket

import pytest

pytest.importorskip("cryptography", reason="cryptography is missing: .[ray]")

import grpc

from tests.testing.cluster_files import HOST, Lab
from tff_pipeline import errors
from tff_pipeline.runtime.ray import certificates, credentials

CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"


class Gcs(grpc.GenericRpcHandler):
    """Answers Ray's first call to those who show the token."""

    def __init__(self, token, call=CALL):
        self._token = token
        self._call = call

    def service(self, handler_call_details):
        if handler_call_details.method != self._call:
            return None
        shown = dict(handler_call_details.invocation_metadata)

        def answer(request, context):
            if self._token and shown.get("authorization") != (
                f"Bearer {self._token}"
            ):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.contextmanager
def serving(folder=None, token=None, call=CALL):
    """The port of a server with a machine's files, or without TLS."""
    pool = concurrent.futures.ThreadPoolExecutor(2)
    server = grpc.server(pool, handlers=[Gcs(token, call)])
    if folder is None:
        port = server.add_insecure_port(f"{HOST}:0")
    else:
        key, certificate, authority = (
            pathlib.Path(folder, name).read_bytes()
            for name in ("key.pem", "cert.pem", "ca.pem")
        )
        port = server.add_secure_port(
            f"{HOST}:0",
            grpc.ssl_server_credentials(
                [(key, certificate)], authority, require_client_auth=True
            ),
        )
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
        pool.shutdown()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def port(lab):
    with serving(lab.own, lab.token) as made:
        yield made


@pytest.fixture
def use(monkeypatch):
    """Sets the variables of a machine's folder, but for those given."""
    for name in list(os.environ):
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)

    def of(folder=None, **others):
        names = certificates.environment(folder) if folder else {}
        for name, value in {**names, **others}.items():
            monkeypatch.setenv(name, value)

    return of


def test_the_clusters_own_files_are_taken(lab, port, use):
    use(lab.own)
    credentials.check(HOST, port, closed=True)


def test_a_token_may_stand_in_the_environment(lab, port, use):
    use(lab.own, RAY_AUTH_TOKEN=lab.token, RAY_AUTH_TOKEN_PATH="/nowhere")
    credentials.check(HOST, port, closed=True)


@pytest.mark.parametrize(
    ("files", "others", "words"),
    [
        (
            "stranger",
            {},
            "shows a certificate that does not hold by RAY_TLS_CA",
        ),
        (
            "own",
            {
                "RAY_TLS_SERVER_CERT": "{stranger}/cert.pem",
                "RAY_TLS_SERVER_KEY": "{stranger}/key.pem",
            },
            "does not take RAY_TLS_SERVER_CERT=",
        ),
        (
            "expired",
            {},
            r"RAY_TLS_SERVER_CERT=.*/localhost/cert.pem does not hold "
            r"today, but from ",
        ),
        (
            "own",
            {"RAY_TLS_SERVER_KEY": "{stranger}/key.pem"},
            "are not a certificate and its own key",
        ),
        (
            "own",
            {"RAY_TLS_SERVER_KEY": "/nowhere"},
            "RAY_TLS_SERVER_KEY=/nowhere cannot be read",
        ),
        (
            "own",
            {"RAY_TLS_CA_CERT": "{own}/token"},
            "RAY_TLS_CA_CERT=.*token is no certificate",
        ),
        (
            "own",
            {"RAY_AUTH_TOKEN": "0" * 64},
            "does not take the token of RAY_AUTH_TOKEN;",
        ),
        (
            "own",
            {"RAY_AUTH_TOKEN_PATH": "{stranger}/token"},
            "of RAY_AUTH_TOKE",
        ),
        (
            "own",
            {"RAY_AUTH_TOKEN_PATH": "/nowhere"},
            "=/nowhere cannot be read",
        ),
        ("own", {"RAY_AUTH_TOKEN_PATH": "/dev/null"}, "holds no token"),
        ("own", {"RAY_AUTH_MODE": "disabled"}, "asks for a token, and none"),
    ],
)
def test_what_a_cluster_does_not_take(lab, port, use, files, others, words):
    use(
        getattr(lab, files),
        **{name: value.format(**vars(lab)) for name, value in others.items()},
    )
    with pytest.raises(errors.ConfigError, match=words) as error:
        credentials.check(HOST, port, closed=True)
    said = str(error.value)
    assert "\n" not in said
    assert lab.token not in said


def test_a_certificate_of_another_address_is_refused(lab, use):
    use(lab.own)
    with (
        serving(lab.named, lab.token) as port,
        pytest.raises(errors.ConfigError, match=r"mismatch.*bear this address"),
    ):
        credentials.check(HOST, port, closed=True)


def test_no_certificate_finds_no_cluster(port, use):
    use()
    words = r"does not answer as a Ray cluster .*RAY_USE_TLS=1, set that"
    with pytest.raises(errors.TrainingError, match=words):
        credentials.check(HOST, port, closed=False)


def test_tls_is_not_given_up_for_a_cluster_without(lab, use):
    use(lab.own)
    with (
        serving() as port,
        pytest.raises(errors.TrainingError, match="does not speak TLS"),
    ):
        credentials.check(HOST, port, closed=True)


def test_a_cluster_that_asks_for_no_token_is_open(lab, use):
    use(lab.own)
    with serving(lab.own) as port:
        with pytest.raises(errors.ConfigError, match="show no token"):
            credentials.check(HOST, port, closed=True)
        credentials.check(HOST, port, closed=False)


def test_what_is_no_ray_is_said_to_be_none(use):
    use()
    words = "does not answer as a Ray cluster does"
    with (
        serving(call="/another/Call") as port,
        pytest.raises(errors.TrainingError, match=words),
    ):
        credentials.check(HOST, port, closed=False)


def test_silence_is_not_waited_for(use, monkeypatch):
    use()
    monkeypatch.setattr(credentials, "_SECONDS", 0.2)
    with (
        socket.create_server((HOST, 0)) as silent,
        pytest.raises(errors.TrainingError, match="does not answer"),
    ):
        credentials.check(HOST, silent.getsockname()[1], closed=False)


def test_what_is_missing_is_named(use):
    use()
    assert credentials.missing() == [
        "RAY_USE_TLS=1",
        "RAY_TLS_SERVER_CERT",
        "RAY_TLS_SERVER_KEY",
        "RAY_TLS_CA_CERT",
        "RAY_AUTH_MODE=token",
        "RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN",
    ]
    use(**certificates.environment("/etc"))
    assert credentials.missing() == []
