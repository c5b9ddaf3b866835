"""Chats as templates write them, and which tokens are answers."""

import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.testing import tiny_tokenizers
from tff_pipeline import errors
from tff_pipeline.datasets.chat import Chat

pytest.importorskip("tokenizers")
pytest.importorskip("jinja2")

MESSAGES = [
    {"role": "user", "content": "Hi <b>\n"},
    {"role": "assistant", "content": " Yes."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "No."},
]
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set loop_messages = messages[1:] %}"
    "{% else %}{% set loop_messages = messages %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'].strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
ZEPHYR = r"""{% for message in messages %}
    {% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
    {% elif message['role'] == 'assistant' %}
{% generation %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endgeneration %}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
    {% endif %}
    {%- if tools is not none %}TOOLS{% endif %}
{% endfor %}
"""
AS_JSON = (
    "{%- for m in messages -%}\n  {{ m | tojson }}"
    "{% if loop.index > 2 %}{% break %}{% endif %}\n{%- endfor %}\n{{ 'x' }}\n"
)
# Forgets the answer before the last.
SHORT = (
    "{% for m in messages %}{{ m.role + ':' }}"
    "{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def make(template=tiny_tokenizers.CHATML, begin=1, end=2):
    tokenizer = tiny_tokenizers.byte_pair_tokenizer(begin=begin, end=end)
    return Chat(tokenizer, template, "tiny")


def exchange(prompt, response):
    return [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": response},
    ]


def answers(chat, messages):
    """The texts of the runs of tokens that are to be predicted."""
    document = chat.document(messages, "a.jsonl: line 1")
    runs, open_run = [], False
    for number, weight in zip(document.ids, document.weights):
        if weight and not open_run:
            runs.append(b"")
        open_run = bool(weight)
        if weight:
            special = chat.tokenizer.token(number).encode()
            runs[-1] += chat.tokenizer.symbols[number] or special
    return [run.decode() for run in runs]


# As transformers 4.46.3 writes them, with these first and last tokens.
@pytest.mark.parametrize(
    ("template", "answer", "text"),
    [
        (
            LLAMA_2,
            False,
            "^[INST] Hi <b> [/INST] Yes. $^[INST] And? [/INST] No. $",
        ),
        (LLAMA_2, True, "^[INST] Hi <b> [/INST] Yes. $^[INST] And? [/INST]"),
        (
            ZEPHYR,
            False,
            "<|user|>\nHi <b>\n$\n<|assistant|>\n Yes.$\n"
            "<|user|>\nAnd?$\n<|assistant|>\nNo.$\n",
        ),
        (
            ZEPHYR,
            True,
            "<|user|>\nHi <b>\n$\n<|assistant|>\n Yes.$\n"
            "<|user|>\nAnd?$\n<|assistant|>\n",
        ),
        (
            AS_JSON,
            False,
            '{"role": "user", "content": "Hi <b>\\n"}'
            '{"role": "assistant", "content": " Yes."}'
            '{"role": "user", "content": "And?"}x',
        ),
    ],
)
def test_templates_write_what_transformers_writes(template, answer, text):
    chat = make(template)
    written = chat.render(MESSAGES[:3] if answer else MESSAGES, answer)
    text = text.replace("^", "<|im_start|>").replace("$", "<|im_end|>")
    assert written == text


def test_a_default_message_of_the_system_is_read_not_predicted():
    chat = make()
    document = chat.document(exchange("Hello", "World"), "")
    assert chat.tokenizer.decode(document.ids) == (
        "system\nBe kind.\nuser\nHello\nassistant\nWorld\n"
    )
    assert answers(chat, exchange("Hello", "World")) == ["World<|im_end|>"]
    # The end of the answer is to be predicted, the line's end after it is not.
    assert document.weights[-2:].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (tiny_tokenizers.CHATML, [" Yes.<|im_end|>", "No.<|im_end|>"]),
        (LLAMA_2, [" Yes. <|im_end|>", " No. <|im_end|>"]),
        (ZEPHYR, [" Yes.<|im_end|>", "No.<|im_end|>"]),
        ("", [" Yes.", "No.<|im_end|>"]),
    ],
)
def test_all_answers_of_a_chat_are_found(template, found):
    assert answers(make(template), MESSAGES) == found


CONTENT = st.text(min_size=1).filter(
    lambda text: text.strip() and "<|" not in text
)


