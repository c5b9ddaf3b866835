"""Instructions of clients, from files to documents."""

import gzip
import json

import pytest

from tests.testing import tiny_tokenizers
from tff_pipeline import errors
from tff_pipeline.datasets import instructions
from tff_pipeline.datasets.chat import Chat
from tff_pipeline.datasets.packing import Cut
from tff_pipeline.datasets.readers import instructions as reader


def line(client="ann", prompt="a", response="b", **other):
    return {"client": client, "prompt": prompt, "response": response, **other}


def chat_line(*roles, content="secret"):
    messages = [{"role": role, "content": content} for role in roles]
    return {"client": "ann", "messages": messages}


@pytest.fixture
def write(tmp_path):
    """Writes objects as JSON lines; returns the path."""

    def write(*objects, name="a.jsonl"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = "\n".join(map(json.dumps, objects)).encode()
        if name.endswith(".gz"):
            content = gzip.compress(content)
        path.write_bytes(content)
        return str(path)

    return write


def refused(path, *words):
    with pytest.raises(errors.DataError) as caught:
        list(reader.read(path))
    for word in (path, *words):
        assert word in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.ndjson", "a.json"]
)
def test_lines_are_read_with_their_places(write, name):
    path = write(
        line(),
        line(7, "c\n", "d", other=3),
        chat_line("system", "user", "assistant", "user"),
        name=name,
    )
    first, second, third = reader.read(path)
    assert first == (
        "ann",
        "train",
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
        ],
        f"{path}: line 1",
    )
    assert (second.client, second.where) == ("7", f"{path}: line 2")
    assert second.messages[0]["content"] == "c\n"
    assert [each["role"] for each in third.messages] == [
        *("system", "user", "assistant", "user")
    ]


def test_a_folder_is_read_file_by_file(write, tmp_path):
    write(line("b"), name="train/2.jsonl")
    write(line("a"), name="train/1.jsonl.gz")
    write(line("a"), name="test/1.jsonl")
    write(line("c"), name="validation/1.jsonl")
    found = list(reader.read(str(tmp_path / "in")))
    assert [(each.client, each.split) for each in found] == [
        ("a", "test"),
        ("a", "train"),
        ("b", "train"),
        ("c", "validation"),
    ]


def test_a_list_of_objects_is_read_too(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([line(), line("bob")], indent=1))
    second = list(reader.read(str(path)))[1]
    assert (second.client, second.where) == ("bob", f"{path}: object 2")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"prompt": "secret", "response": "secret"}, 'no "client"'),
        (line(None), "a client that is null"),
        (line(prompt=None), '"prompt" that is missing or null'),
        ({"client": "a", "prompt": "secret"}, '"response" that is missing'),
        (line(response=["secret"]), '"response" that is no text'),
        (line(response=" \n"), "an answer that is empty"),
        (chat_line("user", "secret"), '"role" is none that is known'),
        ({"client": "a", "messages": {}}, '"messages" that are no list'),
        ({"client": "a", "messages": ["secret"]}, '"messages" that are no'),
        ({"client": "a", "messages": []}, "do not begin with the user's"),
        (chat_line("assistant", "user"), "do not begin with the user's"),
        (chat_line("system", "system", "user"), "do not begin with the user's"),
        (chat_line("user", "system", "assistant"), "do not begin with"),
        (chat_line("user"), "without one of the assistant"),
        (chat_line("user", "assistant", content=""), "answer that is empty"),
        (chat_line("user", "assistant", content=3), '"content" that is no'),
        (
            {"client": "a", "messages": [{"role": ["secret"], "content": ""}]},
            '"role" is none',
        ),
    ],
)
def test_other_lines_are_refused_without_their_text(write, value, words):
    refused(write(line(), value), "line 2", words)


def test_half_a_character_is_refused_in_lists_too(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([line(prompt="secret \ud800")]))
    refused(str(path), 'object 1 has a "prompt" with half a character')


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "secret", "holds no instructions; it must be a file"),
        ("a.json", "[]", "holds no instructions"),
        ("a.json", "3", "holds no instructions"),
        ("a.jsonl", '{"client": "secret', "line 1 is not JSON"),
        ("a.jsonl", '"secret"', "line 1 is not an object"),
        ("a.json", '["secret"]', 'object 1 has no "client"'),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "\x1f\x8bsecret", "is damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    refused(str(path), words)


