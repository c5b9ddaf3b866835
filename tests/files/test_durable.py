"""Files and folders are there whole, or as they were before."""

import json
import os
import pathlib
import signal
import stat
import subprocess
import sys

import pytest

from tests.testing.scripts import ROOT
from tests.testing.versions import NEW, OLD, holds, write
from tff_pipeline import errors
from tff_pipeline.files import durable


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


both_kinds = pytest.mark.parametrize("kind", ["file", "folder"])


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
    with durable.folder(str(path), "a") as folder:
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
    write(path, NEW)
    assert holds(path, NEW)
    assert os.listdir(tmp_path) == ["folder"]


def test_relative_paths_are_below_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("file", "folder"):
        write(pathlib.Path(kind), NEW)
        assert holds(tmp_path / kind, NEW)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existed", [True, False])
def test_an_exception_in_the_block_leaves_all_as_it_was(
    tmp_path, error, existed
):
    path = tmp_path / "folder"
    if existed:
        write(path, OLD)
    with pytest.raises(error), durable.folder(str(path), "a") as folder:
        with open(os.path.join(folder, "a"), "w") as file:
            file.write(NEW)
        raise error
    assert os.listdir(tmp_path) == (["folder"] if existed else [])
    assert holds(path, OLD) == existed


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
        write(file, OLD)
        write(folder, OLD)
    umask(mask)
    write(file, NEW)
    write(folder, NEW)
    modes = [
        stat.S_IMODE(path.stat().st_mode)
        for path in (file, folder, folder / "a")
    ]
    wanted = [0o666 & ~mask, 0o777 & ~mask, 0o666 & ~mask]
    assert list(map(oct, modes)) == list(map(oct, wanted))
    assert umask(mask) == mask, "the process's own umask was changed"


@both_kinds
def test_a_place_that_cannot_be_written_is_named(tmp_path, kind):
    (tmp_path / "no folder").write_text(OLD)
    path = tmp_path / "no folder" / kind
    with pytest.raises(errors.RunDirectoryError) as raised:
        write(path, NEW)
    assert str(path) in str(raised.value)
    assert "name a place that can be written" in str(raised.value)
    assert (tmp_path / "no folder").read_text() == OLD
    assert os.listdir(tmp_path) == ["no folder"]


def test_a_folder_in_the_place_of_a_file_is_named_and_left(tmp_path):
    path = tmp_path / "file"
    (path / "below").mkdir(parents=True)
    with pytest.raises(errors.RunDirectoryError) as raised:
        write(path, NEW)
    assert str(path) in str(raised.value)
    assert os.listdir(path) == ["below"]
    assert os.listdir(tmp_path) == ["file"]


# No file may grow beyond 4096 bytes here. In a process of its own, for the
# limit would hold for everything that pytest writes too.
WRITE_WITH_A_LIMIT = """
import pathlib, resource, sys
from tests.testing.versions import write
from tff_pipeline import errors
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
try:
    write(pathlib.Path(sys.argv[1]), "x" * 10_000)
except errors.RunDirectoryError as error:
    print(error)
"""


@both_kinds
@pytest.mark.parametrize("existed", [True, False])
def test_a_file_that_cannot_be_finished_leaves_the_old_version(
    tmp_path, kind, existed
):
    path = tmp_path / kind
    if existed:
        write(path, OLD)
    process = child(WRITE_WITH_A_LIMIT, path)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert str(path) in said
    assert "File too large" in said
    assert os.listdir(tmp_path) == ([kind] if existed else [])
    assert holds(path, OLD) == existed


@both_kinds
def test_a_full_disk_leaves_the_old_version(small_disk, kind):
    path = small_disk / kind
    write(path, OLD)
    with pytest.raises(errors.RunDirectoryError) as raised:
        write(path, "x" * 100_000)
    assert str(path) in str(raised.value)
    assert "No space left on device" in str(raised.value)
    assert holds(path, OLD)
    assert os.listdir(small_disk) == [kind]


FILL_AND_WAIT = """
import os, sys
from tff_pipeline.files import durable
with durable.folder(sys.argv[1], "a") as folder:
    with open(os.path.join(folder, "a"), "w") as file:
        file.write("half of the new version")
    print("in the middle", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("existed", [True, False])
def test_kill_9_in_the_block_leaves_the_old_version(tmp_path, existed):
    path = tmp_path / "folder"
    if existed:
        write(path, OLD)
    with child(FILL_AND_WAIT, path) as process:
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    left = [name for name in os.listdir(tmp_path) if name != "folder"]
    assert len(left) == 1 and left[0].startswith(durable.TEMPORARY)
    durable.remove_temporary(str(tmp_path))
    assert os.listdir(tmp_path) == (["folder"] if existed else [])
    assert holds(path, OLD) == existed


# Python announces every open, rename, mkdir, chmod and remove to audit hooks
# just before it does it; there this process kills itself.
WRITE_AND_DIE = """
import json, os, pathlib, signal, sys
from tests.testing.versions import NEW, write
path, fatal = pathlib.Path(sys.argv[1]), int(sys.argv[2])
steps, watching = [], True

def die(event, _):
    if watching and event.startswith(("os.", "shutil.", "open")):
        steps.append(event)
        if len(steps) > fatal:
            signal.raise_signal(signal.SIGKILL)

sys.addaudithook(die)
write(path, NEW)
watching = False
print(json.dumps(steps))
"""


@both_kinds
def test_kill_9_at_any_step_leaves_the_old_version_or_the_new_one(
    tmp_path, kind
):
    survivors = []
    while True:
        path = tmp_path / str(len(survivors)) / kind
        path.parent.mkdir()
        write(path, OLD)
        process = child(WRITE_AND_DIE, path, len(survivors))
        said, _ = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        durable.remove_temporary(str(path.parent))
        versions = {"old": OLD, "new": NEW}
        survivors.append(
            [name for name, text in versions.items() if holds(path, text)]
        )
    steps = json.loads(said)
    assert "os.rename" in steps
    assert len(steps) == len(survivors)
    lost = [step for step, who in zip(steps, survivors) if not who]
    assert not lost, f"killed before {lost} of {steps}"
    assert survivors == sorted(survivors, reverse=True), "old, then new"
    assert survivors[0] == ["old"] and survivors[-1] == ["new"]
