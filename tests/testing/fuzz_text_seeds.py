"""Small valid files of text, and words of their formats."""

import gzip
import io
import re

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tests.testing.fuzz_binary_seeds import Files
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.datasets import heart_disease, shakespeare, stackexchange

CONFIGS = (
    ExperimentConfig(),
    ExperimentConfig(
        DataConfig(partition="dirichlet", num_clients=5, dirichlet_alpha=0.1),
        ClientConfig(3, optimizer=OptimizerConfig("client", "adam", 0.1)),
    ),
    ExperimentConfig(
        DataConfig(
            "csv", "a/b.csv", client_column="k", label_column="y", augment="x"
        )
    ),
)
CONFIG_WORDS = (
    *(b'"data": ', b'"side": "server"', b'"name": "dp_gaussian"', b"NaN"),
    *(b'"__class__": ', b'"\\ud800"', b"[" * 3000, b'{"a": ' * 3000),
    *(b'"data_dir": "../../outside"', b'"output_dir": "/dev/zero"'),
)


FLAGFILES = (
    {"run.flags": ExperimentConfig().flagfile().encode()},
    {
        "run.flags": b"# A run.\n--flagfile=more.flags\n\n--noprofile\n"
        b"--total_rounds=3\n// More.\n--seed=7\n"
        b"--client_optimizer=adam\n--client_adam_beta_1=0.5\n",
        "more.flags": b"--task=mnist_cnn\n--data_dir=../mnist\n",
    },
)
FLAG_WORDS = (
    *(b"--flagfile=run.flags\n", b"--flagfile=../outside.flags\n"),
    *(b"--flagfile=/dev/zero\n", b"--flagfile=~/x\n", b"-flagfile="),
    *(b"--flagfile=", b"--flagfile\n", b"--help\n", b"--helpxml\n"),
    *(b"--undefok=x\n", b"--x=1\n", b"--\n", b"--notask\n", b"--profile\n"),
    *(b"--num_clients=", b"--dirichlet_alpha=", b"--verbosity=-9\n", b"#"),
)

ROWS = b"who,a,b,c,part,y\n" + b"".join(
    b'k%d,%d.5,"x, %d",%d,%s,%d\n'
    % (i % 3, i, i % 2, i % 4, (b"train", b"test")[i % 2], i % 2)
    for i in range(12)
)


def _a_date(match: "re.Match[bytes]") -> bytes:
    return b",%d/12/2020 8:30," % (13 + int(match[1]))


def parquet() -> bytes:
    table = pa.csv.read_csv(io.BytesIO(ROWS))
    table = table.append_column("b2", table["b"].dictionary_encode())
    target = pa.BufferOutputStream()
    pa.parquet.write_table(table, target, compression="none")
    return target.getvalue().to_pybytes()


TABLES = (
    {"t.csv": ROWS},
    {"t.csv": ROWS.replace(b", ", b"").replace(b",", b";")},
    {"t.tsv": ROWS.replace(b", ", b"").replace(b",", b"\t")},
    {"t.csv": ROWS.replace(b"x, ", b'x ""\r\n').replace(b"\n", b"\r\n")},
    {"1.csv": ROWS, "2.csv": ROWS.replace(b"k0", b"k3")},
    {"t.csv.gz": gzip.compress(ROWS, mtime=0)},
    {"t.csv": re.sub(rb",(\d+)\.5,", _a_date, ROWS)},
)
CELLS = (
    *(
        b'"',
        b'""',
        b'"a\nb"',
        b",,,",
        b"who",
        b"y",
        b"NA",
        b"1e999",
        b"x" * 300,
    ),
    *(b"\r", b"\t", b"+1", b"x" * 300, b"Test", b"0x1", b"1e38", b"1970-01-01"),
    *(b"31.12.1999 23:59:59Z", b"0000-00-00", b"9999-99-99T99:99+99:99"),
)


def delimited() -> tuple[Files, ...]:
    patient = b"63,1,1,145,233,1,2,150,0,2.3,3,0,6,%d\n"
    hospital = b"".join(patient % (i % 2) for i in range(6))
    features = ",".join(f"f{i}" for i in range(39)).encode()
    brca = b"pid,E,T," + features + b"\n"
    brca += b"".join(b"p%d,1,30" % i + b",1.5" * 39 + b"\n" for i in range(4))
    default = b"ID,LIMIT_BAL,SEX,EDUCATION,MARRIAGE,AGE," + b",".join(
        [b"PAY_%d" % i for i in (0, 2, 3, 4, 5, 6)]
        + [b"BILL_AMT%d" % i for i in range(1, 7)]
        + [b"PAY_AMT%d" % i for i in range(1, 7)]
    )
    person = b"39, Private, 7, BA, 13, No, Sales, Not, White, Male, 1, 0, 40, "
    adult = b"".join(person + b"US, %s50K%s\n" for _ in range(3))
    return (
        {
            f"heart_disease.load/processed.{name}.data": hospital
            for name in heart_disease.HOSPITALS
        },
        {"movielens.load/u.data": b"1\t2\t3\t88\n2\t1\t5\t99\n" * 3},
        {"movielens.load/ratings.dat": b"1::2::3::88\n2::1::5::99\n" * 3},
        {
            "tcga_brca.load/brca.csv": brca,
            "tcga_brca.load/train_test_split.csv": b"pid,fold2\np0,train_0\n"
            b"p1,test_0\np2,train_3\np3,test_3\n",
        },
        {
            "credit.credit_default/UCI_Credit_Card.csv": default
            + b",default payment next month\n"
            + (b"1,20000,2,2,1,24" + b",2" * 18 + b",1\n") * 3
        },
        {
            "credit.adult/adult.data": adult.replace(b"%s", b"<=", 1)
            .replace(b"%s", b"", 1)
            .replace(b"%s50K%s", b">50K"),
            "credit.adult/adult.test": b"|1x3 Cross validator\n"
            + person
            + b"US, >50K.\n",
        },
        {
            "credit.german/german.data": b"A11 6 A34 A43 1169 A65 A75 4 A93 "
            b"A101 4 A121 67 A143 A152 2 A173 1 A192 A201 1\n" * 3
        },
        {
            "ett.load/a.csv": b"date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\n"
            + b"2016-07-01 00:00:00,5,2,1,0,4,1,30\n"
            + b"2016-07-01 01:00:00,5,2,1,0,4,1,30\n"
            + b"2016-07-01 02:00:00,5,2,1,0,4,1,30\n"
        },
    )


