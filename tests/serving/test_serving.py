"""scripts/serve.py: TensorFlow Serving's formats, and what clients do wrong."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.scripts import ROOT, SCRIPTS, run_script
from tests.testing.served import Server, answer_of


class Several(tf.Module):
    """Signatures of all sorts."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "tag"),
            tf.TensorSpec([None, 5], tf.float32, "signal"),
            tf.TensorSpec([None, 2, 2], tf.int64, "sensor"),
        ]
    )
    def three(self, tag, signal, sensor):
        """The documentation's three named inputs."""
        return {
            "length": tf.strings.length(tag),
            "total": tf.reduce_sum(signal, 1),
            "corner": sensor[:, 0, 0],
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half_plus_three(self, x):
        return {"y": x / 2 + 3}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def root(self, x):
        return {"y": tf.sqrt(x), "inverse": 1 / x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def echo(self, text):
        return {"same": text, "same_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.uint8, "x")])
    def small(self, x):
        return {"sum": tf.reduce_sum(tf.cast(x, tf.int32), 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.bool, "x")])
    def negated(self, x):
        return {"y": tf.logical_not(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "x")])
    def lookup(self, x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 3)]):
            return {"y": tf.gather([10, 20, 30], x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def words(self, text):
        return {"word": tf.strings.split(text).to_tensor()}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "a"),
            tf.TensorSpec([None], tf.float32, "b"),
        ]
    )
    def uneven(self, a, b):
        return {"sum": tf.reduce_sum(a) + tf.reduce_sum(b)}


def save(folder):
    module = Several()
    names = (
        *("half_plus_three", "three", "root", "echo", "small", "negated"),
        *("lookup", "words", "uneven"),
    )
    tf.saved_model.save(
        module,
        str(folder),
        signatures={
            "serving_default": module.half_plus_three,
            **{name: getattr(module, name) for name in names[1:]},
        },
    )


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """TensorFlow Serving's layout: half_plus_three/9 and .../123."""
    folder = tmp_path_factory.mktemp("models") / "half_plus_three"
    save(folder / "123")
    (folder / "9").symlink_to(folder / "123")
    (folder / "124").mkdir()  # Still being copied.
    return folder


@pytest.fixture(scope="module")
def server(versions):
    started = Server(versions, "--max_body_mb=1", "--request_timeout_s=1.5")
    yield started
    assert started.stop() == ""


@pytest.fixture(scope="module")
def digits(small_run):
    started = Server(small_run / "saved_model", "--name=digits")
    yield started
    assert started.stop() == ""


