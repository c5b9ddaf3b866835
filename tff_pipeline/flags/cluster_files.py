"""Flags of make_certs, which needs no run."""

import dataclasses
import importlib.util
import ipaddress
import re
from typing import Any

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.config.fields import Allowed
from tff_pipeline.flags import parsing

# RFC 1123: parts of letters, digits and hyphens, and a last one that is none
# of an address with a mistake in it.
_NAME = re.compile(
    r"(?=.{1,253}\Z)"
    r"([a-z\d]([a-z\d-]{0,61}[a-z\d])?\.)*"
    r"(?!\d+\Z)[a-z\d]([a-z\d-]{0,61}[a-z\d])?\Z"
)


def _is_host(text: str) -> bool:
    try:
        # An address has one spelling here, by which repetition is seen; what
        # follows a % in one is any text, and no part of a certificate.
        return str(ipaddress.ip_address(text)) == text and "%" not in text
    except ValueError:
        return _NAME.match(text) is not None


def _are_hosts(text: str) -> bool:
    names = re.split("[,+]", text)
    return all(map(_is_host, names)) and len({*names}) == len(names)


_HOSTS = Allowed(
    str,
    "IP addresses or names of hosts in small letters, each once, with commas "
    "between machines and + between those of one, such as "
    "10.0.0.1,10.0.0.2+node2",
    _are_hosts,
)
_FLAGS: tuple[tuple[str, Allowed, Any, str], ...] = (
    (
        "hosts",
        _HOSTS,
        None,
        "Names the machines, each by the IP address that others reach it by "
        "(ray start --node-ip-address), and names with + after that: "
        "10.0.0.1,10.0.0.2+node2. Ray dials addresses.",
    ),
    (
        "output",
        Allowed(
            str,
            "a folder on this machine, whose files have owners and modes",
            lambda v: fields.PATH.test(v) and "://" not in v,
        ),
        None,
        "Names the folder to write to. An authority and a token that are there "
        "sign for more machines.",
    ),
    (
        "days",
        Allowed(
            int,
            "a whole number from 1 to 3650",
            lambda v: 1 <= v <= 3650,
        ),
        365,
        "Sets for how many days the machines' certificates hold.",
    ),
    (
        "folder",
        Allowed(
            str,
            "a path that starts with /",
            lambda v: fields.PATH.test(v) and v.startswith("/"),
        ),
        "/etc/tff_pipeline",
        "Names where a machine's folder will lie on the machine itself, for "
        "the variables that are printed.",
    ),
)


@dataclasses.dataclass(frozen=True)
class FilesQuestion:
    """Holds the flags of scripts/make_certs.py.

    Attributes:
      hosts: IP addresses or names, each once; those of one machine with +
        between them.
      output: The folder to write to.
      days: How long the machines' certificates hold.
      folder: Where a machine's folder lies on that machine.
    """

    hosts: list[str]
    output: str
    days: int
    folder: str


def define_flags() -> None:
    """Defines the flags of scripts/make_certs.py."""
    for name, allowed, default, help_text in _FLAGS:
        parsing.define_flag("Files", name, allowed, help_text, default)


def question() -> FilesQuestion:
    """Returns the flags of scripts/make_certs.py, checked.

    Raises:
      ConfigError: If one is missing or not allowed, or a package is missing.
    """
    values = {name: parsing.FLAGS[name].value for name, *_ in _FLAGS}
    for name, allowed, *_ in _FLAGS:
        if values[name] is None:
            raise errors.ConfigError(
                f"--{name} is not set; give {allowed.words}."
            )
        allowed.check(name, values[name])
    if importlib.util.find_spec("cryptography") is None:
        raise errors.ConfigError(
            "Certificates need the package cryptography; install .[ray]."
        )
    return FilesQuestion(
        values["hosts"].split(","),
        values["output"],
        values["days"],
        values["folder"],
    )
