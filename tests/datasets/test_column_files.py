"""Column files of entities as corpora have them, and their clients."""

import itertools

import numpy as np
import pytest

from tff_pipeline import errors
from tff_pipeline.datasets.readers import column_file, conll, entity_scheme

# Ann Lee is a person and Rome a place; the tag of "Lee" differs.
WORDS = ["the", "Ann", "Lee", "in", "Rome"]
BIO = ["O", "B-PER", "I-PER", "O", "B-LOC"]


def sentence(words=WORDS, tags=BIO, form="{word}\t{tag}\n"):
    lines = (
        form.format(word=word, tag=tag, number=number)
        for number, (word, tag) in enumerate(zip(words, tags), 1)
    )
    return "".join(lines)


@pytest.fixture
def write(tmp_path):
    """Writes files, in folders too; returns the folder's path."""

    def to_folder(files):
        for name, content in files.items():
            if isinstance(content, str):
                content = content.encode()
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return str(tmp_path)

    return to_folder


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(sentence() + "\n", id="tabs"),
        pytest.param(sentence(form="{word} {tag}\n"), id="blanks"),
        pytest.param(sentence(form="{word} {tag} \n"), id="blank at the end"),
        pytest.param(sentence(form="{word}\t{tag}\t\n"), id="tab at the end"),
        pytest.param(sentence(form="{word} \t{tag}\n"), id="blank and tab"),
        pytest.param(sentence(form="{word}  x  {tag}\n"), id="two blanks"),
        pytest.param(sentence(form="{word} {tag}\r\n"), id="CR LF"),
        pytest.param(sentence(form="{word} {tag}\r\r\n"), id="CR CR LF"),
        pytest.param(sentence(form="{word} {tag}\r"), id="CR"),
        pytest.param("\ufeff" + sentence(), id="BOM"),
        pytest.param("\ufeff\n" + sentence(), id="a line of BOM"),
        pytest.param("\ufeff\ufeff" + sentence(), id="two BOMs"),
        pytest.param(sentence().encode("utf-16"), id="UTF-16"),
        pytest.param(sentence() + "\t\n \n", id="white lines"),
        pytest.param(
            "# id 0a0\tdomain=en\n" + sentence(form="{word} _ _ {tag}\n"),
            id="comment with a tab",
        ),
        pytest.param(
            "# id 0a0 domain=en\n" + sentence(form="{word} _ _ {tag}\n"),
            id="comment with as many columns",
        ),
        pytest.param(
            "# sent = 1\n# text\n" + sentence(form="{number} {word} X {tag}\n"),
            id="comments and numbers",
        ),
        pytest.param(
            "#\thttp://example.org [2010-01-01]\n"
            + sentence(form="{number}\t{word}\t{tag}\tO\n"),
            id="two columns of tags",
        ),
        pytest.param(sentence(form="{number}\t{word}\t{tag}\n"), id="numbers"),
        pytest.param(
            sentence(form="{number} {word} NN B-NP {tag}\n"),
            id="numbers, parts of speech and chunks",
        ),
        pytest.param(
            sentence(form="{number} {word} B-NP {tag}\n"),
            id="numbers and chunks",
        ),
        pytest.param(sentence(form="en:{word} {tag}\n"), id="language"),
        pytest.param(
            sentence(tags=["O", "B-PER", "E-PER", "O", "S-LOC"]), id="IOBES"
        ),
        pytest.param(
            sentence(tags=["O", "B-PER", "L-PER", "O", "U-LOC"]), id="BILOU"
        ),
        pytest.param(
            sentence(tags=["O", "I-PER", "I-PER", "O", "I-LOC"]), id="IOB1"
        ),
        pytest.param(
            sentence(tags=["o", "b-PER", "i-PER", "o", "b-LOC"]), id="lower"
        ),
        pytest.param(
            sentence(tags=["O", "B_PER", "I_PER", "O", "B_LOC"]), id="B_PER"
        ),
    ],
)
def test_forms_of_the_same_sentence_are_read_alike(write, content):
    file = column_file.read(write({"a": content}) + "/a")
    assert file.tokens == [WORDS]
    assert file.tags == [BIO]


