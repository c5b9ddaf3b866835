"""Checks what a machine shows to a Ray cluster, before Ray is asked.

Measured on Ray 2.52: with a wrong, expired or missing certificate `ray.init`
does not return; with a wrong token it tries for 20 s and then raises an
exception without words; without the token's file it aborts the process. So one
call is made here first, with the same files and token, whose errors say more.
"""

import datetime
import os
import socket
import ssl
from typing import NamedTuple, Optional

import grpc

from tff_pipeline import errors

CERTIFICATE = "RAY_TLS_SERVER_CERT"
KEY = "RAY_TLS_SERVER_KEY"
AUTHORITY = "RAY_TLS_CA_CERT"
_MODE = "RAY_AUTH_MODE"
_TOKEN = "RAY_AUTH_TOKEN"
_TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
# Where Ray looks for a token last.
_TOKEN_AT_HOME = "~/.ray/auth_token"
_SECONDS = 5.0
# The first call of each of Ray's processes; it changes nothing.
_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_FILES = (
    "scripts/make_certs.py makes the files, and docs/cluster_security.md says "
    "where they go."
)


class _Files(NamedTuple):
    certificate: str
    key: str
    authority: str


def missing() -> list[str]:
    """Returns what is to be set in the environment for TLS and a token."""
    names = []
    if not _uses_tls():
        names.append("RAY_USE_TLS=1")
    files = (CERTIFICATE, KEY, AUTHORITY)
    names += [name for name in files if not os.environ.get(name)]
    if not _uses_token():
        names.append(f"{_MODE}=token")
    if not (os.environ.get(_TOKEN) or os.environ.get(_TOKEN_PATH)):
        names.append(f"{_TOKEN_PATH} or {_TOKEN}")
    return names


def check(host: str, port: int, closed: bool) -> None:
    """Checks that a cluster takes this machine's certificate and token.

    Args:
      host: The address of the cluster's head.
      port: The port of its GCS, the first process of a cluster.
      closed: Whether the cluster must refuse those who have no token.

    Raises:
      ConfigError: If a file or the token is missing, or not the cluster's.
      TrainingError: If what answers is no Ray cluster.
    """
    address = f"--ray_address={host}:{port}"
    token = _token(address) if _uses_token() else None
    files = _tls_files(address) if _uses_tls() else None
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # As Ray has it: no proxy.
    options = [("grpc.enable_http_proxy", 0)]
    if files is None:
        channel = grpc.insecure_channel(target, options)
    else:
        _shake_hands(address, host, port, files)
        channel = grpc.secure_channel(target, _credentials(files), options)
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    with channel:
        code, details = _answer(channel, token)
        if code == unauthenticated:
            raise errors.ConfigError(_token_refused(address, token))
        if code != grpc.StatusCode.OK:
            if code == grpc.StatusCode.UNAVAILABLE and files is not None:
                raise errors.ConfigError(
                    f"{address} does not take {CERTIFICATE}="
                    f"{files.certificate}; it must be signed by the authority "
                    f"of the cluster's machines: {_FILES}"
                )
            raise errors.TrainingError(
                f"{address} does not answer as a Ray cluster does ({code.name}:"
                f" {details}); see that ray start --head runs there on this "
                "port; if it does so with RAY_USE_TLS=1, set that and "
                f"{CERTIFICATE}, {KEY} and {AUTHORITY} here too."
            )
        if closed and _answer(channel, None)[0] != unauthenticated:
            raise errors.ConfigError(
                f"{address} lets those in who show no token, so that anyone "
                f"who has a certificate runs code there; set {_MODE}=token and "
                f"{_TOKEN_PATH} on all of its machines, and start it again."
            )


def _answer(
    channel: grpc.Channel, token: Optional[str]
) -> tuple[grpc.StatusCode, str]:
    """Makes Ray's first call; returns its status and the error's text."""
    shown = [] if token is None else [("authorization", f"Bearer {token}")]
    try:
        channel.unary_unary(_CALL)(b"", timeout=_SECONDS, metadata=shown)
    except grpc.RpcError as error:
        return error.code(), " ".join(str(error.details()).split())
    return grpc.StatusCode.OK, ""


