"""Validation sets of a user's own data, and held out of every task's."""

import json

import numpy as np
import pytest
from PIL import Image

from tff_pipeline import errors, registry
from tff_pipeline.commands import prepare_data
from tff_pipeline.config.data import DataConfig


def load(task, path=None, **options):
    data_dir = None if path is None else str(path)
    options = DataConfig(task=task, data_dir=data_dir, **options)
    return registry.load(task, registry.TASKS)(options, seed=0)


def sizes(task):
    train = sum(map(task.train.size, task.train.client_ids))
    validation = 0 if task.validation is None else len(task.validation)
    return train, validation, len(task.test)


def test_the_sentences_of_testa_are_chosen_on(tmp_path):
    for name, count, word in (
        ("eng.train", 20, "Rome"),
        ("eng.testa", 7, "Oslo"),
        ("eng.testb", 5, "Bern"),
    ):
        text = f"in O\n{word} B-LOC\n\n" * count
        (tmp_path / name).write_text(text)
    task = load("ner_tagger", tmp_path)
    assert sizes(task) == (20, 7, 5)
    assert "eng.testa has the validation set" in task.notes
    # Words of it are not known, for nobody trains on them.
    numbers = [each.x[0, 1].tolist() for each in (task.validation, task.test)]
    known = task.train.load(task.train.client_ids[0]).x[0, 1].tolist()
    assert numbers[0][0] == numbers[1][0] != known[0]
    with pytest.raises(errors.ConfigError, match="7 validation examples of"):
        load("ner_tagger", tmp_path, validation_fraction=0.1)


def test_images_in_val_are_chosen_on(tmp_path):
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        for client in ("north", "south"):
            for level, label in ((10, "dark"), (200, "light")):
                folder = tmp_path / "photos" / split / client / label
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = np.full((4, 4), level + number, np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")
    said = []
    output = str(tmp_path / "photos.sqlite")
    prepare_data.write(str(tmp_path / "photos"), output, {}, say=said.append)
    assert any("12 images are in the split validation" in each for each in said)
    task = load("sqlite", output)
    assert sizes(task) == (16, 12, 8)
    levels = sorted(task.validation.x.max(axis=(1, 2, 3)).tolist())
    assert levels == [10, 10, 11, 11, 12, 12, 200, 200, 201, 201, 202, 202]
    assert sizes(load("sqlite", output, max_test_examples=5))[1] == 5
    unseen = load("sqlite", output, unseen_clients=1)
    assert sizes(unseen)[1] == 6


TABLE = "who,part,x,y\n" + "".join(
    f"c{n % 3},{part},{n % 9 + n / 64},{'yes' if n % 2 else 'no'}\n"
    for n, part in enumerate(
        ["train"] * 30 + ["val", "dev", "validation"] * 4 + ["test"] * 6
    )
)
COLUMNS = {"client_column": "who", "label_column": "y", "split_column": "part"}


def test_rows_of_a_table_say_that_they_are_to_choose_on(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    task = load("csv", path, **COLUMNS)
    assert sizes(task) == (30, 12, 6)
    chosen_on = [n % 9 + n / 64 for n in range(30, 42)]
    assert task.validation.x[:, 0].tolist() == chosen_on
    output = str(tmp_path / "t.sqlite")
    prepare_data.write(str(path), output, COLUMNS)
    assert sizes(load("sqlite", output)) == (30, 12, 6)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",dev,", ",later,", "has 'later' in the column 'part'"),
        (",test,", ",val,", "says dev or train or val or validation in every"),
        (",train,", ",val,", "says dev or test or val or validation in every"),
    ],
)
def test_a_column_that_lacks_a_part_is_refused(tmp_path, old, new, words):
    path = tmp_path / "t.csv"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(errors.DataError) as caught:
        load("csv", path, **COLUMNS)
    assert words in str(caught.value)


def test_files_of_a_table_say_it_by_their_names(tmp_path):
    for name, count in (("train", 20), ("valid", 5), ("test", 4)):
        rows = "".join(f"{n},{n % 2},c{n % 3}\n" for n in range(count))
        (tmp_path / f"{name}.csv").write_text(f"x,y,who\n{rows}")
    options = {**COLUMNS, "split_column": "file_name"}
    assert sizes(load("csv", tmp_path, **options)) == (20, 5, 4)
    del options["split_column"]
    (tmp_path / "test.csv").unlink()
    # They do not train in silence.
    with pytest.raises(errors.DataError, match="one of valid rows"):
        load("csv", tmp_path, **options)


def test_an_array_says_which_examples_are_to_choose_on(tmp_path):
    draw = np.random.default_rng(0)
    content = {
        "x": draw.normal(size=[30, 2]).astype(np.float32),
        "y": np.arange(30) % 2,
        "client_id": np.arange(30) % 3,
        "is_test": np.arange(30) < 6,
        "is_validation": np.arange(30) >= 20,
    }
    path = tmp_path / "a.npz"
    np.savez(path, **content)
    task = load("npz", path)
    assert sizes(task) == (14, 10, 6)
    np.testing.assert_array_equal(task.validation.x, content["x"][20:])
    for name, array in (("is_test", None), ("is_validation", np.ones(30))):
        wrong = {**content, name: array}
        np.savez(path, **{k: v for k, v in wrong.items() if v is not None})
        with pytest.raises(errors.DataError, match="is_validation"):
            load("npz", path)
    np.savez(path, **{**content, "is_validation": np.arange(30) > 4})
    with pytest.raises(errors.DataError, match="to train, to choose or"):
        load("npz", path)


def test_lines_of_json_say_it(tmp_path):
    parts = ["train"] * 12 + ["validation"] * 4 + ["test"] * 2
    lines = [
        {"client_id": n % 2, "x": [n], "y": n % 2, "split": part}
        for n, part in enumerate(parts)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = str(tmp_path / "a.sqlite")
    prepare_data.write(str(path), output, {})
    assert sizes(load("sqlite", output)) == (12, 4, 2)


@pytest.mark.parametrize("by", ["examples", "clients"])
@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("digits_2nn", {"num_clients": 10}),
        ("synthetic_1_1", {}),
        ("movielens_mf", {}),
        ("tff_emnist", {"tff_data": "synthetic"}),
    ],
)
def test_a_share_is_held_out_of_every_task(task, options, by):
    whole = load(task, **options)
    part = load(task, **options, validation_fraction=0.3, validation_by=by)
    train, held_out, test = sizes(part)
    assert (train + held_out, test) == (sizes(whole)[0], sizes(whole)[2])
    assert held_out > 0
    np.testing.assert_array_equal(part.test.y, whole.test.y)
    fewer = len(whole.train) - len(part.train)
    assert fewer == (round(0.3 * len(whole.train)) if by == "clients" else 0)
    if part.test_clients is not None:
        tested = set(part.test_clients.client_ids)
        assert tested <= set(part.train.client_ids)
