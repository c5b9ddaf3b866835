"""Opening a model: what it may be, and the cache of converted ones."""

import multiprocessing
import os
import pathlib
import shutil
import time

import numpy as np
import pytest

from tests.testing import gguf_models
from tff_pipeline import errors
from tff_pipeline.models import frozen
from tff_pipeline.models.pretrained import cache, packages, source
from tff_pipeline.models.transformer import base

CHECKPOINTS = pathlib.Path(__file__).parent / "checkpoints"
LLAMA = str(CHECKPOINTS / "llama")


@pytest.fixture
def place(tmp_path):
    """The cache's folder, which is not there yet."""
    return str(tmp_path / "some" / "cache")


def entries(place):
    return sorted(os.listdir(place))


def numbers(opened, name="final_norm.scale"):
    return opened.arrays()[name]


def test_each_kind_is_opened(tmp_path, place):
    path = gguf_models.write(str(tmp_path / "model.any"))
    kept = source.convert(
        *(source.find(LLAMA), source.find(LLAMA).read()),
        *(str(tmp_path / "kept"), "float32"),
    )
    for init_from, width in (
        (LLAMA, 16),
        (path, 32),
        (kept.weights.folder, 16),
    ):
        opened = source.open_base(init_from, "float32", place)
        assert opened.architecture.width == width
        assert opened == base.load(opened.weights.folder)
    # One that is a base already is none of the cache.
    assert opened == kept
    assert len(entries(place)) == 2


def test_a_model_is_converted_once(place):
    first = source.open_base(LLAMA, "float32", place)
    (name,) = entries(place)
    before = os.stat(os.path.join(place, name))
    again = source.open_base(LLAMA, "float32", place)
    assert again == first
    assert os.stat(os.path.join(place, name)).st_ino == before.st_ino
    # A relative path is the same model.
    relative = os.path.relpath(LLAMA)
    assert source.open_base(relative, "float32", place) == first
    assert entries(place) == [name]


def test_dtypes_are_entries_of_their_own(place):
    exact = source.open_base(LLAMA, "float32", place)
    brief = source.open_base(LLAMA, "bfloat16", place)
    assert [source.dtype_of(each) for each in (exact, brief)] == [
        *("float32", "bfloat16")
    ]
    assert len(entries(place)) == 2
    np.testing.assert_allclose(
        numbers(brief).astype("f4"), numbers(exact), rtol=2**-8
    )


def test_a_base_is_converted_to_another_dtype(place, tmp_path):
    brief = source.open_base(LLAMA, "bfloat16", place)
    exact = source.open_base(brief.weights.folder, "float32", place)
    assert exact.source == brief.source
    assert exact.architecture == brief.architecture
    for name in brief.architecture.weight_shapes():
        np.testing.assert_array_equal(
            numbers(exact, name), numbers(brief, name).astype("f4")
        )


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_changed_file_is_another_model(tmp_path, place, name):
    folder = str(shutil.copytree(LLAMA, tmp_path / "model"))
    source.open_base(folder, "float32", place)
    path = os.path.join(folder, name)
    status = os.stat(path)
    # Of the same size, as another model of the same type has.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    source.open_base(folder, "float32", place)
    assert len(entries(place)) == 2


def test_what_a_base_records_is_the_same_wherever_the_model_lies(tmp_path):
    """Its SHA-256 names it, so no path or time may be in it."""
    bases = []
    for name in ("one", "two"):
        folder = str(shutil.copytree(LLAMA, tmp_path / name / "model"))
        bases.append(
            source.open_base(folder, "float32", str(tmp_path / name / "cache"))
        )
    assert bases[0].weights.sha256 == bases[1].weights.sha256
    for path in pathlib.Path(bases[0].weights.folder).iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    assert bases[0].source.startswith("huggingface sha256:")


def test_the_sha256_is_that_of_the_file_or_of_the_list():
    """Computed by sha256sum of coreutils, of the files and of its output."""
    for name, halves in {
        "llama": (
            "d5dddfd9820ad8e635937a440b09752e",
            "7fd043eab548c35aac159ab9c0f00d00",
        ),
        "llama_untied": (
            "b362d3d56e90410000fe6338cbae0d2e",
            "6196ca68baf7422b2e136a35b49d8ae8",
        ),
    }.items():
        found = source.find(str(CHECKPOINTS / name))
        assert found.sha256(found.read()) == "".join(halves)