def test_the_documented_examples(server):
    assert server.get("/v1/models/half_plus_three") == (
        200,
        {
            "model_version_status": [
                {
                    "version": "123",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        },
    )
    rows = {"instances": [1.0, 2.0, 5.0]}
    assert server.predict(rows) == (200, {"predictions": [3.5, 4.0, 5.5]})
    status, answer = server.predict(rows, "/v1/models/half:predict")
    assert status == 404
    assert answer.keys() == {"error"}
    rows = [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {
            "tag": "bar!",
            "signal": [3, 4, 1, 2, 5.5],
            "sensor": [[4, 5], [6, 8]],
        },
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    asked = {"signature_name": "three", "instances": rows}
    answer = [
        {"length": 3, "total": 15.0, "corner": 1},
        {"length": 4, "total": 15.5, "corner": 4},
    ]
    assert server.predict(asked) == (200, {"predictions": answer})
    asked = {"signature_name": "three", "inputs": columns}
    answer = {"length": [3, 4], "total": [15.0, 15.5], "corner": [1, 4]}
    assert server.predict(asked) == (200, {"outputs": answer})


def test_one_input_goes_by_its_name_or_by_none(server):
    for rows in ([1.0, 2.0], [{"x": 1.0}, {"x": 2.0}]):
        assert server.predict({"instances": rows}) == (
            200,
            {"predictions": [3.5, 4.0]},
        )
    for columns in ([1.0, 2.0], {"x": [1.0, 2.0]}):
        asked = {"inputs": columns, "signature_name": "serving_default"}
        assert server.predict(asked) == (200, {"outputs": [3.5, 4.0]})


def test_versions_and_metadata(server):
    root = "/v1/models/half_plus_three"
    assert server.get(root + "/versions/123") == server.get(root)
    rows = {"instances": [1.0]}
    path = root + "/versions/123:predict"
    assert server.predict(rows, path) == (200, {"predictions": [3.5]})
    for path in (root + "/versions/9", root + "/versions/9/metadata"):
        status, answer = server.get(path)
        assert status == 404
        assert "version 123" in answer["error"]
    status, answer = server.get(root + "/metadata")
    assert answer["model_spec"] == {
        "name": "half_plus_three",
        "signature_name": "",
        "version": "123",
    }
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert default["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }


def test_bytes_are_base64(server):
    raw = b"\xff\x00\x80"
    encoded = {"b64": base64.b64encode(raw).decode()}
    text = {"b64": base64.b64encode("é".encode()).decode()}
    for asked in (
        {"instances": [encoded, "é"]},
        {"instances": [{"text": encoded}, {"text": "é"}]},
    ):
        assert server.predict({"signature_name": "echo", **asked}) == (
            200,
            {
                "predictions": [
                    {"same": encoded, "same_bytes": encoded},
                    {"same": "é", "same_bytes": text},
                ]
            },
        )


def test_what_is_not_finite_goes_in_by_name_and_comes_out_as_null(server):
    body = (
        '{"signature_name": "root", "inputs": [4, -1, 0, NaN, Infinity, '
        "-Infinity]}"
    )
    assert server.predict(body) == (
        200,
        {
            "outputs": {
                "y": [2.0, None, 0.0, None, None, None],
                "inverse": [0.25, -1.0, None, None, 0.0, -0.0],
            }
        },
    )


def test_rows_of_sizes_that_are_not_known_are_not_padded_by_others(server):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        texts = [" ".join("abcdefgh"[: 1 + n % 8]) for n in range(64)]
        asked = [
            {"signature_name": "words", "instances": [text]} for text in texts
        ]
        answers = list(pool.map(server.predict, asked))
    for text, answer in zip(texts, answers):
        assert answer == (200, {"predictions": [text.split()]})


def test_columns_may_differ_in_length_and_give_no_rows(server):
    asked = {"signature_name": "uneven", "inputs": {"a": [1, 2], "b": [3.5]}}
    assert server.predict(asked) == (200, {"outputs": 6.5})
    asked = {"inputs": []}
    assert server.predict(asked) == (200, {"outputs": []})
    asked = {"signature_name": "uneven", "instances": [{"a": 1, "b": 2}]}
    status, answer = server.predict(asked)
    assert status == 400
    assert "'inputs'" in answer["error"]


def test_a_lone_guilty_request_fails_alone(server):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [
            {"signature_name": "lookup", "instances": [n % 4]}
            for n in range(64)
        ]
        answers = list(pool.map(server.predict, asked))
    for number, (status, answer) in enumerate(answers):
        if number % 4 == 3:
            assert status == 400
            assert "refused these inputs" in answer["error"]
        else:
            assert (status, answer["predictions"]) == (
                200,
                [10 * (number % 4 + 1)],
            )


WRONG = (
    ("", "is not JSON"),
    ('{"instances": [1.0', "is not JSON"),
    ('{"instances": [1.0], NaN', "is not JSON"),
    (b'{"instances": ["\xff"]}', "is not JSON"),
    ("[1.0]", "must be a JSON object"),
    ("{}", "'instances'"),
    ('{"instances": [1.0], "inputs": [1.0]}', "not both"),
    ('{"instances": []}', "one row or more"),
    ('{"instances": 1.0}', "one row or more"),
    ('{"instances": [1e39]}', "'x' has 1e+39"),
    ('{"instances": [1e400]}', "is not JSON"),
    ('{"instances": [1' + 400 * "0" + "]}", "is not JSON"),
    ('{"instances": ["1.0"]}', "'x' takes numbers"),
    ('{"instances": [null]}', "not null"),
    ('{"instances": [true]}', "not true"),
    ('{"instances": [[1.0]]}', "the shape [1, 1]; the model takes float32"),
    ('{"instances": [1.0, [1.0]]}', "side by side"),
    ('{"instances": [{"z": 1.0}]}', "'z'"),
    ('{"instances": [{"x": 1.0}, 1.0]}', "at 1"),
    ('{"instances": [{}]}', "lacks x"),
    ('{"inputs": {"x": [1.0], "z": 1}}', "'z'"),
    ('{"inputs": {"b64": "AA=="}}', "'x' has the shape []"),
    ('{"signature_name": "none", "instances": [1.0]}', "'none'; the model has"),
    ('{"signature_name": 3, "instances": [1.0]}', "'3'; the model has"),
    ('{"instances": ' + 500 * "[" + 500 * "]" + "}", "nested deeper"),
    ('{"instances": ' + 200_000 * "[", "is not JSON"),
    ('{"instances": [NaN, ' + 200_000 * "[", "nested too deep"),
)
WRONG_FOR = (
    ("small", "[[1, 256]]", "'x' takes whole numbers from 0 to 255"),
    ("small", "[[1, -1]]", "not -1"),
    ("small", "[[1, 2.0]]", "not 2.0"),
    ("small", "[[1, NaN]]", "not nan"),
    ("small", "[[1, true]]", "not true"),
    ("small", "[[1, 18446744073709551616]]", "whole numbers"),
    ("small", "[[1, 2], [3]]", "lists of 1 and of 2 side by side"),
    ("small", "[[1, 2], [3, 4, 5]]", "lists of 2 and of 3"),
    ("negated", "[0]", "'x' takes true or false, not 0"),
    ("echo", "[1]", "takes strings"),
    ("echo", '[{"b64": "A"}]', "not Base64"),
    ("echo", '[{"b64": 1}]', "b64"),
    ("three", '[{"tag": "foo"}]', "lacks sensor, signal"),
    ("three", "[1]", "sensor, signal, tag"),
)


@pytest.mark.parametrize(("body", "words"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_body_is_answered_by_a_sentence(server, body, words):
    status, answer = server.predict(body)
    assert status == 400, answer
    assert words in answer["error"]
    assert len(answer["error"]) < 500


@pytest.mark.parametrize(("signature", "rows", "words"), WRONG_FOR)
def test_a_wrong_value_is_named(server, signature, rows, words):
    body = f'{{"signature_name": "{signature}", "instances": {rows}}}'
    status, answer = server.predict(body)
    assert status == 400, answer
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/half_plus_three:predict", 405),
        ("DELETE", "/v1/models/half_plus_three", 405),
        ("POST", "/healthz", 405),
        ("POST", "/v1/models/half_plus_three:classify", 404),
        ("GET", "/v1/models/half_plus_three/", 404),
        ("GET", "/v1/models/%2e%2e%2f%2e%2e/metadata", 404),
        ("GET", "/page/..%2fapp.py", 404),
        ("GET", "/page/../../../../etc/passwd", 404),
        ("GET", "/page//etc/passwd", 404),
        ("GET", "/page/%00", 404),
        ("GET", "/" + 5000 * "a", 404),
    ],
)
def test_other_paths_and_methods_are_refused(server, method, path, status):
    found, headers, body = server.ask(method, path)
    assert found == status
    assert "is not" in json.loads(body)["error"] or "no model" in str(body)
    assert len(body) < 500
    if status == 405:
        assert headers["allow"]


def test_a_large_body_is_cut_off(server):
    path = f"/v1/models/{server.name}:predict"
    before = memory(server)
    # Known from its length, before a byte of it is read.
    with server.connection() as opened:
        opened.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000"
            "\r\nexpect: 100-continue\r\n\r\n".encode()
        )
        opened.shutdown(socket.SHUT_WR)
        status, answer = answer_of(opened)
    assert status == 413
    assert "--max_body_mb" in answer["error"]
    # And while it is read, where no length is given.
    with server.connection() as opened:
        opened.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\n"
            "transfer-encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + 65536 * b" " + b"\r\n"
        with pytest.raises(OSError):
            for _ in range(100_000_000):
                opened.sendall(chunk)
    # A client that sends all of it before it reads sees the reason too.
    status, _, _ = server.ask("POST", path, 20_000_000 * b" ")
    assert status == 413
    assert memory(server) < before + 50_000_000


def memory(server):
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/models/half_plus_three:pre",
        b"POST /v1/models/half_plus_three:predict HTTP/1.1\r\nhost:",
        b"POST /v1/models/half_plus_three:predict HTTP/1.1\r\n"
        b"content-length: 20\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /he",
    ],
)
def test_a_slow_client_is_hung_up_on(server, sent):
    with server.connection() as opened:
        opened.sendall(sent)
        received = b""
        while chunk := opened.recv(65536):
            received += chunk
    last = received.split(b"HTTP/1.1 ")[-1]
    assert last.startswith(b"408")
    assert b"--request_timeout_s" in last


def test_a_connection_goes_on_after_a_refusal(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    with contextlib.closing(connection):
        for method, path, status in (
            ("POST", "/healthz", 405),
            ("POST", f"/v1/models/{server.name}:predict", 413),
            ("GET", "/healthz", 200),
        ):
            body = 3_000_000 * b" " if method == "POST" else None
            # No protocol is changed to, either.
            asked = {"connection": "upgrade", "upgrade": "websocket"}
            connection.request(
                method, path, body, asked if method == "GET" else {}
            )
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + 300_000 * b"x" + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + 30_000 * b"x: y\r\n" + b"\r\n", 431),
    ],
    ids=["text", "tls", "path", "length", "header", "headers"],
)
def test_what_is_no_http_is_refused(server, sent, status):
    with server.connection() as opened:
        opened.sendall(sent)
        found, answer = answer_of(opened)
    assert found == status
    assert answer.keys() == {"error"}