def test_missing_files_are_refused(tmp_path):
    refused(str(tmp_path / "none.jsonl"), "cannot be read")
    refused(str(tmp_path), "holds no instructions")


@pytest.fixture
def load():
    pytest.importorskip("tokenizers")
    pytest.importorskip("jinja2")
    tokenizer = tiny_tokenizers.byte_pair_tokenizer(begin=1, end=2)
    chat = Chat(tokenizer, tiny_tokenizers.CHATML)

    def load(path, length=None):
        return instructions.load(path, "instruction_tuning", chat, length)

    load.tokenizer = tokenizer
    return load


def texts(load, clients):
    return [
        (
            client,
            [
                load.tokenizer.decode(each.ids[each.weights > 0])
                for each in documents
            ],
        )
        for client, documents in clients
    ]


def test_the_last_fifth_of_a_clients_answers_is_held_out(write, load):
    found = load(
        write(
            *(line("bob", response=f"b{number}") for number in range(11)),
            line("cy", response="c0"),
            line("ann", response="a0"),
            line("ann", response="a1"),
        )
    )
    assert texts(load, found.train) == [
        ("ann", ["a0"]),
        ("bob", [f"b{number}" for number in range(9)]),
        ("cy", ["c0"]),
    ]
    assert texts(load, found.test) == [("ann", ["a1"]), ("bob", ["b9", "b10"])]
    assert found.validation is None
    assert found.cut == Cut()


def test_files_that_are_to_test_on_are_used(write, load, tmp_path):
    write(line("a"), line("a", response="c"), name="train.jsonl")
    write(line("d", response="d"), name="test.jsonl")
    write(line("e", response="e"), name="dev.jsonl")
    found = load(str(tmp_path / "in"))
    assert texts(load, found.train) == [("a", ["b", "c"])]
    assert texts(load, found.test) == [("d", ["d"])]
    assert texts(load, found.validation) == [("e", ["e"])]


def test_answers_that_do_not_fit_are_counted(write, load):
    path = write(
        line("ann", "a", "b"),
        line("ann", "a", "b"),
        line("ann", "q" * 90, "b"),
        line("ann", "a", "b"),
        line("bob", "q" * 90, "b"),
        line("cy", "a", "z" * 90),
    )
    whole = load(path)
    assert [client for client, _ in whole.train] == ["ann", "bob", "cy"]
    (_, fitting), *_ = whole.train
    length = len(fitting[0]) + 3
    found = load(path, length)
    assert [(c, len(d)) for c, d in found.train] == [("ann", 2), ("cy", 1)]
    shortened = found.train[1][1][0]
    assert len(shortened) == length + 1
    long = whole.train[2][1][0]
    assert found.cut == Cut(1, len(long) - length - 1, 2)


def test_nothing_to_learn_from_is_an_error(write, load):
    path = write(line("ann"), line("ann"))
    with pytest.raises(errors.DataError) as caught:
        load(path, 3)
    assert f"--data_dir={path} has no example to train on" in str(caught.value)
    assert "--task=instruction_tuning" in str(caught.value)
    assert "within 3 tokens" in str(caught.value)
    with pytest.raises(errors.DataError, match="no example to test on for --t"):
        load(write(line("ann"), line("bob")))


def test_a_refusal_of_the_template_names_the_line(write):
    pytest.importorskip("tokenizers")
    pytest.importorskip("jinja2")
    tokenizer = tiny_tokenizers.byte_pair_tokenizer()
    template = "{{ raise_exception('Only questions') }}"
    path = write(line("ann"))
    with pytest.raises(errors.DataError) as caught:
        instructions.load(path, "t", Chat(tokenizer, template), None)
    assert f"{path}: line 1: The chat template" in str(caught.value)
    assert "(Only questions)" in str(caught.value)