def json_lines() -> tuple[Files, ...]:
    own = b"".join(
        b'{"client_id": "k%d", "x": [%d, 0.5], "y": %d, "split": "test"}\n'
        % (i % 2, i, i % 2)
        for i in range(4)
    )
    post = '{"client": "a/1", "posts": [{"text": "t", "title": "u", "tags": '
    post += '["v"]}, {"text": "w"}]}\n'
    leaf = b'{"users": ["u", "v"], "num_samples": [2, 1], "user_data": {"u": '
    leaf += b'{"x": [[1, 0.5], [2, null]], "y": [0, 1]}, "v": {"x": [[3, 4]], '
    leaf += b'"y": [1]}}, "hierarchies": ["g", "g"]}'
    windows = b'{"users": ["u"], "num_samples": [2], "user_data": {"u": {'
    windows += b'"x": ["abc", "bcd"], "y": ["d", "e"]}}}'
    chat = b'{"client": "a", "prompt": "p", "response": "r"}\n{"client": 3, '
    chat += b'"messages": [{"role": "user", "content": "p"}, {"role": '
    chat += b'"assistant", "content": "r"}]}\n'
    role = '{"client": "A", "speeches": [["To be", "or"], ["not", "to"]]}\n'
    return (
        {"o.jsonl": own},
        {"o.jsonl": re.sub(b'"y": (.)', rb'"y": "b\1"', own)},
        {"o.jsonl.gz": gzip.compress(own, mtime=0)},
        {stackexchange.FILE: post.encode() * 2},
        {shakespeare.FILE: role.encode() * 2},
        {"instructions/a.jsonl": chat, "instructions/test/b.jsonl": chat},
        {"leaf/train/a.json": leaf, "leaf/test/a.json": leaf},
        {"a.json": leaf},
        {"windows/a.json": windows, "windows/test.json": windows},
        {"a.json": b"[" + own.strip().replace(b"\n", b",") + b"]"},
    )


JSON_WORDS = (
    *(b'"x": ', b'"y": ', b"NaN", b"-Infinity", b"1e400", b"[1, [2]]"),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b"[" * 2000,
        b"[1]",
        b'{"x": 1}',
        b"9" * 5000,
    ),
    *(b'"client_id": "../../outside"', b'"split": ', b'"posts": ', b"1e39"),
)


SENTENCES = b"EU NNP B-NP I-ORG\nrejects VBZ B-VP O\n\nEU NNP B-NP I-ORG\n\n"
CONLL = (
    {
        "eng.train": b"-DOCSTART- -X- O O\n\n" + SENTENCES * 2,
        "eng.testb": b"\xef\xbb\xbf" + SENTENCES,
    },
    {
        "a.conll": b"EU\tB-ORG\nrejects\tO\n\n" * 6,
        "b.conll": "@EU \U0001f600\tB-PER\r\nI\tI-PER\r\n\r\n".encode() * 5,
    },
    {
        "ner.csv": b"Sentence #,Word,POS,Tag\n"
        + b"".join(b'%d,EU,N,B-X\n,"a, b",N,I-X\n' % i for i in range(5)),
    },
    {
        "train.txt": b"#begin document (b); part 000\n"
        + b"b 0 0 EU N * - - - - (X* -\nb 0 1 a N * - - - - *) -\n\n" * 2
        + b"b 1 0 EU N * - - - - (Y) -\n\n",
        "test.txt": b"EU B-X\n\n",
    },
    {"vectors.txt": b"2 3\neu 0.5 1 -2\nthe 1e-3 0 0\n"},
)
TAGS = (
    *(b"B-", b"I-X", b"O", b"-DOCSTART-\n", b"\n\n", b"\t", b"E-ORG", b" "),
    *(
        b"\xe2\x80\x8b",
        b"B-\x00",
        b"nan",
        b"\x1c",
        b"\xc2\xa0",
        b"a\tO\n" * 400,
    ),
)
