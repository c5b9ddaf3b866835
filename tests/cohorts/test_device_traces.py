"""CSV files of devices: what is read, and each mistake in one sentence."""

import pytest

from tff_pipeline import errors
from tff_pipeline.cohorts import device_traces
from tff_pipeline.cohorts.device_traces import Speed

SPEEDS = "client_id,samples_per_second,kbps_down,kbps_up\n"
SESSIONS = "client_id,start_s,end_s\n"
RATES = "client_id,learning_rate_factor\n"
NAMES = ("ann", "bob")


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "trace.csv"
        path.write_bytes(content.encode())
        return str(path)

    return write


def test_speeds_come_in_the_clients_order_whatever_the_files(file):
    path = file(
        "\ufeffkbps_up, client_id,kbps_down,samples_per_second\r\n"
        "1,bob,2,3\r\n\r\n4,carl,5,6\r\n7.5,ann,8,9e1\r\n"
    )
    found = device_traces.read_speeds(path, NAMES)
    assert found == [Speed(90.0, 8.0, 7.5), Speed(3.0, 2.0, 1.0)]


def test_rates_come_in_the_clients_order(file):
    path = file(f"{RATES}bob,0.5\nann,2\n")
    assert device_traces.read_learning_rates(path, NAMES) == [2.0, 0.5]


def test_a_client_is_there_within_its_sessions_which_begin_again(file):
    path = file(f"{SESSIONS}ann,30,40\nann,0,10\nbob,20,50\ncarl,0,99\n")
    sessions = device_traces.read_sessions(path, ("ann", "bob", "eve"))
    expected = {0: 10, 9: 1, 10: None, 30: 10, 45: None, 50: 10, 59: 1}
    assert {t: sessions.left("ann", t) for t in expected} == expected
    # carl, who does not train, does not make the trace longer.
    assert sessions.left("bob", 50 + 30) == 20
    assert sessions.left("eve", 0) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "its first line must name the columns"),
        ("client_id,samples_per_second\nann,1\n", "kbps_down, kbps_up"),
        (f"{SPEEDS}ann,1,2\nbob,1,2,3\n", "line 2, has 3 values for 4"),
        (f"{SPEEDS}ann,1,2,\nbob,1,2,3\n", "line 2: kbps_up is missing"),
        (f"{SPEEDS}ann,1,-2,3\n", "line 2: kbps_down is negative"),
        (f"{SPEEDS}ann,1,nan,3\n", "kbps_down is not a finite number"),
        (f"{SPEEDS}ann,1,1e999,3\n", "kbps_down is not a finite number"),
        (f"{SPEEDS}ann,fast,2,3\n", "samples_per_second is not a finite"),
        (f"{SPEEDS}ann,0,2,3\n", "samples_per_second is 0"),
        (f"{SPEEDS},1,2,3\n", "client_id is empty"),
        (f"{SPEEDS}ann,1,2,3\n", "no row for 1 of the 2 clients"),
        (f"{SPEEDS}ann,1,2,3\nann,1,2,3\n", "line 3, is a second row"),
        (f"{SPEEDS}{'a' * 200_000},1,2,3\n", "is no line of a CSV file"),
    ],
)
def test_a_mistake_in_speeds_is_one_sentence(file, content, words):
    path = file(content)
    with pytest.raises(errors.DataError) as caught:
        device_traces.read_speeds(path, NAMES)
    message = str(caught.value)
    assert message.startswith(f"--device_speeds={path}") and words in message
    # An id is data of the user's.
    assert not any(name in message.replace(path, "") for name in NAMES)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{SESSIONS}ann,5,5\n", "must end after it began"),
        (f"{SESSIONS}ann,-1,5\n", "start_s is negative"),
        (f"{SESSIONS}ann,,5\n", "start_s is missing"),
        (f"{SESSIONS}ann,0,5\nann,4,9\n", "two sessions at a time"),
        (f"{SESSIONS}carl,0,5\n", "no session of any of the 2 clients"),
        (SESSIONS, "no session of any"),
    ],
)
def test_a_mistake_in_sessions_is_one_sentence(file, content, words):
    path = file(content)
    with pytest.raises(errors.DataError) as caught:
        device_traces.read_sessions(path, NAMES)
    assert str(caught.value).startswith(f"--device_sessions={path}")
    assert words in str(caught.value)


def test_files_that_are_not_there_or_no_text_are_refused(tmp_path):
    with pytest.raises(errors.DataError, match="does not exist"):
        device_traces.read_learning_rates(str(tmp_path / "no.csv"), NAMES)
    with pytest.raises(errors.DataError, match="cannot be read"):
        device_traces.read_learning_rates(str(tmp_path), NAMES)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff")
    with pytest.raises(errors.DataError, match="no text in UTF-8"):
        device_traces.read_learning_rates(str(tmp_path / "picture.csv"), NAMES)
