"""Files and folders are there whole, or as they were before."""

import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tff_pipeline import durable, errors

OLD, NEW = "the old version\n", "the new version, which is longer\n" * 100


def child(source, *arguments, **options):
    """Starts Python on `source`, where `durable` can be imported."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


def write_folder(path, text):
    with durable.folder(str(path)) as folder:
        for name in ("a", "b"):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)


def content(path):
    """A file's text; of a folder, name -> text."""
    if path.is_dir():
        return {file.name: file.read_text() for file in path.iterdir()}
    return path.read_text()


@pytest.fixture
def umask():
    """Sets the umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB, or a skip where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "text",
    ["", "one line\n", "dos\r\nand old mac\r", "ä\N{SNOWMAN}\N{PILE OF POO}"],
)
def test_write_text_writes_exactly_the_text_as_utf_8(tmp_path, text):
    path = tmp_path / "file.txt"
    durable.write_text(str(path), text)
    assert path.read_bytes() == text.encode("utf-8")
    assert os.listdir(tmp_path) == ["file.txt"]


def test_write_text_replaces_and_never_writes_into_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    durable.write_text(str(path), OLD)
    with path.open() as reader:
        durable.write_text(str(path), NEW)
        assert reader.read() == OLD
    assert path.read_text() == NEW
    assert os.listdir(tmp_path) == ["file.txt"]


def test_folder_holds_what_the_block_wrote_also_below(tmp_path):
    path = tmp_path / "not" / "there" / "yet"
    with durable.folder(str(path)) as folder:
        assert not path.exists()
        os.makedirs(os.path.join(folder, "deep", "er"))
        with open(os.path.join(folder, "deep", "er", "file"), "w") as file:
            file.write(NEW)
    assert (path / "deep" / "er" / "file").read_text() == NEW
    assert os.listdir(path.parent) == ["yet"]


def test_folder_replaces_the_old_folder_whole(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "only in the old one").write_text(OLD)
    write_folder(path, NEW)
    assert content(path) == {"a": NEW, "b": NEW}
    assert os.listdir(tmp_path) == ["folder"]


def test_relative_paths_are_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    durable.write_text("file", NEW)
    write_folder("folder", NEW)
    assert content(tmp_path / "file") == NEW
    assert content(tmp_path / "folder") == {"a": NEW, "b": NEW}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existed", [True, False])
def test_an_exception_in_the_block_leaves_all_as_it_was(
    tmp_path, error, existed
):
    path = tmp_path / "folder"
    if existed:
        write_folder(path, OLD)
    with pytest.raises(error), durable.folder(str(path)) as folder:
        with open(os.path.join(folder, "a"), "w") as file:
            file.write(NEW)
        raise error
    if existed:
        assert content(path) == {"a": OLD, "b": OLD}
    assert os.listdir(tmp_path) == (["folder"] if existed else [])


def test_remove_temporary_removes_temporary_names_only(tmp_path):
    (tmp_path / ".tmp-folder-x1" / "below").mkdir(parents=True)
    (tmp_path / ".tmp-folder-x1" / "below" / "file").write_text(NEW)
    (tmp_path / ".tmp-file").write_text(NEW)
    (tmp_path / "folder" / ".tmp-not-here").mkdir(parents=True)
    for name in ("file", ".hidden", ".tmp", "x.tmp-"):
        (tmp_path / name).write_text(OLD)
    durable.remove_temporary(str(tmp_path))
    kept = [".hidden", ".tmp", "file", "folder", "x.tmp-"]
    assert sorted(os.listdir(tmp_path)) == kept
    assert os.listdir(tmp_path / "folder") == [".tmp-not-here"]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o000])
@pytest.mark.parametrize("existed", [True, False])
def test_permissions_follow_the_umask(tmp_path, umask, mask, existed):
    file, folder = tmp_path / "file", tmp_path / "folder"
    if existed:
        durable.write_text(str(file), OLD)
        write_folder(folder, OLD)
    umask(mask)
    durable.write_text(str(file), NEW)
    write_folder(folder, NEW)
    modes = [
        stat.S_IMODE(path.stat().st_mode)
        for path in (file, folder, folder / "a")
    ]
    wanted = [0o666 & ~mask, 0o777 & ~mask, 0o666 & ~mask]
    assert list(map(oct, modes)) == list(map(oct, wanted))
    assert umask(mask) == mask, "the process's own umask was changed"


@pytest.mark.parametrize(
    "write", [lambda path: durable.write_text(path, NEW), write_folder]
)
def test_a_place_that_cannot_be_written_is_named(tmp_path, write):
    (tmp_path / "file").write_text(OLD)
    path = str(tmp_path / "file" / "below it")
    with pytest.raises(errors.RunDirectoryError) as raised:
        write(path)
    assert path in str(raised.value)
    assert "--output_dir" in str(raised.value)
    assert content(tmp_path / "file") == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_in_the_place_of_a_file_is_named_and_left(tmp_path):
    path = tmp_path / "taken"
    write_folder(path, OLD)
    with pytest.raises(errors.RunDirectoryError, match="taken"):
        durable.write_text(str(path), NEW)
    assert content(path) == {"a": OLD, "b": OLD}
    assert os.listdir(tmp_path) == ["taken"]


# No file may grow beyond 4096 bytes here. In a process of its own, for the
# limit would hold for everything that pytest writes too.
WRITE_WITH_A_LIMIT = """
import os, resource, sys
from tff_pipeline import durable, errors
kind, path = sys.argv[1:]
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
try:
    if kind == "file":
        durable.write_text(path, "x" * 10_000)
    else:
        with durable.folder(path) as folder:
            with open(os.path.join(folder, "a"), "w") as file:
                file.write("x" * 10_000)
