"""Tests share code through `tests/testing` and conftest's fixtures alone."""

import re

from tests.testing.scripts import ROOT

# Of test modules and conftest, in the source of child programs too.
IMPORT = re.compile(
    r"\b(?:from|import)\s+tests\.(?!testing\b)|"
    r"\bfrom\s+tests\s+import\s+(?!testing\b)|"
    r"-m\W+tests\.(?!testing\b)"
)


def test_no_module_imports_a_test_module_or_conftest():
    offenders = [
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("tests", "tff_pipeline", "scripts", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text().splitlines()
        if path.name != "test_rooms.py" and IMPORT.search(line)
    ]
    assert offenders == []