def test_white_space_that_is_no_blank_is_part_of_a_token(write):
    text = "10\u00a0000 B-X\na\u2028b I-X\n"
    file = column_file.read(write({"a": text}) + "/a")
    assert file.tokens == [["10\u00a0000", "a\u2028b"]]


def test_latin_1_is_read_and_said(write):
    text = "Peña B-PER\nen O\nCórdoba B-LOC\n\n" + sentence(
        form="{word} {tag}\n"
    )
    folder = write({"esp.train": text.encode("latin-1"), "esp.testb": text})
    corpus = conll.load(folder)
    assert corpus.train.tokens == corpus.test.tokens
    assert corpus.train.tokens[0] == ["Peña", "en", "Córdoba"]
    assert "In esp.train: read as LATIN-1." in corpus.notes


def test_quotes_and_dashes_of_windows_are_read(write):
    text = "Peña\u2019s B-PER\n\u2013 O\n"
    path = write({"a": text.encode("cp1252")}) + "/a"
    file = column_file.read(path)
    assert (file.tokens, file.notes) == (
        [["Peña\u2019s", "\u2013"]],
        ["read as WINDOWS-1252"],
    )


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        ("cp1251", "Москва"),
        ("koi8-r", "Москва"),
        ("cp1253", "Αθήνα"),
        ("gb18030", "北京大学"),
        ("cp1250", "Łódź"),
    ],
)
def test_other_alphabets_are_not_taken_for_latin_1(write, encoding, word):
    content = f"in O\n{word} B-LOC\n".encode(encoding)
    path = write({"a": content}) + "/a"
    with pytest.raises(errors.DataError, match=r"a:2 is neither UTF-8") as at:
        column_file.read(path)
    assert "\n" not in str(at.value)


def test_tags_without_a_type_stay_so(write):
    tags = ["O", "B", "I", "O", "B"]
    file = column_file.read(write({"a": sentence(tags=tags)}) + "/a")
    assert file.tags == [tags]


def test_a_token_may_start_with_a_number_sign(write):
    text = "#rome\tB-LOC\nis\tO\n\n#\tO\n"
    file = column_file.read(write({"a": text}) + "/a")
    assert file.tokens == [["#rome", "is"], ["#"]]
    assert file.notes == []


def test_words_that_are_numbers_are_no_column_of_numbers(write):
    text = "1 NN O\n2 NN O\n\n4 NN O\n4 NN B-X\n"
    file = column_file.read(write({"a": text}) + "/a")
    assert file.tokens == [["1", "2"], ["4", "4"]]


def test_comments_may_start_documents(write):
    text = "# newdoc id = x\n# 1\na\tO\n\nb\tB-X\n\n# newdoc\nc\tO\n"
    file = column_file.read(write({"a": text}) + "/a")
    assert file.documents == [0, 0, 1]
    assert file.document_count == 2


@pytest.mark.parametrize("tags", [["B-A", "O", "O"], ["B-A", "I-A", "I-A"]])
def test_long_sentences_are_cut_outside_entities(write, tags):
    count = 3 * 234
    words = [f"w{number}" for number in range(count)]
    text = sentence(words, tags * 234)
    file = column_file.read(write({"a": text}) + "/a")
    assert [*itertools.chain(*file.tokens)] == words
    assert [*itertools.chain(*file.tags)] == tags * 234
    sizes = [len(tokens) for tokens in file.tokens]
    assert max(sizes) <= column_file.MAX_TOKENS < 2 * min(sizes[:-1])
    # No piece starts within an entity.
    assert not any(each[0].startswith("I") for each in file.tags)
    assert file.documents == [0] * len(sizes)
    assert "128 tokens are cut, outside entities (1)" in file.notes[0]


def test_long_sentences_are_cut_where_a_sentence_ends(write):
    words = [*["a"] * 99, ".", *["b"] * 50]
    text = sentence(words, ["B-A", *["O"] * 149])
    file = column_file.read(write({"a": text}) + "/a")
    assert file.tokens == [words[:100], words[100:]]


