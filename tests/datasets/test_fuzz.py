"""No file makes a reader do more than to take it, or to refuse it in words.

Every reader of what a user can give is fed with small valid files that were
damaged, and with made-up ones. Allowed are success and a `PipelineError`; not
another exception, silence for seconds, far more memory than the file warrants,
unpickling, nor a file written or read elsewhere than in its folder.
"""

import logging
import pathlib
import pickle
import random
import tempfile

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.testing import fuzz_readers
from tests.testing.fuzz_made_up import MADE_UP
from tests.testing.fuzz_sandbox import Sandbox, little_memory
from tests.testing.mutation import mutated
from tff_pipeline import registry
from tff_pipeline.flags import experiment as experiment_flags
from tff_pipeline.flags import parsing

# Of numbers that overflow, and of images that may be bombs.
pytestmark = pytest.mark.filterwarnings("ignore")
SEED = 20240607
# Inputs in all; each reader has its share.
FEW, MANY = 1_300, 104_000
READERS = fuzz_readers.readers()


@pytest.fixture(
    scope="module",
    params=[FEW, pytest.param(MANY, marks=pytest.mark.soak)],
    ids=["few", "many"],
)
def inputs(request):
    """How many in all."""
    return request.param


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """Where files lie; while it is there, nobody logs."""
    if "total_rounds" not in parsing.FLAGS:
        experiment_flags.define_experiment_flags()
    box = Sandbox(tmp_path_factory.mktemp("fuzz").resolve())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(box.made)
        # TensorFlow writes the source of graphs there.
        patch.setattr(tempfile, "tempdir", str(box.made))
        logging.disable(logging.CRITICAL)
        try:
            yield box
        finally:
            logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def tasks():
    """All tasks, imported before it is watched who opens which file."""
    return [registry.load(name, registry.TASKS) for name in registry.TASKS]


@pytest.fixture
def warm(tasks, sandbox):
    """The sandbox, once all that a reader imports is there; memory is short."""

    def prepared(name):
        reader = READERS[name]
        for files in reader.seeds:
            # With every option, and with the model.
            for number in range(8):
                sandbox.try_input(reader, files, random.Random(number))
        return reader

    with little_memory():
        yield prepared


def damaged(name, index):
    """The input `index` of a reader: (files, which is damaged, the draw)."""
    draw = random.Random(f"{SEED}/{name}/{index}")
    files = dict(draw.choice(READERS[name].seeds))
    chosen = draw.choice(sorted(files))
    files[chosen] = mutated(files[chosen], draw, READERS[name].words)
    return files, chosen, draw


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_taken_or_refused(name, inputs, sandbox, warm):
    reader = warm(name)
    count = inputs * reader.share // sum(r.share for r in READERS.values())
    taken = 0
    for index in range(count):
        files, chosen, draw = damaged(name, index)
        try:
            taken += sandbox.try_input(reader, files, draw)
        except BaseException as error:
            content = files[chosen]
            raise AssertionError(
                f"damaged({name!r}, {index}) with SEED={SEED} is not met as it "
                f"should be ({type(error).__name__}: {error}): {chosen} is "
                f"{content.hex()}"
            ) from error
    print(f"{name}: {count:,} inputs of seed {SEED}, {taken:,} taken")
    # Else it is not the reader that is tried, but its first check.
    assert 0 < taken < count


@pytest.mark.parametrize("name", MADE_UP)
def test_files_that_are_made_up_are_taken_or_refused(
    name, inputs, sandbox, warm
):
    reader = warm(name)

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=inputs // 100,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(MADE_UP[name], st.integers(0, 99))
    def taken_or_refused(files, options):
        # Hypothesis finds the smallest files that are not, and prints them.
        sandbox.try_input(reader, files, random.Random(options))

    taken_or_refused()


@pytest.mark.parametrize("name", READERS)
def test_files_that_are_not_damaged_are_taken(name, sandbox):
    for files in READERS[name].seeds:
        assert sandbox.try_input(READERS[name], files, random.Random(1))


def test_the_sandbox_notices(sandbox):
    """What must not happen is seen when it does."""

    def outside(folder, output, draw):
        (folder.parent / "outside").read_text()

    def elsewhere(folder, output, draw):
        (folder / "a").write_text("b")

    def unpickled(folder, output, draw):
        pickle.loads(pickle.dumps(pathlib.Path))

    for read in (outside, elsewhere, unpickled, lambda *_: 1 / 0):
        reader = fuzz_readers.Reader(read, (), 0)
        with pytest.raises((AssertionError, ZeroDivisionError)):
            sandbox.try_input(reader, {}, random.Random(0))
