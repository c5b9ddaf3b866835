"""scripts/generate.py: models of runs and pretrained ones write text."""

import pytest

from tests.testing import tiny_language_models
from tests.testing.scripts import run_script
from tff_pipeline import errors
from tff_pipeline.commands import generate
from tff_pipeline.export import samples
from tff_pipeline.models.pretrained import source
from tff_pipeline.models.transformer.language_model import (
    Training,
    transformer,
)
from tff_pipeline.models.transformer.text_writer import TextWriter
from tff_pipeline.tasks import language_model

QUESTION = {"prompt": "To be, or", "length": 12, "temperature": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def base(folder):
    return tiny_language_models.write(folder / "llama")


def train(folder, name, *flags):
    done = run_script(
        "train.py",
        f"--output_dir={folder / name}",
        f"--data_dir={tiny_language_models.write_roles(folder)}",
        *("--clients_per_round=2", "--total_rounds=2", "--sequence_length=16"),
        *("--rounds_per_checkpoint=1", "--client_batch_size=2", *flags),
    )
    assert done.returncode == 0, done.stderr
    return folder / name


@pytest.fixture(scope="module")
def lora_run(folder, base):
    return train(
        folder,
        "lora",
        *("--task=shakespeare_llm", f"--init_from={base}", "--lora_rank=2"),
        *("--client_learning_rate=1", "--lora_alpha=8"),
    )


@pytest.fixture(scope="module")
def gpt_run(folder):
    return train(folder, "gpt", "--task=shakespeare_gpt", "--finishers=none")


def test_a_run_writes_what_its_base_and_adapter_write(lora_run, base):
    by_run = generate.text(run_dir=str(lora_run), **QUESTION)
    assert by_run.startswith("To be, or")
    by_parts = generate.text(
        init_from=base, adapter=str(lora_run / "adapter"), **QUESTION
    )
    assert by_run == by_parts
    # Training changed it, in each of two rounds.
    others = {
        generate.text(init_from=base, **QUESTION),
        generate.text(run_dir=str(lora_run), round_number=1, **QUESTION),
        by_run,
    }
    assert len(others) == 3


def test_the_runs_adapter_has_a_model_card(lora_run):
    card = (lora_run / "adapter" / "README.md").read_text()
    assert card.startswith('---\nbase_model: "huggingface sha256:')
    assert '\nlibrary_name: "peft"\n' in card
    assert "after 2 rounds" in card
    assert "- perplexity on the test set: " in card
    assert " (before training: " in card
    assert "does not cover the pretrained model" in card
    assert "role 0" not in card
    # What it writes, the likeliest each time.
    assert (
        generate.text(
            run_dir=str(lora_run),
            prompt=samples.PROMPTS[1],
            length=samples.LENGTH,
            temperature=0.0,
        ).split("\n")[0]
        in card
    )


def test_the_script_prints_the_text_alone(lora_run):
    flags = [
        f"--run_dir={lora_run}",
        *("--prompt=To be, or", "--length=12", "--seed=3"),
    ]
    first, again, other = (
        run_script("generate.py", *flags, *more)
        for more in ([], [], ["--seed=4"])
    )
    assert (first.returncode, first.stderr) == (0, "")
    expected = generate.text(
        run_dir=str(lora_run),
        prompt="To be, or",
        **{"length": 12, "temperature": 0.8, "top_p": 0.95, "seed": 3},
    )
    # Of what it may write, files of text have one way to end a line.
    expected = expected.replace("\r\n", "\n").replace("\r", "\n")
    assert first.stdout == again.stdout == expected + "\n"
    assert first.stdout != other.stdout


@pytest.mark.soak
def test_characters_go_on_beyond_the_models_positions(gpt_run):
    text = generate.text(
        run_dir=str(gpt_run), prompt="To be " * 5, length=40, temperature=1.0
    )
    assert text.startswith("To be " * 5)
    # Of 16 positions; a letter each, but for those that end it.
    assert 30 < len(text) <= 70


def test_a_message_is_answered_as_the_template_has_it(base):
    opened = source.open_base(base)
    tokenizer = language_model.tokenizer_of(opened)
    start, end = 1, tiny_language_models.CHAT_END
    asked = [start, *tokenizer.encode("system\nBe kind."), end]
    asked += tokenizer.encode("\n").tolist()
    asked += [start, *tokenizer.encode("user\nTo be, or"), end]
    asked += tokenizer.encode("\n").tolist()
    asked += [start, *tokenizer.encode("assistant\n")]
    network = transformer(opened.architecture, Training("none"), opened)
    ends = [tiny_language_models.END, end]
    writer = TextWriter(network, tokenizer, ends=ends)
    (expected,) = writer.ids([asked], length=12, temperature=0)
    answer = generate.text(init_from=base, chat=True, **QUESTION)
    assert answer == tokenizer.decode(expected)
    assert answer != generate.text(init_from=base, **QUESTION)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--prompt=a"], "A model is named by one of --run_dir"),
        (["--prompt=a", "--run_dir=a", "--init_from=b"], "both is set"),
        (["--prompt=a", "--run_dir=a", "--adapter=b"], "--adapter is not used"),
        (["--prompt=a", "--init_from=b", "--round=2"], "--round is not used"),
        (["--prompt=a", "--init_from=b", "--data_dir=c"], "--data_dir is not"),
        (["--init_from=b"], "--prompt is not set"),
        (["--init_from=b", "--prompt= "], "text that is not empty"),
        (["--init_from=b", "--prompt=a", "--length=0"], "--length=0: must be"),
        (["--init_from=b", "--prompt=a", "--top_p=0"], "--top_p=0.0: must be"),
        (["--init_from=b", "--prompt=a", "--top_p=2"], "at most 1"),
        (["--init_from=b", "--prompt=a", "--seed=-1"], "--seed=-1: must be"),
        (
            ["--init_from=b", "--prompt=a", "--temperature=-1"],
            "--temperature=-1.0: must be",
        ),
        (["--run_dir=a", "--prompt=a", "--round=last"], "--round=last: must"),
        (["--init_from=no/where", "--prompt=a"], "does not exist"),
    ],
)
def test_a_mistake_is_a_sentence(flags, words):
    done = run_script("generate.py", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_without_a_writer_is_refused(small_run):
    done = run_script("generate.py", f"--run_dir={small_run}", "--prompt=a")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--task=digits_2nn, which trains no language model" in done.stderr


@pytest.mark.soak
def test_characters_cannot_chat(gpt_run):
    with pytest.raises(errors.ConfigError, match="has no chat template"):
        generate.text(run_dir=str(gpt_run), chat=True, **QUESTION)


def test_models_that_cannot_chat_or_write_are_refused(folder):
    plain = tiny_language_models.write(folder / "plain", template="")
    bare = tiny_language_models.write(folder / "bare", tokenizer=False)
    with pytest.raises(errors.ConfigError, match="has no chat template"):
        generate.text(init_from=plain, chat=True, **QUESTION)
    with pytest.raises(errors.DataError, match="has no tokenizer"):
        generate.text(init_from=bare, **QUESTION)


def test_a_prompt_beyond_the_positions_is_refused(base):
    question = {**QUESTION, "prompt": "a b c d e f g " * 10}
    with pytest.raises(errors.ConfigError, match="64 positions"):
        generate.text(init_from=base, **question)


def test_an_adapter_of_another_base_is_refused(folder, lora_run):
    other = tiny_language_models.write(folder / "other", seed=1)
    with pytest.raises(errors.DataError, match="another base"):
        generate.text(
            init_from=other, adapter=str(lora_run / "adapter"), **QUESTION
        )