def test_an_entity_that_is_too_long_is_two(write):
    text = sentence(["a"] * 200, ["B-A", *["I-A"] * 199])
    file = column_file.read(write({"a": text}) + "/a")
    assert [tags[:2] for tags in file.tags] == [["B-A", "I-A"]] * 2


ONTONOTES = "#begin document (b/c); part 000\n" + sentence(
    tags=["*", "(PER*", "*)", "*", "(LOC)"],
    form="b/c 0 {number} {word} N (S* - - - - {tag} (0)\n",
)
KAGGLE = "Sentence #,Word,POS,Tag\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            KAGGLE
            + sentence(form=",{word},NN,{tag}\n").replace(
                ",the", "Sentence: 1,the"
            ),
            id="the first row numbers the sentence",
        ),
        pytest.param(
            ",pos,sentence_idx,word,tag\n"
            + sentence(form="{number},NN,1.0,{word},{tag}\n"),
            id="all rows do",
        ),
        pytest.param(
            '\r\n"word";"tag"\r\n' + sentence(form='"{word}";"{tag}"\r\n'),
            id="semicolons and quotes",
        ),
        pytest.param(
            "Tokens\tNER_Tags\n" + sentence() + "\t\n", id="tabs and names"
        ),
        pytest.param("\n" + ONTONOTES + "\n#end document\n", id="OntoNotes"),
        pytest.param(
            # As many more columns as there are predicates.
            ONTONOTES.replace(" (0)", " * * (0)"),
            id="OntoNotes' predicates",
        ),
    ],
)
def test_tables_and_brackets_are_read_alike(write, content):
    file = column_file.read(write({"a": content}) + "/a")
    assert (file.tokens, file.tags) == ([WORDS], [BIO])


def test_sentences_of_a_table_end_where_their_column_changes(write):
    content = KAGGLE + '1,a,N,O\n,"b, c",N,B-X\n2,d,N,O\n2,,N,O\n,,,\n,e,N,O\n'
    file = column_file.read(write({"a.csv": content}) + "/a.csv")
    assert file.tokens == [["a", "b, c"], ["d", " "], ["e"]]
    assert "a table, a token a row" in file.notes


def test_documents_of_ontonotes_are_their_first_two_columns(write):
    form = "{} 0 x N * - - - - {} -\n"
    content = "".join(
        form.format(place, tag)
        for place, tag in [
            ("d 0", "(X*"),
            ("d 1", "*"),
            ("d 1", "(Y*"),
            ("d 1", "*"),
            ("e 1", "(Z)"),
        ]
    )
    file = column_file.read(write({"a": content}) + "/a")
    assert file.documents == [0, 1, 2]
    # No entity goes on in another document, or after its sentence.
    assert file.tags == [["B-X"], ["O", "B-Y", "I-Y"], ["B-Z"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a O\nsecret x9\n", r"a:2 has something other than a tag"),
        (ONTONOTES + "b/c 0 9 x N * - - - - GPE -\n", r"a:7 has no entity in"),
        (ONTONOTES + "b/c 0 9 x\n", r"a:7 has no entity in brackets"),
        ("Word,Tag\nsecret\n", r"a:2 has 1 cells where the first line has 2"),
        ("Word,Tag\nsecret,x9\n", r"a:2 has something other than a tag"),
        ("Word,Tag\n", r"holds no sentences"),
        ("a O\n\nb\n", r"a:3 has one column"),
        ("a O\nb x O\n", r"a:2 has 3 columns, but line 1 has 2"),
        ("# only\n", r"holds no sentences"),
        (b"\xff\xfea", r"a starts as UTF-16 but is not"),
    ],
)
def test_other_files_are_refused_with_their_line_only(write, content, words):
    path = write({"a": content}) + "/a"
    with pytest.raises(errors.DataError, match=words) as refused:
        column_file.read(path)
    # What stands in the file is not told.
    assert "secret" not in str(refused.value)
    assert "x9" not in str(refused.value)


# Schemes.


def described(*files):
    """Describes the schemes of files, each of sentences such as "I-PER O"."""
    schemes = []
    for number, sentences in enumerate(files):
        scheme = entity_scheme.Scheme()
        for each in sentences:
            scheme.to_bio(map(entity_scheme.parse, each.split()))
        schemes.append((f"f{number}", scheme))
    return entity_scheme.describe(schemes)


