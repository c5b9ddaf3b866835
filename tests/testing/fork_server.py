"""A process that has imported everything, and forks one for every request.

    python -m tests.testing.fork_server < requests > answers

A fork is a process of its own, with flags, threads and a TensorFlow of its own;
it is spared five seconds of imports, and half a second of taking down what it
imported. A request and each of its two answers, the
process's id and its exit status, are a line of JSON. `ForkServer` is the other
end of it.
"""

import atexit
import gc
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).parents[2]


class ForkServer:
    """This program as another process."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.testing.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        assert self._answer() == "ready"

    def close(self):
        self._process.stdin.close()
        self._process.wait()

    def run(self, arguments, timeout=300, cwd=None):
        """As `subprocess.run` of Python with `arguments`.

        Args:
          arguments: A script or -m and a module, and what it is given.
          timeout: After how many seconds it is killed.
          cwd: Where it runs.

        Returns:
          A `subprocess.CompletedProcess` with the text that it printed.
        """
        with tempfile.TemporaryDirectory() as folder:
            out, err = pathlib.Path(folder, "out"), pathlib.Path(folder, "err")
            request = {
                "arguments": list(map(str, arguments)),
                "cwd": str(cwd or os.getcwd()),
                "environment": dict(os.environ),
                "out": str(out),
                "err": str(err),
            }
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            timer = threading.Timer(
                timeout, os.kill, [self._answer(), signal.SIGKILL]
            )
            timer.start()
            status = self._answer()
            timer.cancel()
            return subprocess.CompletedProcess(
                arguments, status, out.read_text(), err.read_text()
            )

    def _answer(self):
        return json.loads(self._process.stdout.readline())


def serve():
    """Answers requests; returns in a fork, with the request that it is for."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        answer(child)
        _, status = os.waitpid(child, 0)
        answer(os.waitstatus_to_exitcode(status))
    return None


def answer(value):
    print(json.dumps(value), flush=True)


def become(request):
    """Runs what is asked for, as if Python had been started for it."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    flags = os.O_WRONLY | os.O_CREAT
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(request["out"], flags), 1)
    os.dup2(os.open(request["err"], flags), 2)
    program, *arguments = request["arguments"]
    if program == "-m":
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [program, *arguments]
        sys.path[0] = os.path.dirname(program)
        runpy.run_path(program, run_name="__main__")


def leave(run, *arguments):
    """Calls a function and ends this process, as Python ends after a script.

    Only what Python does last is left out, to free all objects: in a fork, each
    page of them is copied for it.
    """
    try:
        run(*arguments)
        status = 0
    except SystemExit as error:
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except Exception:
        sys.excepthook(*sys.exc_info())
        status = 1
    # As Py_FinalizeEx does; it waits for threads that are no daemons.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(status & 0xFF)


def import_everything():
    from tff_pipeline import silence

    silence.silence()
    # What scripts import once their flags are known to be right.
    from matplotlib import figure

    from tff_pipeline import experiment, registry
    from tff_pipeline.commands import rerun, saved_runs
    from tff_pipeline.privacy import accounting, canaries

    assert all((figure, experiment, rerun, saved_runs, accounting, canaries))
    for table in (registry.TASKS, registry.SAMPLERS, registry.RUNTIMES):
        for name in ("digits_2nn", "uniform", "poisson", "in_process"):
            if name in table:
                registry.load(name, table)


if __name__ == "__main__":
    import_everything()
    # What forks share is not to be copied for being looked at.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    answer("ready")
    request = serve()
    if request is not None:
        leave(become, request)