def test_the_server_lives_and_counts(server):
    before = server.metrics()
    assert server.ask("GET", "/healthz")[2] == b"ok\n"
    assert server.predict({"instances": [1.0]})[0] == 200
    assert server.predict({"instances": ["x"]})[0] == 400
    server.predict({"instances": [1.0]}, "/v1/models/other:predict")
    after = server.metrics()

    def more(name):
        return after[name] - before.get(name, 0)

    counts = 'serving_requests_total{code="%d",endpoint="%s"}'
    assert more(counts % (200, "predict")) == 1
    assert more(counts % (400, "predict")) == 1
    assert more(counts % (200, "health")) == 1
    assert more("serving_predict_seconds_count") == 2
    assert more("serving_batch_rows_count") == 1
    assert more("serving_batch_rows_sum") == 1
    # The one that asks.
    assert after["serving_requests_in_flight"] == 1
    assert after["serving_requests_waiting"] == 0


def test_batches_give_what_single_requests_give(digits, small_run):
    images = np.random.default_rng(0).integers(0, 17, [96, 8, 8, 1])
    model = tf.keras.models.load_model(small_run / "saved_model", compile=False)
    expected = model(images.astype(np.uint8)).numpy()
    single = [ask_digit(digits, image) for image in images[:16]]
    before = digits.metrics()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda i: ask_digit(digits, i), images))
    after = digits.metrics()
    calls = (
        after["serving_batch_rows_count"] - before["serving_batch_rows_count"]
    )
    assert calls < len(images)
    # TensorFlow adds up in another order where there are more rows.
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(single, expected[:16], rtol=1e-4, atol=1e-5)


