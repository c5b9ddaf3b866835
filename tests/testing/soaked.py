"""Marks cases of a test that run in `make soak` alone."""

import pytest


def soaked(*cases):
    """Makes parameters of cases, each one value, that only `make soak` runs."""
    return [pytest.param(case, marks=pytest.mark.soak) for case in cases]