@pytest.mark.parametrize("how", ["cut", "changed", "no manifest", "other file"])
def test_a_damaged_entry_is_converted_again(place, how):
    first = source.open_base(LLAMA, "float32", place)
    path = pathlib.Path(first.weights.folder)
    if how == "cut":
        os.truncate(path / "00003.raw", 8)
    elif how == "changed":
        content = bytearray((path / "00003.raw").read_bytes())
        content[0] ^= 1
        (path / "00003.raw").write_bytes(content)
    elif how == "no manifest":
        (path / frozen.MANIFEST).unlink()
    else:
        shutil.rmtree(path)
        path.mkdir()
        (path / "other").touch()
    assert source.open_base(LLAMA, "float32", place) == first
    assert entries(place) == [path.name]


def _open(place, ready, results):
    ready.wait()
    results.put(source.open_base(LLAMA, "float32", place).weights.sha256)


def test_two_processes_may_convert_at_once(place):
    context = multiprocessing.get_context("fork")
    ready, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_open, args=(place, ready, results))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    hashes = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert hashes == {source.open_base(LLAMA, "float32", place).weights.sha256}
    assert len(entries(place)) == 1


def test_one_that_comes_second_takes_what_the_first_has_put(place):
    """The other process is done while this one converts."""
    key = source.find(LLAMA).key("float32")
    done = []

    def convert(folder):
        if not done:
            done.append(None)
            done.append(source.open_base(LLAMA, "float32", place))
        found = source.find(LLAMA)
        return source.convert(found, found.read(), folder, "float32")

    assert cache.entry(place, key, convert) == done[1]
    assert entries(place) == [key]


def test_what_killed_processes_left_goes_after_a_day(place):
    for name, age in ((".converting-old", 90_000), (".converting-new", 60)):
        folder = os.path.join(place, name)
        os.makedirs(os.path.join(folder, "new"))
        os.utime(folder, (time.time() - age,) * 2)
    source.open_base(LLAMA, "float32", place)
    assert entries(place)[0] == ".converting-new"
    assert len(entries(place)) == 2


def test_a_failed_conversion_leaves_nothing(tmp_path, place):
    folder = shutil.copytree(LLAMA, tmp_path / "model")
    os.truncate(folder / "model.safetensors", 26_000)
    with pytest.raises(errors.DataError, match=r"model\.safetensors"):
        source.open_base(str(folder), "float32", place)
    assert entries(place) == []


def test_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, expected in (
        (str(tmp_path / "xdg"), tmp_path / "xdg"),
        ("", tmp_path / ".cache"),
        ("relative", tmp_path / ".cache"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache.folder() == str(expected / "tff_pipeline" / "bases")
    assert cache.folder("other") == os.path.abspath("other")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    opened = source.open_base(LLAMA)
    assert opened.weights.folder.startswith(cache.folder())


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.RunDirectoryError, match="cannot be written"):
        source.open_base(LLAMA, "float32", str(tmp_path / "file" / "cache"))


def test_room_is_asked_for_before_it_is_taken(tmp_path):
    path = str(tmp_path / "not" / "there")
    cache.check_room(path, 1_000)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(errors.RunDirectoryError) as caught:
        cache.check_room(path, 2 * free)
    for words in (path, f"{2 * free + (16 << 20):,} bytes", "XDG_CACHE_HOME"):
        assert words in str(caught.value)


def make(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("{}")
    return str(path)


@pytest.mark.parametrize(
    ("make_from", "words"),
    [
        (lambda path: str(path / "nothing"), "does not exist; name"),
        (make, "holds no model"),
        (lambda path: make(path, "a.txt") + "/a.txt", "holds no model"),
        (lambda path: make(path, "a.h5") + "/a.h5", "is a Keras model"),
        (lambda path: make(path, "saved_model.pb"), "is a Keras model"),
        (lambda path: "gs://bucket/model", "copy the model to this machine"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, place, make_from, words):
    init_from = make_from(tmp_path)
    with pytest.raises(errors.ConfigError) as caught:
        source.open_base(init_from, "float32", place)
    assert f"--init_from={init_from} " in str(caught.value)
    assert words in str(caught.value)
    assert not os.path.exists(place)


@pytest.mark.parametrize("dtype", ["float16", "", "int8"])
def test_another_dtype_is_refused(place, dtype):
    with pytest.raises(errors.ConfigError, match="must be one of: float32"):
        source.open_base(LLAMA, dtype, place)


def test_the_name_of_an_entry_has_the_package(tmp_path):
    found = source.find(LLAMA)
    packed = source.Source(
        found.kind, found.path, packages.Package("tiny", "1.2", "").source
    )
    assert packed.key("float32").startswith("tiny-1.2-float32-")
    assert packed.key("float32") != found.key("float32")
    assert packed.words(packed.read()) == "pypi:tiny 1.2"
