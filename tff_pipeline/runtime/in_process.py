"""An execution context that runs TFF's computations inside this process.

TFF as shipped sends every value over gRPC to a worker process, CPU only. This
context interprets the same compiled computation here: its TensorFlow parts
become functions, clients run on threads, values stay where they are.
It takes any `LearningProcess`, of this package or not.
"""

import concurrent.futures
import os
from collections.abc import Sequence
from typing import Any, Optional

import tensorflow_federated as tff
import threadpoolctl

from tff_pipeline.runtime import freed_memory, passes, secure_sums, values
from tff_pipeline.runtime.client_threads import ClientThreads
from tff_pipeline.runtime.dataflow import release
from tff_pipeline.runtime.interpreter import Interpreter


class InProcessContext(tff.framework.SyncContext):
    """Runs TFF computations here; a context manager that installs itself."""

    def __init__(
        self,
        client_threads: Optional[int] = None,
        clients_per_shard: int = 4,
        secure_sum: Optional[secure_sums.SecureSumProtocol] = None,
    ):
        """Starts the threads.

        Args:
          client_threads: How many clients run at once; by default as many as
            this process has processors. Results have the same bits for any
            number.
          clients_per_shard: How many consecutive clients of a cohort are folded
            on their own, before their sums are merged; see `runtime.shards`.
            It decides the last bits of results.
          secure_sum: The protocol that carries out secure sums; without one
            (`None`) they are plain sums, with the same bits.
        """
        freed_memory.keep()
        self._threads = client_threads or len(os.sched_getaffinity(0))
        self._clients_per_shard = clients_per_shard
        self._secure_sum = secure_sum
        self._pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        # Made once a computation, which is kept so that its id stays its.
        self._interpreters: dict[int, tuple[Any, Interpreter]] = {}

    def __enter__(self) -> "InProcessContext":
        self._installed = tff.framework.get_context_stack().install(self)
        self._installed.__enter__()
        # BLAS's own threads would spin beside the clients' between two calls.
        self._blas = threadpoolctl.threadpool_limits(1, "blas")
        return self

    def __exit__(self, *exception: Any) -> None:
        self._blas.restore_original_limits()
        self._installed.__exit__(*exception)
        self._pool.shutdown()

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Runs a computation; `comp(arg)` of TFF calls this method.

        Args:
          comp: A TFF computation.
          arg: Its argument, in any structure that TFF takes.

        Returns:
          The result, in the containers of the computation's type; its arrays
          are read-only.

        Raises:
          NotImplementedError: If the computation has an intrinsic that is not
            known here; the message names it.
          ValueError: If parts of `arg` are of different numbers of clients.
        """
        signature = comp.type_signature
        argument, num_clients = None, 0
        if signature.parameter is not None:
            argument = values.ingest(arg, signature.parameter)
            num_clients = values.cardinality(argument)
        result = self._compiled(comp).lay_out(argument)
        nodes = list(values.nodes(result))
        passes.run(
            nodes,
            num_clients,
            self._computer(comp, argument, nodes, num_clients),
        )
        value = values.emit(result, signature.result)
        release([*nodes, *values.nodes(argument)])
        return tff.types.type_to_py_container(value, signature.result)

    def _compiled(self, comp: Any) -> Interpreter:
        """Returns the interpreter of a computation."""
        if id(comp) not in self._interpreters:
            # Not `transform_to_native_form`, which would also keep TensorFlow
            # from optimising what it runs.
            block = tff.framework.to_call_dominant(comp.to_building_block())
            self._interpreters[id(comp)] = (
                comp,
                Interpreter(block, self._secure_sum),
            )
        return self._interpreters[id(comp)][1]

    def _computer(
        self, comp: Any, argument: Any, nodes: Sequence[Any], num_clients: int
    ) -> passes.ClientComputer:
        """Makes what computes the clients of one call.

        Args:
          comp: The computation.
          argument: Its argument, nested tuples with nodes.
          nodes: The nodes of its result.
          num_clients: The number of clients in the cohort.
        """
        del comp, argument, nodes
        return ClientThreads(
            self._pool, self._threads, num_clients, self._clients_per_shard
        )