def _token_refused(address: str, token: Optional[str]) -> str:
    if token is None:
        return (
            f"{address} asks for a token, and none is set; set {_MODE}=token, "
            f"and {_TOKEN_PATH} to a copy of its machines' token file."
        )
    return (
        f"{address} does not take the token of {_source_of_token()}; copy the "
        "token file of the cluster's machines."
    )


def _shake_hands(address: str, host: str, port: int, files: _Files) -> None:
    """Checks the cluster's certificate, and its name as Ray does."""
    context = ssl.create_default_context(cafile=files.authority)
    try:
        # Without a password here, an encrypted key would ask for one.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise errors.ConfigError(
            f"{CERTIFICATE}={files.certificate} and {KEY}={files.key} are not "
            f"a certificate and its own key in PEM form ({_words(error)}); "
            f"{_FILES}"
        ) from None
    try:
        with (
            socket.create_connection((host, port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        raise errors.ConfigError(
            f"{address} shows a certificate that does not hold by "
            f"{AUTHORITY}={files.authority} "
            f"({error.verify_message.rstrip('.')}); it must be signed by that "
            f"authority, hold today and bear this address: {_FILES}"
        ) from None
    except OSError as error:
        raise errors.TrainingError(
            f"{address} does not speak TLS ({_words(error)}), and RAY_USE_TLS "
            "is set here; start the cluster with the same variables: "
            f"{_FILES}"
        ) from None


def _credentials(files: _Files) -> grpc.ChannelCredentials:
    contents = []
    for path in (files.authority, files.key, files.certificate):
        with open(path, "rb") as file:
            contents.append(file.read())
    return grpc.ssl_channel_credentials(*contents)


def _tls_files(address: str) -> _Files:
    """Returns the files that Ray will read, each looked at."""
    # Here, for it is no package of a cluster without TLS.
    from cryptography import x509

    paths = []
    now = datetime.datetime.now(datetime.timezone.utc)
    for name in (CERTIFICATE, KEY, AUTHORITY):
        path = os.environ.get(name, "")
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise errors.ConfigError(
                f"{name}={path} cannot be read ({error.strerror}), and "
                f"{address} is to be joined with RAY_USE_TLS set: {_FILES}"
            ) from None
        paths.append(path)
        if name == KEY:
            continue
        try:
            certificate = x509.load_pem_x509_certificate(content)
        except ValueError:
            raise errors.ConfigError(
                f"{name}={path} is no certificate in PEM form: {_FILES}"
            ) from None
        first, last = (
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
        if not first <= now <= last:
            raise errors.ConfigError(
                f"{name}={path} does not hold today, but from {first:%Y-%m-%d} "
                f"to {last:%Y-%m-%d}; see that this machine's clock is right, "
                f"or make a new one: {_FILES}"
            )
    return _Files(*paths)


def _token(address: str) -> str:
    """Returns the token that Ray will show."""
    if os.environ.get(_TOKEN):
        return os.environ[_TOKEN].strip()
    path = os.path.expanduser(os.environ.get(_TOKEN_PATH) or _TOKEN_AT_HOME)
    try:
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
    except (OSError, ValueError) as error:
        raise errors.ConfigError(
            f"{_TOKEN_PATH}={path} cannot be read ({_words(error)}), and "
            f"{address} is to be joined with {_MODE}=token; copy the token "
            "file of the cluster's machines."
        ) from None
    if not token or not token.isprintable():
        raise errors.ConfigError(
            f"{_TOKEN_PATH}={path} holds no token of one line; copy the token "
            "file of the cluster's machines."
        )
    return token


def _source_of_token() -> str:
    if os.environ.get(_TOKEN):
        return _TOKEN
    return f"{_TOKEN_PATH}={os.environ.get(_TOKEN_PATH) or _TOKEN_AT_HOME}"


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true")


def _uses_token() -> bool:
    return os.environ.get(_MODE, "").lower() == "token"


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())
