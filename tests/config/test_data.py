"""What a task's line in the registry says, and the flags that follow it."""

import dataclasses

import pytest

from tff_pipeline import errors, registry
from tff_pipeline.config.data import PARTITION_OPTIONS, DataConfig
from tff_pipeline.config.model import TRAINABLE_OPTIONS, ModelConfig

GROUPS = (DataConfig, ModelConfig)
FIELDS = {field.name for group in GROUPS for field in dataclasses.fields(group)}
REQUIRED = {"csv": {"client_column": "who", "label_column": "what"}}


@pytest.mark.parametrize("name", registry.TASKS)
def test_a_task_takes_the_options_of_its_line_and_no_others(name):
    entry = registry.task_entry(name)
    data = DataConfig(task=name, **REQUIRED.get(name, {}))
    assert data.partition == entry.default_partition
    assert entry.default_partition in registry.PARTITIONS
    assert set(entry.options) <= FIELDS
    everywhere = {
        option
        for other in registry.TASKS
        for option in registry.task_entry(other).options
    }
    options = {**entry.options, **REQUIRED.get(name, {})}
    if "trainable" in options:
        # The rest depends on what trains.
        chosen = "lora" if options["init_from"] else "all"
        options |= {"trainable": chosen, **TRAINABLE_OPTIONS[chosen]}
    for option in everywhere:
        holder = data if hasattr(data, option) else data.model
        assert getattr(holder, option) == options.get(option), option


@pytest.mark.parametrize(
    ("task", "partition"),
    [
        ("digits_2nn", "iid"),
        ("digits_cnn", "iid"),
        ("mnist_2nn", "iid"),
        ("mnist_cnn", "iid"),
        ("femnist_cnn", "natural"),
        ("synthetic_iid", "natural"),
        ("tff_emnist", "natural"),
    ],
)
def test_data_that_belong_to_no_one_get_clients(task, partition):
    assert DataConfig(task=task).partition == partition


def test_a_new_task_is_one_line_whatever_its_name(monkeypatch):
    entry = registry.TaskEntry(
        "its.module:task",
        {"label_column": None, "task_type": "regression"},
        default_partition="shards",
    )
    # Names that began like this once meant other things.
    monkeypatch.setitem(registry.TASKS, "tff_digits_new", entry)
    data = DataConfig(task="tff_digits_new", label_column="y")
    assert (data.task_type, data.tff_data) == ("regression", None)
    assert data.partition == "shards"
    assert (
        data.shards_per_client
        == PARTITION_OPTIONS["shards"]["shards_per_client"]
    )
    with pytest.raises(errors.ConfigError) as caught:
        DataConfig(task="tff_digits_new")
    assert str(caught.value).startswith("--task=tff_digits_new needs --label_")
    with pytest.raises(errors.ConfigError) as caught:
        DataConfig(task="tff_digits_new", label_column="y", tff_data="download")
    assert "--tff_data=download is not used with" in str(caught.value)


def test_a_plain_line_is_a_task_without_options(monkeypatch):
    monkeypatch.setitem(registry.TASKS, "plain", "its.module:task")
    assert registry.task_entry("plain") == registry.TaskEntry("its.module:task")
    assert DataConfig(task="plain").partition == "natural"


def test_a_line_names_what_is_loaded(monkeypatch):
    monkeypatch.setitem(
        registry.TASKS, "entry", registry.TaskEntry("dataclasses:replace")
    )
    monkeypatch.setitem(registry.TASKS, "plain", "dataclasses:replace")
    for name in ("entry", "plain"):
        assert registry.load(name, registry.TASKS) is dataclasses.replace