def ask_digit(server, image):
    status, answer = server.predict({"instances": [image.tolist()]})
    assert status == 200, answer
    return answer["predictions"][0]["logits"]


@pytest.fixture(scope="module")
def patient(versions):
    """Waits a second for others to share a call, which keeps its queue full."""
    started = Server(versions, "--max_waiting=3", "--max_batch_wait_ms=1000")
    yield started
    assert started.stop() == ""


def test_too_many_are_told_to_come_back(patient):
    rows = {"instances": [1.0]}
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: patient.predict(rows), range(20)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 3
    (refused, *_) = [answer for status, answer in answers if status == 503]
    assert "--max_waiting" in refused["error"]
    assert patient.predict(rows) == (200, {"predictions": [3.5]})


def test_a_stop_answers_what_is_in_flight(patient):
    body = b'{"instances": [1.0]}'
    with patient.connection() as waiting, patient.connection() as sending:
        head = (
            f"POST /v1/models/{patient.name}:predict HTTP/1.1\r\nhost: x\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode()
        waiting.sendall(head + body)
        sending.sendall(head + body[:5])
        while patient.metrics()["serving_requests_in_flight"] < 3:
            time.sleep(0.01)
        # As Ctrl-C does; all other servers here end by SIGTERM.
        patient.process.send_signal(signal.SIGINT)
        while not stopped_listening(patient):
            time.sleep(0.01)
        sending.sendall(body[5:])
        for each in (waiting, sending):
            assert answer_of(each) == (200, {"predictions": [3.5]})
    patient.process.wait(60)
    assert patient.process.returncode == 0


def stopped_listening(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), 5).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "--model is not set"),
        (["--model=/nowhere"], 2, "--model=/nowhere is not there"),
        (["--model={tests}"], 2, "neither a SavedModel"),
        (["--model={model}", "--port=65536"], 2, "--port=65536: must be"),
        (["--model={model}", "--name=a/b"], 2, "--name=a/b: must be"),
        (["--model={model}", "--host=no.such.invalid"], 2, "--host=no.such"),
        (["--model={model}", "--max_batch_size=0"], 2, "--max_batch_size=0"),
        (["--model={model}", "--max_body_mb=nan"], 2, "--max_body_mb=nan"),
        (["--model={model}", "--port={taken}"], 1, "--port=0 for a free one"),
        (["--model={damaged}"], 1, "cannot be loaded"),
    ],
)
def test_mistakes_are_named(versions, tmp_path, arguments, status, words):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {
            "tests": ROOT / "tests",
            "model": versions,
            "taken": taken.getsockname()[1],
            "damaged": damaged,
        }
        done = run_script(
            "serve.py", *[each.format(**values) for each in arguments]
        )
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


