"""Data of one kind that are given to the task of another."""

import pytest

from tff_pipeline import errors
from tff_pipeline.datasets.readers import (
    arrays,
    other_kinds,
    sqlite,
    table_files,
)

READERS = {
    "csv": table_files.find,
    "npz": arrays.load,
    "sqlite": sqlite.Database,
}
CLIENTS = "prepare-data --input={} --output=own.sqlite"
TOLD = [
    ("a.csv", "it holds a table: train with --task=csv, for which init {}"),
    ("folder/part-0.PARQUET", "--task=csv"),
    ("a.npz", "it holds arrays: train with --task=npz --data_dir={}"),
    ("a.sqlite", "it holds clients in SQLite: train with --task=sqlite"),
    ("a.jsonl", CLIENTS),
    ("folder/train/all_data_train_9.json", CLIENTS),
    ("folder/north/cat/1.PNG", CLIENTS),
    ("a.conll", "it holds a corpus: train with --task=ner_tagger"),
]


@pytest.mark.parametrize("task", READERS)
@pytest.mark.parametrize(("name", "words"), TOLD)
def test_the_task_that_reads_it_is_said(tmp_path, task, name, words):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a,b\n1,2\n")
    path = str(tmp_path / name.split("/")[0])
    if f"--task={task}" in words:
        assert other_kinds.kind_of(path) is not None
        return
    with pytest.raises(errors.DataError) as refused:
        READERS[task](path)
    assert words.format(path) in str(refused.value)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("csv", "a table's name ends in"),
        ("npz", "write it with numpy.savez_compressed"),
        ("sqlite", "it may be damaged or packed"),
    ],
)
def test_of_what_is_not_known_nothing_is_said(tmp_path, task, words):
    path = tmp_path / "notes.txt"
    path.write_text("a")
    assert other_kinds.kind_of(str(path)) is None
    with pytest.raises(errors.DataError, match=words):
        READERS[task](str(path))


def test_a_folder_holds_what_most_of_its_files_are(tmp_path):
    for name in ("a.csv", "b.csv", "plan.png", "notes.txt"):
        (tmp_path / name).touch()
    assert other_kinds.kind_of(str(tmp_path)) == other_kinds.TABLE
