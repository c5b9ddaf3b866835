"""Keys, certificates and token of a cluster: who is let in by them."""

import datetime
import os
import pathlib
import socket
import ssl
import threading

import pytest

pytest.importorskip("cryptography", reason="cryptography is missing: .[ray]")

from cryptography import x509

from tests.testing.scripts import run_script
from tff_pipeline import errors
from tff_pipeline.runtime.ray import certificates

HOSTS = ["127.0.0.1", "10.0.0.2+node2", "::1"]


def made(folder, hosts=("127.0.0.1",), days=1):
    return certificates.make(str(folder), hosts, days)


def shake_hands(server, client, name):
    """TLS between the files of two machines, each asking for the other's."""
    listening, dialling = socket.socketpair()
    sides = []
    for folder, purpose in (
        (server, ssl.Purpose.CLIENT_AUTH),
        (client, ssl.Purpose.SERVER_AUTH),
    ):
        side = ssl.create_default_context(purpose, cafile=f"{folder}/ca.pem")
        side.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        side.verify_mode = ssl.CERT_REQUIRED
        sides.append(side)
    failures = []

    def serve():
        try:
            with sides[0].wrap_socket(listening, server_side=True) as secured:
                secured.sendall(b"1")
        except OSError as error:
            failures.append(error)
            listening.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with sides[1].wrap_socket(dialling, server_hostname=name) as secured:
            return secured.recv(1)
    finally:
        dialling.close()
        thread.join()


def certificate(folder):
    return x509.load_pem_x509_certificate(
        pathlib.Path(folder, "cert.pem").read_bytes()
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("10.0.0.2+node2", "10.0.0.2"),
        ("10.0.0.2+node2", "node2"),
        ("::1", "::1"),
    ],
)
def test_machines_of_one_authority_know_each_other(tmp_path, host, name):
    folders = made(tmp_path, HOSTS)
    for other in folders.values():
        assert shake_hands(folders[host], other, name) == b"1"


def test_another_authority_is_nobodys(tmp_path):
    one, other = (
        made(tmp_path / name)["127.0.0.1"] for name in ("one", "other")
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(one, other, "127.0.0.1")
    # The server refuses a client whom it cannot place.
    pathlib.Path(other, "ca.pem").write_bytes(
        pathlib.Path(one, "ca.pem").read_bytes()
    )
    with pytest.raises(OSError):
        shake_hands(one, other, "127.0.0.1")


def test_a_certificate_is_of_its_machine_alone(tmp_path):
    folders = made(tmp_path, HOSTS)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(folders["10.0.0.2+node2"], folders["127.0.0.1"], "node3")


def test_a_certificate_holds_for_its_days(tmp_path):
    made_at = datetime.datetime.now(datetime.timezone.utc)
    ends = {
        days: certificate(
            made(tmp_path / str(days), days=days)["127.0.0.1"]
        ).not_valid_after_utc
        for days in (1, 3650)
    }
    for days, end in ends.items():
        lasts = end - made_at - datetime.timedelta(days=days)
        assert abs(lasts) < datetime.timedelta(minutes=5)


def test_machines_are_added_to_an_authority_that_is_there(tmp_path):
    first = made(tmp_path)["127.0.0.1"]
    before = {
        path: path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    # The name of a file of the authority's.
    second = made(tmp_path, ["token"])["token"]
    assert shake_hands(second, first, "token") == b"1"
    assert before == {path: path.read_bytes() for path in before}
    tokens = {
        pathlib.Path(folder, "token").read_text()
        for folder in (tmp_path, first, second)
    }
    assert len(tokens) == 1
    assert len(tokens.pop()) == 64


def test_secrets_are_their_owners_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        folder = made(tmp_path / "certs")["127.0.0.1"]
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777
        for path in tmp_path.rglob("*")
        if path.name in ("ca_key.pem", "key.pem", "token", "certs")
        or str(path) == folder
    }
    assert modes == {
        "certs": 0o700,
        "certs/ca_key.pem": 0o600,
        "certs/token": 0o600,
        "certs/machines/127.0.0.1": 0o700,
        "certs/machines/127.0.0.1/key.pem": 0o600,
        "certs/machines/127.0.0.1/token": 0o600,
    }


def test_no_two_clusters_have_a_token(tmp_path):
    for name in "ab":
        made(tmp_path / name)
    assert (tmp_path / "a/token").read_text() != (
        tmp_path / "b/token"
    ).read_text()


@pytest.mark.parametrize("name", ["token", "ca_key.pem", "machines/127.0.0.1"])
def test_no_file_is_replaced(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(errors.ConfigError, match=f"{name} exists"):
        made(tmp_path)
    assert path.read_text() == "mine"
    assert not (tmp_path / "ca.pem").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ca_key.pem", None, "cannot be read"),
        ("token", None, "cannot be read"),
        ("ca.pem", b"nothing", "cannot be read"),
        ("ca_key.pem", "other", "is not the certificate of ca_key.pem"),
    ],
)
def test_an_authority_that_is_damaged_signs_nothing(
    tmp_path, name, content, words
):
    made(tmp_path / "one")
    made(tmp_path / "other")
    path = tmp_path / "one" / name
    if content is None:
        path.unlink()
    elif content == "other":
        path.write_bytes((tmp_path / "other" / name).read_bytes())
    else:
        path.write_bytes(content)
    with pytest.raises(errors.ConfigError, match=words):
        made(tmp_path / "one", ["10.0.0.9"])
    assert not (tmp_path / "one/machines/10.0.0.9").exists()


def test_the_command_prints_the_variables_of_a_machine(tmp_path):
    output = tmp_path / "certs"
    done = run_script(
        "make_certs.py",
        "--hosts=10.0.0.1,10.0.0.2+node2",
        f"--output={output}",
        "--folder=/srv/its files",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"copy {output}/machines/10.0.0.2/ to /srv/its files/" in done.stdout
    assert "export RAY_USE_TLS=1\n" in done.stdout
    assert "export RAY_TLS_SERVER_KEY='/srv/its files/key.pem'\n" in done.stdout
    secret = (output / "token").read_text()
    assert secret not in done.stdout
    again = run_script(
        "make_certs.py", "--hosts=10.0.0.1", f"--output={output}"
    )
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "machines/10.0.0.1 exists" in again.stderr


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("hosts", "10.0.0.1,10.0.0.1"),
        ("hosts", "10.0.0.1+10.0.0.1"),
        ("hosts", "10.0.0.256"),
        ("hosts", "node_2"),
        ("hosts", "../up"),
        ("hosts", "fe80::1%../up"),
        ("hosts", "a,,b"),
        ("hosts", "0:0:0:0:0:0:0:1"),
        ("hosts", None),
        ("output", "gs://bucket/certs"),
        ("output", None),
        ("days", "0"),
        ("days", "3651"),
        ("folder", "certs"),
    ],
)
def test_a_flag_that_is_not_allowed_is_one_sentence(tmp_path, flag, value):
    flags = {"hosts": "10.0.0.1", "output": str(tmp_path / "certs")}
    flags[flag] = value
    done = run_script(
        "make_certs.py",
        *(f"--{name}={text}" for name, text in flags.items() if text),
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --{flag}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "certs").exists()
