"""Downloads: whole or not there, from a server that may break off."""

import contextlib
import hashlib
import http.server
import lzma
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.testing.scripts import ROOT
from tff_pipeline import errors
from tff_pipeline.datasets.readers import download

CONTENT = np.random.default_rng(0).bytes(3_000_000)
PACKED = lzma.compress(CONTENT)
SHA256 = hashlib.sha256(PACKED).hexdigest()


@contextlib.contextmanager
def server(body, end=None, length=True, then=None):
    """Yields the address of a server that sends `body[:end]` and breaks off.

    Args:
      body: What it says that it has, if `length`; for all paths.
      end: How much of it is sent.
      length: Whether it says how much there is.
      then: An Event that it waits for before it breaks off.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            if length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:end])
            self.wfile.flush()
            if then is not None:
                then.wait(60)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=[0.02])
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}/"
        finally:
            serving.shutdown()
            thread.join()


def refused(origin, folder, **options):
    """The sentence with which the download is refused."""
    with pytest.raises(errors.DataError) as caught:
        download.file(origin, str(folder), **options)
    return str(caught.value)


@pytest.mark.parametrize("length", [True, False])
def test_packed_file_is_fetched_once_and_unpacked(tmp_path, length, capsys):
    folder = tmp_path / "new"
    with server(PACKED, length=length) as address:
        origin = address + "data.sqlite.lzma"
        path = download.file(origin, str(folder), SHA256)
    assert path == str(folder / "data.sqlite")
    assert (folder / "data.sqlite").read_bytes() == CONTENT
    assert os.listdir(folder) == ["data.sqlite"]
    assert capsys.readouterr().out == f"Fetching {origin} to {path}\n"
    # Nobody serves now.
    assert download.file(origin, str(folder)) == path
    assert capsys.readouterr().out == ""


def test_other_files_are_kept_as_they_are(tmp_path):
    with server(PACKED) as address:
        path = download.file(address + "counts.tar.bz2", str(tmp_path), SHA256)
    assert (tmp_path / "counts.tar.bz2").read_bytes() == PACKED
    assert download.file(address + "counts.tar.bz2", str(tmp_path)) == path
    wanted = "0" * 64
    message = refused(address + "counts.tar.bz2", tmp_path, sha256=wanted)
    assert message.startswith(f"{path} has the SHA-256 {SHA256}, not {wanted};")


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_cut_connection_leaves_nothing_and_can_be_repeated(
    tmp_path, share, length
):
    end = int(share * len(PACKED))
    with server(PACKED, end, length) as address:
        message = refused(address + "data.sqlite.lzma", tmp_path)
        assert message.startswith(f"{address}data.sqlite.lzma could not be ")
        assert f"after {end}" in message
        assert f"put it into {tmp_path}." in message
    assert os.listdir(tmp_path) == []
    with server(PACKED) as address:
        path = download.file(address + "data.sqlite.lzma", str(tmp_path))
    assert pathlib.Path(path).read_bytes() == CONTENT


def test_any_end_of_a_small_file_is_noticed(tmp_path):
    packed = lzma.compress(b"a small file", format=lzma.FORMAT_ALONE)
    source = tmp_path / "data.lzma"
    for end in range(len(packed)):
        source.write_bytes(packed[:end])
        message = refused("http://127.0.0.1:1/data.lzma", tmp_path)
        assert message.endswith("; fetch it again.")
        assert os.listdir(tmp_path) == ["data.lzma"]
    source.write_bytes(packed)
    path = download.file("http://127.0.0.1:1/data.lzma", str(tmp_path))
    assert pathlib.Path(path).read_bytes() == b"a small file"


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        (None, {}, "Not Found"),
        (b"<html>Please log in</html>", {}, "format"),
        (PACKED, {"sha256": "0" * 64}, f"its SHA-256 is {SHA256}, not 0000"),
    ],
)
def test_what_is_not_the_file_is_refused(tmp_path, body, options, reason):
    with server(body) as address:
        message = refused(address + "data.lzma", tmp_path, **options)
    assert reason in message
    assert os.listdir(tmp_path) == []


def test_server_that_is_not_there_is_named(tmp_path):
    origin = "http://127.0.0.1:1/data.lzma"
    message = refused(origin, tmp_path)
    assert message.startswith(f"{origin} could not be fetched to {tmp_path}")
    assert "Connection refused" in message


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    message = refused("http://127.0.0.1:1/data.lzma", tmp_path / "file")
    assert str(tmp_path / "file") in message


def test_killed_process_leaves_nothing_that_is_taken_for_the_file(tmp_path):
    code = (
        "import sys; from tff_pipeline.datasets.readers import download; "
        "download.file(sys.argv[1], sys.argv[2])"
    )
    done = threading.Event()
    with server(PACKED, 2_000_000, then=done) as address:
        origin = address + "data.sqlite.lzma"
        process = subprocess.Popen(
            [sys.executable, "-c", code, origin, str(tmp_path)], cwd=ROOT
        )
        try:
            temporary = tmp_path / ".tmp-data.sqlite.lzma"
            while not (temporary.exists() and temporary.stat().st_size):
                assert process.poll() is None
                time.sleep(0.02)
            # Meanwhile it is no one else's to fetch.
            assert "another process is fetching" in refused(origin, tmp_path)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done.set()
    assert os.listdir(tmp_path) == [".tmp-data.sqlite.lzma"]
    with server(PACKED) as address:
        path = download.file(address + "data.sqlite.lzma", str(tmp_path))
    assert pathlib.Path(path).read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["data.sqlite"]
