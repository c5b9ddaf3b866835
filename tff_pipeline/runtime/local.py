"""TFF's own worker, made well-behaved.

The TFF wheel runs computations in a child process, `worker_binary`, reached
over gRPC. As shipped it outlives its parent, holds the parent's stdout, hangs
behind a proxy, and grows with every cohort size it sees. Here it

- ends with its parent, however the parent ends, and keeps none of its files;
- is in a session of its own, so that Ctrl-C reaches the training loop, which
  finishes its round, and not the worker;
- is reached without a proxy;
- holds one executor, closed when the cohort's size changes, and disposes of
  every value at once, so that its memory stays flat.

The worker takes unauthenticated connections on its port from every network
interface; TFF 0.87 has no switch for that. On a shared machine, put a firewall
before it.
"""

import logging
import os
import socket
import subprocess
import time
from typing import Any, Optional

import grpc
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.runtime import child_process, compat

_LOG = logging.getLogger(__name__)
_START_TRIES = 3
_START_SECONDS = 60
_CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class LocalWorker:
    """A running worker process and the context that executes on it.

    As a context manager: within it this thread's TFF computations run on the
    worker. The kernel ends the worker with the thread that entered.

    Raises:
      PipelineError: On entering, if the worker does not start.
      TrainingError: From a computation, if the worker has ended meanwhile.
    """

    def __enter__(self) -> "LocalWorker":
        self._process, self._channel, stub = _start()
        self._executors = _OneExecutor(self._process, stub)
        context = tff.framework.SyncExecutionContext(
            self._executors,
            _compile,
            transform_args=tff.tensorflow.transform_args,
            transform_result=tff.tensorflow.transform_result,
        )
        self._installed = tff.framework.get_context_stack().install(context)
        self._installed.__enter__()
        return self

    @property
    def pid(self) -> int:
        """The id of the worker's process."""
        return self._process.pid

    def __exit__(self, *exception: Any) -> None:
        self._installed.__exit__(*exception)
        self._executors.forget()
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _compile(computation: tff.framework.ConcreteComputation) -> Any:
    """Compiles a computation for the worker, with plain sums for secure ones.

    The worker knows no others.
    """
    plain = tff.backends.test.replace_secure_intrinsics_with_bodies(computation)
    return tff.backends.native.desugar_and_transform_to_native(plain)


class _OneExecutor(tff.framework.ExecutorFactory):
    """Keeps one executor in the worker, for the last cohort's size."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        stub: tff.framework.RemoteExecutorGrpcStub,
    ):
        self._process = process
        self._executor = tff.framework.RemoteExecutor(
            stub, dispose_batch_size=1
        )
        self._cardinalities: Optional[tff.framework.CardinalitiesType] = None

    def create_executor(
        self, cardinalities: tff.framework.CardinalitiesType
    ) -> tff.framework.RemoteExecutor:
        """Returns the executor, made ready for these numbers of clients."""
        status = self._process.poll()
        if status is not None:
            # TFF would wait for its return for ever.
            ending = child_process.ending(status)
            raise errors.TrainingError(
                f"TFF's worker process ended unexpectedly ({ending}); "
                "if it was killed for memory, lower --clients_per_round or "
                "--client_batch_size. The last checkpoint stands."
            )
        cardinalities = {tff.CLIENTS: 0, **cardinalities}
        if cardinalities != self._cardinalities:
            # Closes the executor of the other size first.
            self._executor.set_cardinalities(cardinalities)
            self._cardinalities = cardinalities
        return self._executor

    def clean_up_executor(
        self, cardinalities: tff.framework.CardinalitiesType
    ) -> None:
        """Closes the executor, whichever size it is for."""
        del cardinalities
        if self._cardinalities is not None:
            self._cardinalities = None
            self._executor.close()

    def forget(self) -> None:
        """Closes the executor, unless its worker is gone already."""
        if self._process.poll() is None:
            self.clean_up_executor({})


def _start() -> tuple[
    "subprocess.Popen[bytes]",
    grpc.Channel,
    tff.framework.RemoteExecutorGrpcStub,
]:
    for _ in range(_START_TRIES):
        port = _free_port()
        process = _spawn(port)
        channel = grpc.insecure_channel(f"localhost:{port}", _CHANNEL_OPTIONS)
        # The only one to watch the channel: with a second watcher, gRPC fails
        # noisily if the channel is closed at once.
        stub = tff.framework.RemoteExecutorGrpcStub(channel)
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if stub.is_ready:
                return process, channel, stub
            time.sleep(0.01)
        # Another process may have taken the port first: try another one.
        channel.close()
        process.kill()
        status = process.wait()
    raise errors.PipelineError(
        f"TFF's worker process did not start in {_START_TRIES} tries (the "
        f"last one: {child_process.ending(status)}); --verbosity=0 shows what "
        "it says."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def _spawn(port: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [compat.worker_binary(), f"--port={port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if _LOG.isEnabledFor(logging.INFO) else subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=child_process.ends_with(os.getpid()),
    )
