"""Every name that a flag may select stands for something that is there."""

import inspect

import pytest

from tff_pipeline import registry

# What several tasks take, and no table of names.
OPTIONS = ("_LANGUAGE_MODEL", "ENCODER")
TABLES = {
    name: table
    for name, table in vars(registry).items()
    if name.isupper() and isinstance(table, dict) and name not in OPTIONS
}


def test_all_tables_are_looked_at():
    assert {
        *("TASKS", "PARTITIONS", "OPTIMIZERS", "AGGREGATORS", "SAMPLERS"),
        *("FORMATS", "RUNTIMES", "SINKS", "FINISHERS"),
    } <= set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_every_entry_loads(table):
    assert TABLES[table]
    for name in TABLES[table]:
        loaded = registry.load(name, TABLES[table])
        assert callable(loaded), name
        # A module that another one of the same name shadows, for example.
        assert not inspect.ismodule(loaded), name


@pytest.mark.parametrize("table", TABLES)
def test_no_two_names_stand_for_the_same(table):
    loaded = [registry.load(name, TABLES[table]) for name in TABLES[table]]
    assert len(set(loaded)) == len(loaded)
