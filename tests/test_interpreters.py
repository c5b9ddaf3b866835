"""Each Python that is supported and found here reads the code and the flags.

Only one of them has TensorFlow here; the others are given absl-py alone, which
is Python throughout. With that they compile every module, import what needs
no more, and answer a mistyped flag.
"""

import os
import pathlib
import shutil
import subprocess

import absl
import pytest

from tests.testing.fork_server import ROOT

VERSIONS = ("3.9", "3.10", "3.11")
# What needs the standard library and absl-py only.
ROOMS = (
    "errors",
    "registry",
    "config",
    "files/append_only",
    "files/durable",
    "files/storage",
    "flags",
    "commands/console",
)
_COMPILE = """
import pathlib, sys
for folder in sys.argv[1:]:
    paths = sorted(pathlib.Path(folder).rglob("*.py"))
    assert paths
    for path in paths:
        compile(path.read_bytes(), str(path), "exec")
print(len(paths))
"""
_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print("tensorflow" in sys.modules)
"""


def interpreter(version):
    """Path of a Python of that version, or a skip that says it is not here."""
    roots = [os.environ.get("PYENV_ROOT"), pathlib.Path.home() / ".pyenv"]
    candidates = [shutil.which(f"python{version}")]
    for root in filter(None, roots):
        folders = pathlib.Path(root, "versions").glob(f"{version}.*")
        candidates += [folder / "bin" / "python" for folder in folders]
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, candidates):
        # Of pyenv there may be a name that only says what is not active.
        done = subprocess.run(
            [path, "-c", program], capture_output=True, text=True, check=False
        )
        if done.stdout.strip() == version:
            return path
    pytest.skip(f"no Python {version} was found, so nothing is said of it")


@pytest.fixture(params=VERSIONS)
def run(request, tmp_path):
    """Runs a Python of each version, with tff_pipeline and absl-py alone."""
    path = interpreter(request.param)
    (tmp_path / "absl").symlink_to(pathlib.Path(absl.__file__).parent)

    def run(*arguments):
        return subprocess.run(
            [path, "-B", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        )

    return run


def test_every_module_compiles(run):
    done = run("-c", _COMPILE, ROOT / "tff_pipeline", ROOT / "scripts")
    assert done.returncode == 0, done.stderr


def test_rooms_that_need_no_environment_are_imported(run):
    names = []
    for room in ROOMS:
        paths = [ROOT / "tff_pipeline" / f"{room}.py"]
        if not paths[0].exists():
            paths = sorted((ROOT / "tff_pipeline" / room).rglob("*.py"))
        names += [
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for path in paths
        ]
    assert len(names) > 25
    done = run("-c", _IMPORT, *names)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_a_mistyped_flag_is_answered(run):
    done = run(ROOT / "scripts" / "train.py", "--task=mnist")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: --task=mnist: ")
    assert len(done.stderr.splitlines()) == 1


def test_flags_are_shown(run):
    done = run(ROOT / "scripts" / "train.py", "--help")
    assert done.returncode == 0, done.stderr
    assert "--client_learning_rate" in done.stdout


def test_the_doctor_names_what_is_missing(run):
    done = run(ROOT / "scripts" / "doctor.py")
    assert done.returncode == 1, done.stderr
    assert "ok   Python 3." in done.stdout
    assert "fail tensorflow-federated is not installed" in done.stdout
