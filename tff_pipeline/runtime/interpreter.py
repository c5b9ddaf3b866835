"""Lays out TFF's compiled computations as dataflow graphs of this package."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import (
    elements,
    graphs,
    reductions,
    secure_sums,
    values,
)
from tff_pipeline.runtime.dataflow import OnClients, OnServer, Reduced
from tff_pipeline.runtime.eager_function import EagerFunction
from tff_pipeline.runtime.session_function import SessionFunction


class Interpreter:
    """Lays out the calls of one compiled computation as a dataflow.

    Attributes:
      block: The computation.
    """

    def __init__(
        self,
        block: tff.framework.ComputationBuildingBlock,
        secure_sum: Optional[secure_sums.SecureSumProtocol] = None,
        files: Optional[Mapping[str, str]] = None,
    ):
        """Makes no function yet; each is made when it is first laid out.

        Args:
          block: The computation, in TFF's call-dominant form.
          secure_sum: The protocol that carries out secure sums; without one
            (`None`) they are plain sums, with the same bits.
          files: Path of a file that the computation maps into memory -> the
            path to map instead.
        """
        self.block, self._secure = block, secure_sum
        self._files = files or {}
        self._functions: dict[int, Callable[[Any], Any]] = {}

    def lay_out(self, argument: Any) -> Any:
        """Returns the computation's result as nested tuples of nodes.

        The nodes depend on the computation and the structure of the argument
        alone, so that another machine lays out the same.

        Args:
          argument: Nested tuples of nodes, as `values.ingest` makes them.
        """
        result = self._evaluate(self.block, {})
        return result(argument) if callable(result) else result

    def _evaluate(self, block: Any, names: Mapping[str, Any]) -> Any:
        if isinstance(block, tff.framework.Reference):
            return names[block.name]
        if isinstance(block, tff.framework.Selection):
            return self._evaluate(block.source, names)[block.as_index()]
        if isinstance(block, tff.framework.Struct):
            elements = tff.structure.iter_elements(block)
            return tuple(self._evaluate(value, names) for _, value in elements)
        if isinstance(block, tff.framework.Block):
            names = dict(names)
            for name, value in block.locals:
                names[name] = self._evaluate(value, names)
            return self._evaluate(block.result, names)
        if isinstance(block, tff.framework.Lambda):
            return lambda argument: self._evaluate(
                block.result, {**names, block.parameter_name: argument}
            )
        if isinstance(block, tff.framework.Call):
            function = self._evaluate(block.function, names)
            if block.argument is None:
                return function(None)
            return function(self._evaluate(block.argument, names))
        if isinstance(block, tff.framework.CompiledComputation):
            if id(block) not in self._functions:
                self._functions[id(block)] = self._function(block)
            return self._functions[id(block)]
        if isinstance(block, tff.framework.Literal):
            return np.asarray(block.value, block.type_signature.dtype)
        if isinstance(block, tff.framework.Intrinsic):
            return self._intrinsic(block)
        raise NotImplementedError(
            f"The in-process runtime does not know {type(block).__name__}; "
            "use --runtime=local."
        )

    def _function(
        self,
        block: tff.framework.CompiledComputation,
    ) -> Callable[[Any], Any]:
        computation = graphs.Computation(block, self._files)
        if SessionFunction.takes(computation):
            return SessionFunction(computation)
        return EagerFunction(computation)

    def _intrinsic(self, block: tff.framework.Intrinsic) -> Any:
        if block.uri == "generic_zero":  # A value, and not a function.
            return values.zeros(block.type_signature)
        method = getattr(self, f"_{block.uri}", None)
        if method is None:
            raise NotImplementedError(
                f"The in-process runtime does not know the intrinsic "
                f"{block.uri}; use --runtime=local."
            )
        return lambda argument: method(argument, block.type_signature)

    # Every intrinsic of TFF 0.87 that its learning processes and aggregators
    # are compiled to: (argument, type signature) -> node.

    def _federated_map(self, argument: Any, _: Any) -> Any:
        function, value = argument
        if isinstance(value, OnServer):
            return OnServer(function, value)
        return OnClients(function, [value])

    _federated_map_all_equal = _federated_map
    _federated_apply = _federated_map

    def _federated_broadcast(self, argument: OnServer, _: Any) -> Any:
        return OnClients(lambda value: value, server=[argument])

    def _federated_value_at_clients(self, argument: Any, _: Any) -> Any:
        return OnClients(lambda: argument)

    def _federated_value_at_server(self, argument: Any, _: Any) -> Any:
        return OnServer(lambda: argument)

    def _federated_eval_at_clients(self, argument: Any, _: Any) -> Any:
        # Indexed: a client's random draw is its own.
        return OnClients(lambda _: argument(None), indexed=True)

    def _federated_eval_at_server(self, argument: Any, _: Any) -> Any:
        return OnServer(lambda: argument(None))

    def _federated_zip_at_clients(self, argument: Any, _: Any) -> Any:
        leaves = list(values.nodes(argument))
        return OnClients(lambda *v: values.refill(argument, iter(v)), leaves)

    def _federated_zip_at_server(self, argument: Any, _: Any) -> Any:
        leaves = list(values.nodes(argument))
        return OnServer(lambda *v: values.refill(argument, iter(v)), *leaves)

    def _federated_select(self, argument: Any, signature: Any) -> Any:
        keys, _, value, function = argument
        kind = signature.result.member.element

        def select(keys: Any, value: Any) -> tf.data.Dataset:
            chosen = [function((value, key)) for key in np.asarray(keys)]
            return elements.dataset(
                [values.emit(each, kind) for each in chosen], kind
            )

        return OnClients(select, [keys], [value])

    _federated_secure_select = _federated_select

    def _federated_sum(self, argument: OnClients, signature: Any) -> Any:
        empty = functools.partial(values.zeros, signature.result.member)
        return Reduced(lambda: reductions.Elementwise(np.add, empty), argument)

    def _federated_secure_sum(self, argument: Any, signature: Any) -> Any:
        value, largest = argument
        return self._exact_secure_sum(
            value, largest, signature, lambda most: most
        )

    def _federated_secure_sum_bitwidth(
        self, argument: Any, signature: Any
    ) -> Any:
        value, bits = argument
        return self._exact_secure_sum(
            value, bits, signature, lambda each: (1 << each) - 1
        )

    def _exact_secure_sum(
        self,
        value: OnClients,
        bound: Any,
        signature: Any,
        largest: Callable[[int], int],
    ) -> Any:
        """Sums integers, each from 0 to what `largest` makes of its bound."""
        if self._secure is None:
            return self._federated_sum(value, signature)
        kind = signature.result.member
        return secure_sums.SecurelySummed(
            self._secure,
            value,
            kind,
            largest=list(map(largest, secure_sums.bounds(bound, kind))),
        )

    def _federated_secure_modular_sum(
        self, argument: Any, signature: Any
    ) -> Any:
        value, modulus = argument
        kind = signature.result.member
        moduli = secure_sums.bounds(modulus, kind)
        if self._secure is not None:
            return secure_sums.SecurelySummed(
                self._secure, value, kind, moduli=moduli
            )

        def remainder(value: Any) -> Any:
            each = iter(moduli)
            return values.zip_leaves(
                lambda leaf: np.mod(leaf, np.asarray(next(each), leaf.dtype)),
                value,
            )

        return OnServer(remainder, self._federated_sum(value, signature))

    def _federated_min(self, argument: OnClients, signature: Any) -> Any:
        empty = functools.partial(
            values.extremes, signature.result.member, lowest=False
        )
        return Reduced(
            lambda: reductions.Elementwise(np.minimum, empty), argument
        )

    def _federated_max(self, argument: OnClients, signature: Any) -> Any:
        empty = functools.partial(
            values.extremes, signature.result.member, lowest=True
        )
        return Reduced(
            lambda: reductions.Elementwise(np.maximum, empty), argument
        )

    def _federated_mean(self, argument: OnClients, signature: Any) -> Any:
        empty = functools.partial(
            values.zeros, signature.result.member, fill=np.nan
        )
        return Reduced(lambda: reductions.Mean(empty), argument)

    def _federated_weighted_mean(self, argument: Any, signature: Any) -> Any:
        empty = functools.partial(
            values.zeros, signature.result.member, fill=np.nan
        )
        pair = OnClients(lambda value, weight: (value, weight), argument)
        return Reduced(lambda: reductions.WeightedMean(empty), pair)

    def _federated_aggregate(self, argument: Any, _: Any) -> Any:
        value, *parts = argument  # Zero, accumulate, merge, report.
        return Reduced(lambda: reductions.Aggregate(*parts), value)

    def _generic_plus(self, argument: Any, _: Any) -> Any:
        return values.zip_leaves(np.add, *argument)

    def _generic_multiply(self, argument: Any, _: Any) -> Any:
        return values.zip_leaves(np.multiply, *argument)

    def _generic_divide(self, argument: Any, _: Any) -> Any:
        return values.zip_leaves(np.divide, *argument)
