"""Arrays to JSON and back: exactly, or refused."""

import json

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tff_pipeline.serving import request, tensor_json
from tff_pipeline.serving.model import _spec
from tff_pipeline.serving.refusal import Refusal

NUMBERS = (
    *(tf.bool, tf.uint8, tf.int8, tf.uint16, tf.int16, tf.int32, tf.uint32),
    *(tf.int64, tf.uint64, tf.float16, tf.float32, tf.float64),
)


def any_rank(dtype, shape):
    return _spec("x", dtype, (None, *shape[1:]))


def back(array, dtype):
    """Through the text that a response is, read as a request is."""
    text = request.dumps(tensor_json.value_of(array, "x"))
    value = json.loads(text)
    return tensor_json.array_of(value, any_rank(dtype, array.shape), "x")


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: dtype.name)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=30)
def test_finite_numbers_survive(dtype, data):
    floats = {"allow_nan": False, "allow_infinity": False}
    array = data.draw(
        arrays.arrays(
            dtype.as_numpy_dtype,
            arrays.array_shapes(max_dims=4, max_side=4),
            elements=floats if dtype.is_floating else None,
        )
    )
    found = back(array, dtype)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    # Bits, for -0.0 equals 0.0.
    assert found.tobytes() == array.tobytes()


def test_bfloat16_survives():
    array = np.float32([0.1, -2.5, 3e38]).astype(tf.bfloat16.as_numpy_dtype)
    assert back(array, tf.bfloat16).tobytes() == array.tobytes()


@hypothesis.given(
    st.lists(
        st.lists(st.binary(max_size=8), min_size=3, max_size=3), min_size=1
    ),
    st.sampled_from(["x", "x_bytes"]),
)
def test_bytes_survive(rows, name):
    array = np.array(rows, dtype=object).reshape(len(rows), 3)
    text = request.dumps(tensor_json.value_of(array, name))
    found = tensor_json.array_of(
        json.loads(text), any_rank(tf.string, array.shape), "x"
    )
    assert found.tolist() == rows


@hypothesis.given(
    arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=3))
)
def test_what_is_not_finite_is_null(array):
    text = request.dumps(tensor_json.value_of(array, "x"))
    found = np.array(json.loads(text), dtype=object).ravel()
    lost = np.array([each is None for each in found])
    np.testing.assert_array_equal(lost, ~np.isfinite(array.ravel()))


@hypothesis.given(st.integers())
def test_integers_are_exact_or_refused(number):
    spec = _spec("x", tf.int16, (None,))
    if -(2**15) <= number < 2**15:
        assert tensor_json.array_of([number], spec, "x").tolist() == [number]
    else:
        with pytest.raises(Refusal, match="-32768 to 32767"):
            tensor_json.array_of([number], spec, "x")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.just({"b64": "AA=="})
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32, tf.string, tf.bool])
@hypothesis.given(VALUES)
def test_any_value_is_an_array_or_a_refusal(dtype, value):
    for shape in ((None,), (None, 2), None):
        spec = _spec("x", dtype, shape)
        try:
            array = tensor_json.array_of(value, spec, "The input 'x'")
        except Refusal as refusal:
            assert refusal.status == 400
            assert refusal.sentence.startswith("The input 'x' ")
        else:
            assert shape is None or array.ndim == len(shape)


def test_empty_lists_have_the_models_shape():
    spec = _spec("x", tf.float32, (None, None, 3))
    found = tensor_json.array_of([[], []], spec, "x")
    assert found.shape == (2, 0, 3)
    assert tensor_json.value_of(found, "x").shape == (2, 0, 3)


def test_resources_have_no_words():
    spec = _spec("x", tf.complex64, (None,))
    with pytest.raises(Refusal, match="complex64"):
        tensor_json.array_of([1], spec, "x")
