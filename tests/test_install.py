"""The package where there is no checkout, and make where there is no Python."""

import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest

from tests.testing.scripts import ROOT

# The package's own parts, without what a working copy has besides.
PARTS = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "configs")
UV = """#!/bin/sh
echo "$@" >>"$UV_CALLS"
if [ "$2" = find ]; then echo /fetched/python3.11; fi
"""


def run(*command, **options):
    return subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    shutil.copytree(
        ROOT / "tff_pipeline",
        source / "tff_pipeline",
        symlinks=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    done = run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"),
        *("--no-build-isolation", "--no-index", "-w", source / "out", source),
    )
    assert done.returncode == 0, done.stderr
    (path,) = (source / "out").glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """`tff-pipeline` of a venv with the lock's packages and the wheel.

    pip finds all that the wheel requires there, or would fail for want of an
    index.
    """
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    (packages,) = venv.glob("lib/python*/site-packages")
    # The lock's packages, without the links to this checkout.
    (packages / "lock.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    done = run(
        *(venv / "bin" / "python", "-m", "pip", "install", "--no-index"),
        *("--force-reinstall", "--no-deps", "--quiet", wheel),
        env=_plain(),
    )
    assert done.returncode == 0, done.stderr
    return venv / "bin" / "tff-pipeline"


def _plain():
    """The environment, without what leads Python to this checkout."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


def test_the_wheel_has_all_flagfiles_and_pages(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "configs").rglob("*.flags"):
        assert f"tff_pipeline/{path.relative_to(ROOT)}" in names
    assert "tff_pipeline/export/replay.js" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_what_the_wheel_requires_is_in_the_lock(installed, wheel):
    python = installed.parent / "python"
    done = run(
        *(python, "-m", "pip", "install", "--no-index", "--dry-run", wheel),
        env=_plain(),
    )
    assert done.returncode == 0, done.stderr
    assert "jaxlib" in done.stdout
    assert "Would install" not in done.stdout


def test_the_command_runs_in_an_empty_folder(installed, tmp_path):
    def start(*arguments):
        done = run(installed, *arguments, cwd=tmp_path, env=_plain())
        return done.returncode, done.stdout, done.stderr

    status, output, stderr = start("--version")
    assert (status, stderr) == (0, "")
    assert re.fullmatch(r"tff-pipeline \d+\.\d+\.\d+\n", output)
    # It is the wheel that runs.
    flags = ("train", "--flagfile=configs/quickstart.flags", "--partition=iid")
    status, output, stderr = start(*flags)
    assert status == 2
    assert str(installed.parent.parent) in output
    assert "--output_dir is not set" in stderr


@pytest.mark.soak
def test_the_quickstart_trains_in_an_empty_folder(installed, tmp_path):
    done = run(
        *(installed, "quickstart", "--total_rounds=2"),
        cwd=tmp_path,
        env=_plain(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs/quickstart/saved_model/saved_model.pb").exists()


@pytest.fixture
def checkout(tmp_path):
    """A folder with what `make install` reads, and a PATH of few programs."""
    for name in ("Makefile", "requirements.txt", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "sh", "cat", "mkdir", "mv", "touch", "rm", "echo"):
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"there is no {name} here")
        (programs / name).symlink_to(path)
    return tmp_path


def make(checkout, *arguments, **environment):
    return run(
        *("make", *arguments),
        cwd=checkout,
        env={
            "PATH": str(checkout / "programs"),
            "HOME": str(checkout),
            "UV_CALLS": str(checkout / "calls"),
            **environment,
        },
        executable=str(checkout / "programs" / "make"),
    )


def _program(checkout, name, text):
    path = checkout / "programs" / name
    path.write_text(text)
    path.chmod(0o755)


def _newer_python():
    """A Python that is too new for TFF, or a skip."""
    roots = [pathlib.Path.home() / ".pyenv", os.environ.get("PYENV_ROOT", ".")]
    for version in ("3.12", "3.13", "3.14"):
        for root in map(pathlib.Path, roots):
            for path in root.glob(f"versions/{version}.*/bin/python3"):
                return path
        if path := shutil.which(f"python{version}"):
            return path
    return pytest.skip("no Python 3.12 or newer was found")


def test_without_a_python_that_suits_uv_is_asked_for_one(checkout):
    _program(checkout, "uv", UV)
    done = make(checkout, ".uv/python")
    assert done.returncode == 0, done.stderr
    assert "uv fetches a Python 3.11" in done.stderr
    assert (checkout / "calls").read_text().splitlines() == [
        "python install 3.11",
        "python find --managed-python 3.11",
    ]
    assert (checkout / ".uv/python").read_text() == "/fetched/python3.11\n"
    # Which makes the environment of quickstart and test.
    for target in ("quickstart", "test"):
        planned = make(checkout, "-n", target).stdout
        assert '"$(cat .uv/python)" -m venv --clear .venv' in planned


@pytest.mark.soak
def test_without_uv_a_newer_python_installs_it_by_pip(checkout):
    """pip is real, its index a folder, and the uv in it writes down calls."""
    (checkout / "programs" / "python3").symlink_to(_newer_python())
    version = re.search(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())
    name = f"uv-{version[1]}"
    with zipfile.ZipFile(checkout / f"{name}-py3-none-any.whl", "w") as file:
        program = zipfile.ZipInfo(f"{name}.data/scripts/uv")
        program.external_attr = 0o100755 << 16
        file.writestr(program, UV)
        file.writestr(
            f"{name}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: uv\nVersion: {version[1]}\n",
        )
        file.writestr(
            f"{name}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        file.writestr(f"{name}.dist-info/RECORD", "")
    done = make(
        *(checkout, ".uv/python"),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(checkout),
    )
    assert done.returncode == 0, done.stderr
    assert "python install 3.11" in (checkout / "calls").read_text()
    assert (checkout / ".uv/python").read_text() == "/fetched/python3.11\n"


def _archive_of_this_python(path):
    """Packs this Python as uv takes one; returns the archive's SHA-256."""

    def chosen(entry):
        parts = pathlib.PurePath(entry.name).parts
        left_out = ("site-packages", "__pycache__", "test")
        return None if any(name in parts for name in left_out) else entry

    home = pathlib.Path(sys.base_prefix)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in ("bin/python3.11", "bin/python3", "lib"):
            if (home / name).exists():
                archive.add(home / name, f"python/{name}", filter=chosen)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.soak