_WITHOUT_TFF = """
import runpy, sys, threading, os, signal, time

at_start = signal.getsignal(signal.SIGTERM)

def stop():
    # Only once uvicorn's handler is in place of Python's.
    while signal.getsignal(signal.SIGTERM) == at_start:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=stop, daemon=True).start()
sys.argv = ["serve.py", "--model=" + sys.argv[1], "--port=0"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
found = [m for m in sys.modules if m.split(".")[0] in
         ("tensorflow_federated", "tensorflow_privacy")]
ours = [m for m in sys.modules if m.startswith("tff_pipeline.")]
print(sorted(found), sorted({{m.split(".")[1] for m in ours}}))
"""


def test_it_needs_tensorflow_alone(versions):
    script = _WITHOUT_TFF.format(script=str(SCRIPTS / "serve.py"))
    done = subprocess.run(
        [sys.executable, "-c", script, str(versions)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    assert "tensorflow_federated" not in last
    rooms = {"tasks", "training", "algorithms", "experiment", "aggregators"}
    assert not rooms & set(last.replace("'", " ").split())


def test_without_the_extra_it_is_named(versions):
    script = (
        "import runpy, sys; sys.modules['uvicorn'] = None; "
        f"sys.argv = ['serve.py', '--model={versions}']; "
        f"runpy.run_path({str(SCRIPTS / 'serve.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "uvicorn" in done.stderr
    assert "`serve`" in done.stderr
    assert "Traceback" not in done.stderr