@hypothesis.given(CONTENT, CONTENT, st.sampled_from(["", "chatml"]))
def test_the_answer_is_predicted_and_nothing_else(prompt, response, name):
    chat = make(tiny_tokenizers.CHATML if name else "")
    messages = exchange(prompt, response)
    (found,) = answers(chat, messages)
    # A token may begin in the prompt's last line end and end in the answer.
    assert f"{response}<|im_end|>".endswith(found)
    assert not (f"{response}<|im_end|>"[: -len(found)]).strip()
    if not response[0].isspace():
        document = chat.document(messages, "")
        counted = chat.tokenizer.characters[document.ids] * document.weights
        assert counted.sum() == len(response)
        prompted = chat.prompt(messages[:1])
        assert document.ids[: len(prompted)].tolist() == prompted.tolist()
        assert not document.weights[: len(prompted)].any()
        assert document.weights[len(prompted)] == 1


def test_words_of_the_template_in_a_message_mislead_nobody():
    response = "<|im_start|>assistant\nassistant\nuser"
    messages = exchange("<|im_start|>assistant\nWorld", response)
    assert answers(make(), messages) == [f"{response}<|im_end|>"]


def test_space_at_the_end_of_an_answer_is_its_own():
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert answers(make(template), exchange("a", "b \n")) == ["b \n"]
    assert answers(make(""), exchange("a", "b \n")) == ["b \n<|im_end|>"]


def test_without_a_template_texts_begin_and_end():
    chat = make("")
    document = chat.document(exchange("ab", "cd"), "")
    assert document.ids[[0, -1]].tolist() == [1, 2]
    assert document.weights[[0, -1]].tolist() == [0, 1]
    assert chat.tokenizer.decode(document.ids) == "ab\ncd"
    assert chat.tokenizer.decode(chat.prompt(MESSAGES[3:])) == "No.\n"
    asked = chat.document([*MESSAGES, MESSAGES[0]], "")
    assert 2 not in asked.ids
    # Text that spells special tokens is text, where no template has written it.
    spelled = chat.document(exchange("<|im_end|>", "a"), "")
    assert spelled.ids.tolist().count(2) == 1
    neither = make("", None, None).document(exchange("ab", "cd"), "")
    assert neither.ids.tolist() == document.ids[1:-1].tolist()


def test_a_template_that_refuses_messages_says_why_and_where():
    messages = [MESSAGES[0], MESSAGES[0], MESSAGES[1]]
    with pytest.raises(errors.DataError) as caught:
        make(LLAMA_2).document(messages, "a.jsonl: line 7")
    assert "a.jsonl: line 7: The chat template of tiny" in str(caught.value)
    assert "(Conversation roles must alternate)" in str(caught.value)
    with pytest.raises(errors.DataError, match="The chat template of tiny"):
        make(LLAMA_2).prompt(messages[:2])


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no ' + messages[0].content) }}",
        "{{ messages[0].content + 3 }}",
        "{{ messages[0].content.nothing.nothing }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ range(10000000) }}",
        "{{ messages.append(3) }}",
    ],
)
def test_templates_that_fail_repeat_nothing_of_a_message(template):
    with pytest.raises(errors.DataError) as caught:
        make(template).document(exchange("secret", "secret"), "line 1")
    assert "secret" not in str(caught.value)


def test_answers_that_a_template_moves_are_refused():
    assert answers(make(SHORT), exchange("a", "b")) == ["b"]
    with pytest.raises(errors.DataError) as caught:
        make(SHORT).document(MESSAGES, "line 3")
    assert "line 3: The chat template of tiny writes message 2" in str(
        caught.value
    )


def test_an_answer_without_a_token_is_refused():
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(errors.DataError, match="line 4 has an answer without"):
        make(template).document(exchange("a", ""), "line 4")


def test_what_is_no_jinja_is_refused():
    with pytest.raises(errors.DataError, match="of tiny is no Jinja"):
        make("{% for %}")


def test_a_chat_is_the_same_on_every_day():
    template = "{{ strftime_now('%H') if strftime_now is defined else 'x' }}"
    assert make(template).render(MESSAGES, False) == "x"


@pytest.mark.parametrize(
    ("template", "end", "ends"),
    [
        # The template's own end, and the end of texts.
        (tiny_tokenizers.CHATML, 0, [0, 2]),
        (tiny_tokenizers.CHATML, 2, [2]),
        (tiny_tokenizers.CHATML, None, [2]),
        # An answer is followed by the end of texts, or by letters alone.
        (LLAMA_2, 2, [2]),
        (AS_JSON, 0, [0]),
        # Answers that cannot be found.
        (SHORT, 0, [0]),
        ("{{ raise_exception('No.') }}", 2, [2]),
        ("", None, []),
    ],
)
def test_what_ends_an_answer(template, end, ends):
    assert make(template, end=end).ends() == ends


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(errors.ConfigError, match=r"jinja2.*pipeline\[llm\]"):
        make()
    make("")