def test_a_real_uv_fetches_a_python_from_a_list(checkout):
    """Where the only Python is too new; the list and the archive are ours."""
    if sys.version_info[:2] != (3, 11) or platform.machine() != "x86_64":
        pytest.skip("this Python is none of those that are fetched here")
    (checkout / "programs" / "python3").symlink_to(_newer_python())
    archive = checkout / "python.tar.gz"
    version = dict(zip(("major", "minor", "patch"), sys.version_info))
    entry = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        **{"os": "linux", "libc": "gnu", "prerelease": "", "variant": None},
        **version,
        "url": archive.as_uri(),
        "sha256": _archive_of_this_python(archive),
        "build": "20240107",
    }
    name = f"cpython-{platform.python_version()}-linux-x86_64-gnu"
    (checkout / "list.json").write_text(json.dumps({name: entry}))
    done = make(
        *(checkout, ".uv/python"),
        HOME=str(pathlib.Path.home()),  # Where pip is told of its index.
        UV_PYTHON_DOWNLOADS_JSON_URL=str(checkout / "list.json"),
        UV_PYTHON_INSTALL_DIR=str(checkout / "pythons"),
        UV_PYTHON_INSTALL_BIN="0",
        UV_CACHE_DIR=str(checkout / "cache"),
    )
    if "uv cannot be installed" in done.stderr:
        pytest.skip("pip finds no uv here")
    assert done.returncode == 0, done.stderr
    python = (checkout / ".uv/python").read_text().strip()
    assert python.startswith(str(checkout / "pythons"))
    said = run(python, "--version", cwd=checkout, env=_plain()).stdout
    assert said == f"Python {platform.python_version()}\n"


def test_with_neither_it_says_what_to_install(checkout):
    done = make(checkout, "quickstart")
    assert done.returncode == 2
    assert "install Python 3.11, or uv, and try again" in done.stderr
    assert not (checkout / ".venv").exists()


def test_when_uv_fails_it_says_so_and_keeps_nothing(checkout):
    _program(checkout, "uv", "#!/bin/sh\nexit 1\n")
    done = make(checkout, "quickstart")
    assert done.returncode == 2
    assert "uv cannot fetch a Python; install Python 3.11" in done.stderr
    assert not (checkout / ".uv/python").exists()


def test_a_python_that_suits_is_taken_and_uv_left_alone(checkout):
    _program(checkout, "uv", UV)
    (checkout / "programs" / "python3.11").symlink_to(sys.executable)
    planned = make(checkout, "-n", "install").stdout
    if sys.version_info >= (3, 12):
        pytest.skip("this Python does not suit")
    assert "python3.11 -m venv --clear .venv" in planned
    assert not (checkout / "calls").exists()


def test_a_python_that_is_named_and_too_new_is_refused(checkout):
    path = _newer_python()
    done = make(checkout, "install", f"PYTHON={path}")
    assert done.returncode == 2
    assert f"{path} is Python 3.1" in done.stderr
    assert not (checkout / ".uv").exists()