def test_two_odd_tags_do_not_turn_the_scheme():
    iob1, bio = ["I-PER I-PER O I-LOC"] * 50, ["B-PER I-PER O B-LOC"] * 50
    assert described(iob1) == "IOB1, converted to BIO"
    assert described([*iob1, "B-PER O B-LOC"]) == (
        "IOB1, converted to BIO, where 2 entities start with B- after none of "
        "their type"
    )
    assert described(bio) == "BIO"
    assert described([*bio, "I-PER O I-LOC"]) == (
        "BIO, where 2 entities start with I-, read as B-"
    )
    assert described(["B-PER E-PER S-LOC"]) == "IOBES, converted to BIO"
    assert described(["B-PER L-PER U-LOC"]) == "BILOU, converted to BIO"
    assert described(["B-PER M-PER E-PER"]) == "BMES, converted to BIO"


def test_files_in_different_schemes_are_told_apart():
    assert described(["B-PER O"], ["I-PER O"], ["O"]) == (
        "BIO in f0, IOB1, converted to BIO in f1"
    )


@pytest.mark.parametrize(
    ("tags", "bio"),
    [
        ("I-A I-A B-A I-A", "B-A I-A B-A I-A"),
        ("I-A I-B O I-B", "B-A B-B O B-B"),
        ("S-A S-A B-A E-A I-A", "B-A B-A B-A I-A B-A"),
        ("E-A O L-B", "B-A O B-B"),
        ("B-A M-A E-A E-A", "B-A I-A I-A B-A"),
        ("B I I O S E", "B I I O B B"),
    ],
)
def test_schemes_become_bio(tags, bio):
    scheme = entity_scheme.Scheme()
    found = scheme.to_bio(map(entity_scheme.parse, tags.split()))
    assert found == bio.split()


# Files and clients.


@pytest.mark.parametrize(
    ("names", "train", "test", "validation"),
    [
        (
            ["wnut17train.conll", "emerging.dev.conll", "emerging.test.ann"],
            "wnut17train.conll",
            "emerging.test.ann",
            "emerging.dev.conll",
        ),
        (
            ["train.txt", "valid.txt", "test.txt"],
            "train.txt",
            "test.txt",
            "valid.txt",
        ),
        (
            ["eng.train", "eng.testa", "eng.testb"],
            "eng.train",
            "eng.testb",
            "eng.testa",
        ),
        (
            ["train", "dev", "test", "extra"],
            "train",
            "test",
            "dev",
        ),
    ],
)
def test_files_are_found_and_the_validation_file_is_chosen_on(
    write, names, train, test, validation
):
    # A file that is left out is not read.
    files = {name: "nothing\n" for name in names}
    for count, name in enumerate((train, test, validation), 1):
        files[name] = "\n".join([sentence()] * count)
    corpus = conll.load(write(files))
    parts = (corpus.train, corpus.test, corpus.validation)
    assert [len(part) for part in parts] == [1, 2, 3]
    assert f"{validation} has the validation set" in corpus.notes
    assert "extra" not in corpus.notes


def test_one_file_is_to_choose_on_and_the_others_are_left_out(write):
    files = dict.fromkeys(("train", "test", "testa", "dev.txt"), sentence())
    corpus = conll.load(write({**files, "eng.valid": "nothing\n"}))
    assert "testa has the validation set" in corpus.notes
    assert "dev.txt, eng.valid are left out: " in corpus.notes


def test_two_files_of_one_name_to_choose_on_are_a_question(write):
    files = dict.fromkeys(("train", "test", "dev.txt", "dev.iob"), sentence())
    with pytest.raises(errors.DataError, match=r"dev\.iob and dev\.txt, and"):
        conll.load(write(files))


def test_folders_of_clients_may_each_have_a_validation_file(write):
    files = {
        f"{client}/{name}": "\n".join([sentence()] * 5)
        for client in ("north", "south")
        for name in ("train.txt", "dev.txt")
    }
    corpus = conll.load(write(files))
    owners = corpus.validation.owners.tolist()
    assert owners == ["north"] * 5 + ["south"] * 5
    # Of which none is tested on or trained on.
    assert (len(corpus.train), len(corpus.test)) == (8, 2)