except errors.RunDirectoryError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("existed", [True, False])
def test_a_file_that_cannot_be_finished_leaves_the_old_version(
    tmp_path, kind, existed
):
    path = tmp_path / kind
    if existed and kind == "file":
        durable.write_text(str(path), OLD)
    elif existed:
        write_folder(path, OLD)
    before = content(path) if existed else None
    process = child(WRITE_WITH_A_LIMIT, kind, path)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert str(path) in said
    assert "File too large" in said
    assert os.listdir(tmp_path) == ([kind] if existed else [])
    assert (content(path) if existed else None) == before


def test_a_full_disk_leaves_the_old_version(small_disk):
    file, folder = small_disk / "file", small_disk / "folder"
    durable.write_text(str(file), OLD)
    write_folder(folder, OLD)
    too_much = "x" * 100_000
    for write in (lambda: durable.write_text(str(file), too_much), None):
        with pytest.raises(errors.RunDirectoryError) as raised:
            if write is None:
                write_folder(folder, too_much)
            else:
                write()
        path = folder if write is None else file
        assert str(path) in str(raised.value)
        assert "No space left on device" in str(raised.value)
        assert content(file) == OLD
        assert content(folder) == {"a": OLD, "b": OLD}
        assert sorted(os.listdir(small_disk)) == ["file", "folder"]


FILL_AND_WAIT = """
import os, sys
from tff_pipeline import durable
with durable.folder(sys.argv[1]) as folder:
    with open(os.path.join(folder, "a"), "w") as file:
        file.write("half of the new version")
    print("in the middle", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("existed", [True, False])
def test_kill_9_in_the_block_leaves_the_old_version(tmp_path, existed):
    path = tmp_path / "folder"
    if existed:
        write_folder(path, OLD)
    with child(FILL_AND_WAIT, path) as process:
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    left = [name for name in os.listdir(tmp_path) if name != "folder"]
    assert len(left) == 1 and left[0].startswith(durable.TEMPORARY)
    durable.remove_temporary(str(tmp_path))
    assert os.listdir(tmp_path) == (["folder"] if existed else [])
    if existed:
        assert content(path) == {"a": OLD, "b": OLD}


# Python announces every open, rename, mkdir, chmod and remove to audit hooks,
# just before it: there the process kills itself.
WRITE_AND_DIE = """
import json, os, signal, sys
from tff_pipeline import durable
kind, path, text, fatal = sys.argv[1:]
fatal, steps = int(fatal), []

def die(event, arguments):
    if event != "os.kill" and event.startswith(("os.", "shutil.", "open")):
        if len(steps) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(event)

def write():
    if kind == "file":
        durable.write_text(path, text)
        return
    with durable.folder(path) as folder:
        for name in ("a", "b"):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)

sys.addaudithook(die)
write()
fatal = -1
print(json.dumps(steps))
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_kill_9_at_any_step_leaves_the_old_version_or_the_new_one(
    tmp_path, kind
):
    old = OLD if kind == "file" else {"a": OLD, "b": OLD}
    new = NEW if kind == "file" else {"a": NEW, "b": NEW}
    fatal, lost, survivors = 0, [], set()
    while True:
        path = tmp_path / str(fatal) / kind
        path.parent.mkdir()
        if kind == "file":
            durable.write_text(str(path), OLD)
        else:
            write_folder(path, OLD)
        process = child(WRITE_AND_DIE, kind, path, NEW, fatal)
        said, _ = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        durable.remove_temporary(str(path.parent))
        there = content(path) if path.exists() else None
        if there not in (old, new):
            lost.append((fatal, there))
        survivors.add("new" if there == new else "old")
        fatal += 1
    steps = json.loads(said)
    assert "os.rename" in steps and fatal == len(steps)
    assert not lost, f"lost when killed before {[steps[i] for i, _ in lost]}"
    assert survivors == {"old", "new"}
