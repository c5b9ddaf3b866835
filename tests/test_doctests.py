"""The examples in docstrings, each run as it stands."""

import doctest
import importlib

import pytest

from tests.testing.fork_server import ROOT


def modules_with_examples():
    """Names of the modules of tff_pipeline that have an example."""
    for path in sorted((ROOT / "tff_pipeline").rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            inner = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(inner).removesuffix(".__init__")


@pytest.mark.parametrize("name", [*modules_with_examples()])
def test_examples_give_what_they_say(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0, f"{name} has >>> in no docstring"
    assert found.failed == 0, f"{name}: the output above is not the docstring's"
