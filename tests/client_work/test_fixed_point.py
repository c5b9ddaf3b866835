"""Sums of metrics by secure sums: whole numbers exactly, others nearly."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work import fixed_point
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.secure_sum.bonawitz import Bonawitz

KIND = tff.to_type(
    collections.OrderedDict(
        loss=[np.float32, np.float32],
        count=np.int32,
        cells=tff.TensorType(np.float64, [2, 2]),
        large=np.int64,
    )
)


@tff.federated_computation(tff.FederatedType(KIND, tff.CLIENTS))
def total(value):
    return fixed_point.secure_sum(value)


def metrics(loss=0.0, weight=1.0, count=0, cell=0.0, large=0):
    return collections.OrderedDict(
        loss=[loss, weight],
        count=count,
        cells=np.full([2, 2], cell),
        large=large,
    )


@pytest.mark.parametrize("protocol", [None, Bonawitz()])
def test_the_sums_are_those_of_the_numbers(protocol):
    clients = [
        metrics(1.25, 3, 2**30, -0.1, 2**58),
        metrics(-4.5, 1e6, -7, 0.7, -5),
        metrics(2**-20, 0, 2**30, 1e9, 2**58),
    ]
    with InProcessContext(secure_sum=protocol):
        result = total(clients)
    assert [float(x) for x in result["loss"]] == [-3.25 + 2**-20, 1000003]
    # As a plain sum, it wraps around.
    assert result["count"] == np.int32(-(2**31) - 7 + 2**32)
    assert result["large"] == 2**59 - 5
    np.testing.assert_allclose(result["cells"], 1e9 + 0.6, rtol=0, atol=2e-6)
    for name, leaves in result.items():
        for leaf in tf.nest.flatten(leaves):
            kind = tff.structure.flatten(tff.to_type(KIND[name]))[0]
            assert np.asarray(leaf).dtype == kind.dtype


def test_what_is_not_finite_counts_as_nothing():
    clients = [metrics(np.nan), metrics(np.inf), metrics(-np.inf), metrics(2)]
    with InProcessContext():
        assert float(total(clients)["loss"][0]) == 2


def test_numbers_that_are_too_large_are_cut():
    with InProcessContext():
        result = total([metrics(1e30), metrics(cell=-1e300)])
    assert float(result["loss"][0]) == 2.0**40
    assert result["cells"].tolist() == [[-(2.0**40)] * 2] * 2


def test_no_clients_are_zeros():
    with InProcessContext(secure_sum=Bonawitz()):
        assert not any(np.any(leaf) for leaf in tf.nest.flatten(total([])))
