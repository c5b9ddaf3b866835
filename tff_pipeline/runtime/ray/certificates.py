"""Makes the files by which the machines of a Ray cluster know each other.

One authority signs a certificate for every machine, and all of them share one
token. Ray asks both sides of a connection for a certificate of that authority;
the name in it must be the address that was dialled, but for who dials any will
do. The folder of one machine is a way into the whole cluster.
"""

import datetime
import ipaddress
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Optional

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tff_pipeline import errors
from tff_pipeline.files import durable

# The authority outlives the machines' certificates, which it signs anew.
_AUTHORITY_DAYS = 3650
# Clocks of machines differ.
_EARLIER = datetime.timedelta(hours=1)
_AUTHORITY = "ca.pem"
_AUTHORITY_KEY = "ca_key.pem"
_CERTIFICATE = "cert.pem"
_KEY = "key.pem"
_TOKEN = "token"
# A machine may have the name of a file above.
_MACHINES = "machines"
_SECRET = 0o600


def make(
    output: str,
    hosts: Sequence[str],
    days: int,
    now: Optional[datetime.datetime] = None,
) -> dict[str, str]:
    """Makes a folder of files for each machine, and their authority's.

    An authority and a token that stand in `output` are used again, so that
    machines can be added to a cluster. No file is ever replaced.

    Args:
      output: The folder to write to, on this machine.
      hosts: The machines' IP addresses or names, without repetition; those of
        one machine with + between them, of which the first names its folder.
      days: How long the machines' certificates hold.
      now: When they begin to; `None` is the present time.

    Returns:
      The folder of each host, by host.

    Raises:
      ConfigError: If a file is there already, or is not as this wrote it.
      RunDirectoryError: If a file cannot be written.
    """
    folders = {
        host: os.path.join(output, _MACHINES, _folder(host)) for host in hosts
    }
    begun = os.path.exists(os.path.join(output, _AUTHORITY))
    _refuse_to_replace(output, folders, begun)
    now = now or datetime.datetime.now(datetime.timezone.utc)
    authority, key = (
        _read_authority(output, now) if begun else _make_authority(output, now)
    )
    token = _read(output, _TOKEN)
    for host, folder in folders.items():
        own = ec.generate_private_key(ec.SECP256R1())
        certificate = _for_machine(host, own, authority, key, now, days)
        with durable.explained(folder):
            os.makedirs(folder, 0o700)
        _write(folder, _KEY, _pem_of_key(own), _SECRET)
        _write(folder, _TOKEN, token, _SECRET)
        _write(folder, _AUTHORITY, _pem(authority))
        _write(folder, _CERTIFICATE, _pem(certificate))
    return folders


def environment(folder: str) -> Mapping[str, str]:
    """Returns the variables by which Ray finds the files of a machine.

    Args:
      folder: The machine's folder, where it lies on that machine.
    """
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": os.path.join(folder, _CERTIFICATE),
        "RAY_TLS_SERVER_KEY": os.path.join(folder, _KEY),
        "RAY_TLS_CA_CERT": os.path.join(folder, _AUTHORITY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": os.path.join(folder, _TOKEN),
    }


def _folder(host: str) -> str:
    # A colon of an IPv6 address would part a list of paths.
    return host.partition("+")[0].replace(":", "_")


def _refuse_to_replace(
    output: str, folders: Mapping[str, str], begun: bool
) -> None:
    names = [] if begun else [_AUTHORITY_KEY, _TOKEN]
    paths = [os.path.join(output, name) for name in names]
    for path in (*paths, *folders.values()):
        if os.path.lexists(path):
            raise errors.ConfigError(
                f"{path} exists, and keys and certificates are never "
                "replaced; move it away, or name another --output."
            )


def _make_authority(
    output: str, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Makes an authority and a token, and writes them."""
    with durable.explained(output):
        os.makedirs(output, 0o700, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    # Of two authorities with one name, the wrong one would seem to be right.
    name = _name(f"tff-pipeline {secrets.token_hex(8)}")
    certificate = (
        _unsigned(name, name, key, now, now + _days(_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage(signs_certificates=True), True)
        .sign(key, hashes.SHA256())
    )
    _write(output, _AUTHORITY_KEY, _pem_of_key(key), _SECRET)
    _write(output, _TOKEN, secrets.token_hex(32).encode(), _SECRET)
    # The last one: with it the authority is there.
    _write(output, _AUTHORITY, _pem(certificate))
    return certificate, key


def _read_authority(
    output: str, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path = os.path.join(output, _AUTHORITY)
    reason: Optional[str] = None
    try:
        certificate = x509.load_pem_x509_certificate(_read(output, _AUTHORITY))
        key = serialization.load_pem_private_key(
            _read(output, _AUTHORITY_KEY), password=None
        )
    except (ValueError, TypeError) as error:
        reason = f"cannot be read ({' '.join(str(error).split())})"
    else:
        if not isinstance(key, ec.EllipticCurvePrivateKey) or (
            key.public_key() != certificate.public_key()
        ):
            reason = f"is not the certificate of {_AUTHORITY_KEY} beside it"
        elif certificate.not_valid_after_utc <= now:
            reason = (
                f"has expired, on {certificate.not_valid_after_utc:%Y-%m-%d}"
            )
        else:
            return certificate, key
    raise errors.ConfigError(
        f"{path} {reason}; restore it and {_AUTHORITY_KEY}, or name another "
        "--output, and give new files to all machines."
    )


def _for_machine(
    host: str,
    own: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    """Returns a certificate for both sides of a machine's connections."""
    end = min(now + _days(days), authority.not_valid_after_utc)
    names = [_alternative(name) for name in host.split("+")]
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key
    return (
        _unsigned(
            _name(host.partition("+")[0]), authority.subject, own, now, end
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_usage(signs_certificates=False), True)
        .add_extension(x509.ExtendedKeyUsage(both), False)
        .add_extension(identifier(key.public_key()), False)
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(key, hashes.SHA256())
    )


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(end)
        .add_extension(identifier, False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(text: str) -> x509.Name:
    # A common name has at most 64 characters; the alternative name is whole.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _days(count: int) -> datetime.timedelta:
    return datetime.timedelta(days=count)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(folder: str, name: str, content: bytes, mode: int = 0o644) -> None:
    durable.write_bytes(os.path.join(folder, name), content, mode)


def _read(folder: str, name: str) -> bytes:
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise errors.ConfigError(
            f"{path} cannot be read ({error.strerror}); restore it, or name "
            "another --output, and give new files to all machines."
        ) from None