@pytest.mark.parametrize("name", ["NER-de-train.tsv", "en_train.conll"])
def test_without_a_test_file_every_fifth_sentence_is_held_out(write, name):
    text = "\n".join(sentence([*"vwxy", f"w{i}"]) for i in range(10))
    corpus = conll.load(write({name: text}))
    assert [tokens[-1] for tokens in corpus.test.tokens] == ["w4", "w9"]
    assert len(corpus.train) == 8
    assert set(corpus.train.owners) == set(corpus.test.owners)
    assert "no test file: every 5th sentence is for the test" in corpus.notes


def test_folders_are_clients(write):
    text = "\n".join([sentence()] * 10)
    files = {"hosp1/train.txt": text, "hosp2/train.txt": text}
    files |= {"hosp2/test.txt": sentence()}
    corpus = conll.load(write(files))
    assert dict(zip(*np.unique(corpus.train.owners, return_counts=True))) == {
        "hosp1": 8,
        "hosp2": 10,
    }
    assert dict(zip(*np.unique(corpus.test.owners, return_counts=True))) == {
        "hosp1": 2,
        "hosp2": 1,
    }
    assert "hosp1/train.txt, hosp2/train.txt, hosp2/test.txt:" in corpus.notes


def test_a_table_alone_is_the_training_file(write):
    rows = "".join(f"{number},a,N,B-X\n" for number in range(10))
    folder = write({"ner_dataset.csv": KAGGLE + rows})
    corpus = conll.load(folder)
    assert (len(corpus.train), len(corpus.test)) == (8, 2)
    assert "In ner_dataset.csv: a table, a token a row." in corpus.notes
    write({"ner.csv": KAGGLE + rows})
    with pytest.raises(errors.DataError, match=r"either could be the training"):
        conll.load(folder)


def test_tables_are_training_and_test_files_and_clients(write):
    rows = "".join(f"{number},a,N,B-X\n" for number in range(10))
    folder = write({"train.csv": KAGGLE + rows, "test.csv": KAGGLE + rows[:20]})
    corpus = conll.load(folder)
    assert (len(corpus.train), len(corpus.test)) == (10, 2)


def test_a_folder_a_client_may_hold_tables(write):
    rows = "".join(f"{number},a,N,B-X\n" for number in range(10))
    folder = write({"n/data.csv": KAGGLE + rows, "s/data.csv": KAGGLE + rows})
    assert set(conll.load(folder).train.owners) == {"n", "s"}


def test_a_table_without_words_and_tags_is_said(write):
    folder = write(
        {"a.csv": "Sentence #,Sentence,POS,Tag\n1,a b,\"['N']\",x\n"}
    )
    with pytest.raises(errors.DataError, match=r"a.csv is a table without a"):
        conll.load(folder)


def documents(sizes):
    return "".join("-DOCSTART- O\n\n" + "a B-X\n\n" * size for size in sizes)


def test_every_document_can_be_a_client(write):
    folder = write(
        {"eng.train": documents([3, 1, 0, 2]), "eng.testb": documents([1, 2])}
    )
    joined = conll.load(folder)
    assert set(joined.train.owners) == {"eng.train_0-3"}
    assert "3 documents to train on are joined to one client" in joined.notes
    corpus = conll.load(folder, sentences_per_client=1)
    names, counts = np.unique(corpus.train.owners, return_counts=True)
    # A document without a sentence is none.
    assert dict(zip(names, counts)) == {
        "eng.train_0-0": 3,
        "eng.train_1-1": 1,
        "eng.train_2-3": 2,
    }
    assert len(set(corpus.test.owners)) == 2
    assert "Each of the 3 documents to train on is a client" in corpus.notes


def test_sentences_without_documents_are_told_to_be_one_client(write):
    corpus = conll.load(write({"train": sentence(), "test": sentence()}))
    assert "so one client; --partition=iid makes more" in corpus.notes
