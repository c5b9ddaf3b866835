"""scripts/serve.py writes text: requests, answers, and what is refused."""

import json
import pathlib
import shutil

import pytest
import tensorflow as tf

from tests.testing import tiny_language_models
from tests.testing.chromium import Browser
from tests.testing.served import Server
from tff_pipeline import experiment, registry
from tff_pipeline.commands import generate
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.export import formats

MESSAGES = [{"role": "user", "content": "To be, or"}]


class Echo(tf.Module):
    """A graph that goes on from text: by its length, as often as is asked."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "prompt"),
            tf.TensorSpec([], tf.int32, "length"),
            tf.TensorSpec([], tf.float32, "temperature"),
            tf.TensorSpec([], tf.int32, "seed"),
        ]
    )
    def generate(self, prompt, length, temperature, seed):
        told = [tf.strings.as_string(each) for each in (length, seed)]
        told.append(tf.strings.as_string(temperature, precision=1))
        return {"text": prompt + tf.strings.join([" ", *told], " ")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writing")
    tiny_language_models.write_roles(folder)
    tiny_language_models.write(folder / "llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def exported(folder):
    """The base alone: factors B begin at 0."""
    model = ModelConfig(
        init_from=str(folder / "llama"),
        base_dtype="float32",
        compute_dtype="float32",
        sequence_length=16,
        trainable="lora",
        lora_rank=1,
        lora_alpha=1.0,
    )
    task = registry.load("shakespeare_llm", registry.TASKS)(
        DataConfig(task="shakespeare_llm", data_dir=str(folder), model=model),
        0,
    )
    path = folder / "saved"
    first = experiment.initial_weights(task, 0)
    formats.write("saved_model", task, first, str(path))
    return path


@pytest.fixture(scope="module")
def server(exported):
    started = Server(exported, "--name=tiny")
    yield started
    assert started.stop() == ""


def ask(server, content, path=None):
    return server.predict(content, path or f"/v1/models/{server.name}:generate")


@pytest.fixture
def written(folder):
    """Returns the text that scripts/generate.py writes by the same model."""

    def write(prompt, **settings):
        question = {"length": 12, "temperature": 0.0, **settings}
        return generate.text(
            prompt=prompt, init_from=str(folder / "llama"), **question
        )

    return write


def test_a_prompt_is_gone_on_from(server, written):
    asked = {"prompt": "To be, or", "length": 12, "temperature": 0}
    status, answer = ask(server, asked)
    assert (status, answer.keys()) == (200, {"text", "tokens"})
    assert "To be, or" + answer["text"] == written("To be, or")
    assert 0 < answer["tokens"] <= 12
    path = "/v1/models/tiny/versions/1:generate"
    assert ask(server, asked, path) == (status, answer)


def test_messages_are_answered(server, written):
    asked = {"messages": MESSAGES, "length": 12, "temperature": 0}
    status, answer = ask(server, asked)
    assert status == 200
    assert answer["text"] == written("To be, or", chat=True)
    # More messages are another question.
    more = [*MESSAGES, {"role": "assistant", "content": "No."}, *MESSAGES]
    _, other = ask(server, {**asked, "messages": more})
    assert other["text"] != answer["text"]


def test_the_same_seed_gives_the_same_text(server):
    asked = {"prompt": "To be", "length": 12, "temperature": 1.0, "top_p": 1}

    def text(seed, **more):
        status, answer = ask(server, {**asked, "seed": seed, **more})
        assert status == 200
        return answer["text"]

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) == 4
    # So narrow a share leaves the likeliest alone.
    assert text(1, top_p=1e-6) == text(2, temperature=0)


def test_it_is_counted_and_described(server):
    before = server.metrics()
    ask(server, {"prompt": "a", "length": 1})
    after = server.metrics()
    name = 'serving_requests_total{code="200",endpoint="generate"}'
    assert after[name] == before.get(name, 0) + 1
    _, model = server.get("/page/model.json")
    assert model["writing"] == {"chats": True, "top_p": True}


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("{", None, "is not JSON"),
        ([1], None, "must be a JSON object"),
        ({}, None, "must have one of 'prompt'"),
        ({"prompt": "a", "messages": MESSAGES}, None, "and not both"),
        ({"prompt": "a", "top_k": 3}, None, "'top_k', which is none of"),
        ({"prompt": 3}, "prompt", "'prompt' must be a text"),
        ({"prompt": ""}, "prompt", "has no token"),
        ({"messages": []}, "messages", "one or more objects"),
        ({"messages": "a"}, "messages", "one or more objects"),
        ({"messages": [{"role": "user"}]}, "messages", "'role' and 'content'"),
        (
            {"messages": [{"role": "user", "content": 3}]},
            "messages",
            "'role' and 'content'",
        ),
        ({"prompt": "a", "length": 0}, "length", "a whole number from 1"),
        ({"prompt": "a", "length": 1.5}, "length", "a whole number from 1"),
        ({"prompt": "a", "length": True}, "length", "a whole number from 1"),
        ({"prompt": "a", "temperature": -1}, "temperature", "from 0"),
        ({"prompt": "a", "temperature": "1"}, "temperature", "from 0"),
        ('{"prompt": "a", "temperature": NaN}', "temperature", "from 0"),
        ({"prompt": "a", "top_p": 0}, "top_p", "above 0"),
        ({"prompt": "a", "seed": -1}, "seed", "from 0"),
        ({"prompt": "a " * 50}, None, "64 positions of the model"),
        ({"prompt": "a"}, None, "'length' 100 do not fit"),
    ],
)
def test_a_mistake_is_a_sentence(server, content, name, words):
    status, answer = ask(server, content)
    assert status == 400
    assert words in answer["error"]
    assert answer.get("input") == name


def test_another_model_is_not_there(server):
    status, answer = ask(server, {"prompt": "a"}, "/v1/models/x:generate")
    assert status == 404
    assert "There is no model x" in answer["error"]
    status, _, _ = server.ask("GET", "/v1/models/tiny:generate")
    assert status == 405


def test_a_graph_of_text_is_asked_by_text(tmp_path):
    module = Echo()
    tf.saved_model.save(
        module,
        str(tmp_path / "echo"),
        signatures={"generate": module.generate},
    )
    server = Server(tmp_path / "echo")
    try:
        asked = {"prompt": "é:", "length": 7, "temperature": 0.5, "seed": 3}
        assert ask(server, asked) == (200, {"text": "  7 3 0.5"})
        for more, words in (
            ({"top_p": 0.5}, "'top_p' is not known"),
            ({"messages": MESSAGES}, "must have one of"),
        ):
            status, answer = ask(server, {**asked, **more})
            assert status == 400
            assert words in answer["error"]
        status, answer = ask(server, {"messages": MESSAGES})
        assert status == 400
        assert "has no chat template" in answer["error"]
    finally:
        server.stop()


@pytest.mark.soak
def test_a_damaged_tokenizer_is_said_and_the_rest_is_served(exported, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    path = pathlib.Path(copy, "assets.extra", "language.json")
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "end": 4_000}))
    server = Server(copy)
    status, answer = ask(server, {"prompt": "a"})
    assert status == 404
    assert "writes no text" in answer["error"]
    rows = {"instances": [{"tokens": [1, 2]}]}
    assert server.predict(rows)[0] == 200
    assert "cannot be asked to write text" in server.stop()


def test_the_page_chats(server, tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    said = "document.querySelector('#writing-message').textContent"

    def set_value(place, value):
        browser.run(
            f"document.querySelector({json.dumps(place)}).value = "
            f"{json.dumps(value)}"
        )

    def sent():
        browser.run("document.querySelector('#writing-message').textContent=''")
        browser.click("#write")
        return browser.wait_for(f"{said}.includes('...') ? '' : {said}")

    try:
        browser.open(server.url)
        browser.wait_for("document.querySelector('#writing') !== null")
        set_value("#prompt", "To be, or")
        set_value("#length", "12")
        set_value("#temperature", "0")
        assert " tokens in " in sent()
        status, answer = ask(
            server, {"messages": MESSAGES, "length": 12, "temperature": 0}
        )
        assert status == 200
        shown = browser.run(
            "[...document.querySelectorAll('#chat p')].map(p => p.textContent)"
        )
        assert shown == ["To be, or", answer["text"]]
        # What is wrong is said at its place, and the chat stays.
        set_value("#length", "1000")
        assert "positions of the model" in sent()
        assert browser.run("document.querySelectorAll('#chat li').length") == 2
        browser.click("#write-anew")
        assert browser.run("document.querySelector('#chat').hidden")
    finally:
        browser.close()
