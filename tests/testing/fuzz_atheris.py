"""The readers of test_fuzz, led by what code an input reaches.

Atheris is no requirement; where it is installed beside the project's own
(Python 3.11), this reads damaged NPZ files for five minutes:

    .venv/bin/python -m pip install atheris
    .venv/bin/python -m tests.testing.fuzz_atheris npz -max_total_time=300

The first argument is a reader's name, all others are libFuzzer's. A failure
leaves its input as crash-...; given as the last argument it is tried again.
"""

import logging
import os
import pathlib
import random
import sys
import tempfile
import warnings

import atheris

with atheris.instrument_imports(include=["tff_pipeline"]):
    from tests.testing import fuzz_readers, fuzz_sandbox
    from tff_pipeline.flags import experiment as experiment_flags


def main() -> None:
    """Runs until libFuzzer has enough, or a reader fails."""
    name = sys.argv.pop(1)
    reader = fuzz_readers.readers()[name]
    experiment_flags.define_experiment_flags()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    folder = pathlib.Path(tempfile.mkdtemp()).resolve()
    (folder / "read").mkdir()
    sandbox = fuzz_sandbox.Sandbox(folder / "read")
    arguments = [os.path.abspath(a) if a[0] != "-" else a for a in sys.argv]
    crashes = f"-artifact_prefix={os.getcwd()}/"
    os.chdir(sandbox.made)
    tempfile.tempdir = str(sandbox.made)
    # The first byte says which folder of files, the second which of them the
    # others are.
    corpus = folder / "corpus"
    corpus.mkdir()
    for place, files in enumerate(reader.seeds):
        for other, path in enumerate(sorted(files)):
            start = bytes([place, other])
            (corpus / f"{place}_{other}").write_bytes(start + files[path])

    def read(data: bytes) -> None:
        if len(data) < 2:
            return
        files = dict(reader.seeds[data[0] % len(reader.seeds)])
        files[sorted(files)[data[1] % len(files)]] = data[2:]
        sandbox.try_input(reader, files, random.Random(len(data)))

    # Ours is the alarm.
    arguments += ["-handle_alrm=0", "-max_len=65536", crashes]
    if not any(map(os.path.isfile, arguments[1:])):
        arguments.append(str(corpus))
    atheris.Setup(arguments, read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
