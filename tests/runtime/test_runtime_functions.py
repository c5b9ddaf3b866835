"""What the in-process runtime makes of single computations.

Against NumPy where there is a closed form, and against TFF's own worker where
TFF's behaviour is what is asked for.
"""

import collections
import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import small_training as small
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.runtime import graphs
from tff_pipeline.runtime.eager_function import EagerFunction
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.local import LocalWorker
from tff_pipeline.runtime.session_function import SessionFunction

tensorflow = tff.tensorflow.computation
bfloat16 = tf.bfloat16.as_numpy_dtype
OrderedDict = collections.OrderedDict


@pytest.fixture(scope="module", autouse=True)
def worker():
    """What is not called within `here` runs on TFF's worker."""
    with LocalWorker():
        yield


def here(computation, *arguments, threads=2):
    """The computation's result in this process."""
    with InProcessContext(threads):
        return computation(*arguments)


def tensor(dtype=np.float32, *shape):
    return tff.TensorType(dtype, shape)


def clients(*arguments):
    return tff.FederatedType(tensor(*arguments), tff.CLIENTS)


def server(*arguments):
    return tff.FederatedType(tensor(*arguments), tff.SERVER)


def function_of(computation, kind=SessionFunction):
    """The callable for a TensorFlow computation, which must be of `kind`."""
    read = graphs.Computation(computation.to_building_block())
    assert SessionFunction.takes(read) == (kind is SessionFunction)
    return kind(read)


def assert_same(ours, theirs):
    """Equal, and of the same containers and types."""
    tf.nest.assert_same_structure(ours, theirs)
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs)):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


# Types of arguments and results.


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (tensor(np.str_), "word"),
        (tensor(np.str_), b"bytes"),
        (tensor(np.str_, None), ["two", "words"]),
        (tensor(np.bool_, 2), [True, False]),
        (tensor(np.int64), 2**40),
        (tensor(np.uint8, 3), [0, 128, 255]),
        (tensor(np.float16, 2), np.float16([0.1, -1])),
        (tensor(bfloat16, 2), np.array([0.1, -1], bfloat16)),
        (tensor(np.complex64), np.complex64(1 - 2j)),
        (tensor(np.float32, 0, 3), np.zeros([0, 3], np.float32)),
        (
            OrderedDict(b=np.int32, a=(), c=tff.StructType([np.float32])),
            OrderedDict(b=1, a=(), c=(np.float32(2),)),
        ),
    ],
)
def test_values_of_all_types_come_back_as_from_the_worker(kind, value):
    @tensorflow(kind)
    def twice(x):
        return x, collections.OrderedDict(again=x, nothing=())

    result = here(twice, value)
    assert_same(result, twice(value))
    if not isinstance(value, dict):
        kind = object if np.asarray(value).dtype.kind in "SU" else None
        expected = np.asarray(tf.constant(value).numpy(), kind)
        np.testing.assert_array_equal(result[0], expected)


def test_computations_without_parameters_or_results():
    @tensorflow
    def nothing():
        return ()

    @tensorflow
    def seven():
        return 7, "seven"

    @tensorflow(np.int32)
    def ignored(x):
        del x
        return ()

    assert here(nothing) == ()
    assert here(seven) == (7, b"seven")
    assert here(ignored, 3) == ()


@pytest.mark.parametrize("value", [b"ends in NUL\0", b"\xff is no ASCII"])
def test_bytes_are_any_bytes(value):
    @tensorflow(tensor(np.str_))
    def itself(x):
        return x, tf.strings.length(x)

    assert_same(here(itself, value), itself(value))
    assert here(itself, value) == (value, len(value))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (tensor(np.float32, 3), np.float32([1, 2])),
        (tensor(np.float32, None, 3), np.ones([2, 2], np.float32)),
        pytest.param(
            tff.SequenceType(tensor(np.float32, 3)), [np.float32([1, 2])]
        ),
    ],
)
def test_argument_of_another_shape_is_refused(kind, value):
    @tensorflow(kind)
    def total(x):
        if isinstance(kind, tff.SequenceType):
            x = x.get_single_element()
        return tf.reduce_sum(x)

    with pytest.raises((TypeError, ValueError)):
        here(total, value)


@pytest.mark.parametrize(
    "value",
    [
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
        np.arange(24, dtype=np.float32).reshape(3, 8)[:, ::2],
        np.arange(12, dtype=np.float32).reshape(3, 4)[::-1],
        np.arange(12, dtype=">f4").reshape(3, 4),
        np.arange(12).reshape(3, 4).tolist(),
        tf.reshape(tf.range(12.0), [3, 4]),
    ],
    ids=["columns", "gaps", "backwards", "big-endian", "list", "tensor"],
)
def test_layout_of_an_argument_makes_no_difference(value):
    @tensorflow(tensor(np.float32, None, 4))
    def squares(x):
        return tf.square(x)

    expected = np.square(np.asarray(value, np.float32))
    np.testing.assert_array_equal(here(squares, value), expected)


def reduce_all_ways():
    @tff.federated_computation(clients(np.float32, 3, 4), clients())
    def reduce(value, weight):
        return (
            tff.federated_sum(value),
            tff.federated_mean(value),
            tff.federated_mean(value, weight),
            tff.federated_min(value),
            tff.federated_max(value),
        )

    return reduce


@pytest.mark.parametrize("order", ["C", "F"])
def test_reductions_are_numpys_and_leave_their_arguments_alone(order):
    draw = np.random.default_rng(0)
    values = draw.normal(size=[5, 3, 4]).astype(np.float32)
    given = [np.array(value, order=order) for value in values]
    weights = np.float32([1, 0, 2, 5, 0.5])
    results = here(reduce_all_ways(), given, list(weights))
    expected = (
        values.sum(0),
        values.mean(0),
        np.average(values, axis=0, weights=weights),
        values.min(0),
        values.max(0),
    )
    for a, b in zip(results, expected):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(given, values)


# A client's data in one element.


@tensorflow(
    tff.SequenceType(
        OrderedDict(b=tensor(np.float32), a=tensor(np.int32, None))
    )
)
def in_one(data):
    element = data.get_single_element()
    return element["b"] - 2 * tf.cast(tf.reduce_sum(element["a"]), tf.float32)


B, A = np.float32(10), np.int32([1, 2])


@pytest.mark.parametrize(
    "element",
    [
        OrderedDict(b=B, a=A),
        {"a": A, "b": B},
        pytest.param(
            (B, A),
        ),
        pytest.param(
            tff.structure.Struct([("b", B), ("a", A)]),
        ),
        pytest.param(
            OrderedDict(b=10.0, a=[1, 2]),
        ),
        pytest.param(
            OrderedDict(b=np.float64(10), a=np.int64([1, 2])),
        ),
    ],
    ids=["in order", "sorted", "tuple", "struct", "lists", "wider"],
)
def test_one_element_may_come_in_any_container(element):
    assert in_one([element]) == 4
    assert here(in_one, [element]) == 4


def test_parts_of_a_tuple_are_in_the_types_order():
    kind = OrderedDict(b=np.float32, a=np.float32)

    @tensorflow(tff.SequenceType(kind))
    def difference(data):
        element = data.get_single_element()
        return element["b"] - 2 * element["a"]

    element = (np.float32(10), np.float32(1))
    assert difference([element]) == 8
    assert here(difference, [element]) == 8


def test_one_element_may_come_in_a_dataset():
    element = OrderedDict(b=tf.constant(B), a=tf.constant(A))
    assert here(in_one, tf.data.Dataset.from_tensors(element)) == 4


@pytest.mark.parametrize("count", [0, 2])
def test_process_that_takes_one_element_refuses_any_other_number(count):
    elements = [OrderedDict(b=B, a=A)] * count
    with pytest.raises(ValueError, match=f"list of {count} elements"):
        here(in_one, elements)

    @tff.federated_computation(
        tff.FederatedType(in_one.type_signature.parameter, tff.CLIENTS)
    )
    def total(data):
        return tff.federated_sum(tff.federated_map(in_one, data))

    one = [OrderedDict(b=B, a=A)]
    with pytest.raises(ValueError, match=f"list of {count} elements"):
        here(total, [one, elements, one])


# Graphs that hold something, or draw.


@tensorflow(np.int32, tensor(np.float32, None))
def busy(count, start):
    """A variable, a table and a loop over both."""
    total = tf.Variable(tf.zeros([4]))
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([0, 1, 2], [1.0, 2.0, 3.0]), -1.0
    )

    def body(i):
        more = tf.fill([4], table.lookup(i % 4))
        with tf.control_dependencies([total.assign_add(more)]):
            return i + 1

    with tf.control_dependencies([total.assign(start)]):
        end = tf.while_loop(lambda i: i < count, body, [tf.constant(0)])
    with tf.control_dependencies(tf.nest.flatten(end)):
        return total.read_value()


def by_hand(count, start):
    return start + sum([1, 2, 3, -1][i % 4] for i in range(count))


def test_many_threads_get_what_one_thread_gets():
    function = function_of(busy)
    draw = np.random.default_rng(0)
    arguments = [
        (np.int32(i % 50), draw.integers(9, size=4).astype(np.float32))
        for i in range(300)
    ]
    # The first calls of all threads at once, too.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        results = list(pool.map(function, arguments))
    for (count, start), result in zip(arguments, results):
        np.testing.assert_array_equal(result, by_hand(count, start))


def static_table(x):
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant([1, 2], tf.int64), tf.constant([0, 1], tf.int64)
        ),
        num_oov_buckets=1,
    )
    return table.size() - 3 + tf.size(x, tf.int64), table.lookup(x) >= 0


def filled(table, x):
    with tf.control_dependencies([table.insert(x, x)]):
        return table.size(), table.lookup(x) >= 0


def mutable_table(x):
    int64 = tf.int64
    return filled(tf.lookup.experimental.MutableHashTable(int64, int64, -1), x)


def dense_table(x):
    table = tf.lookup.experimental.DenseHashTable(
        tf.int64, tf.int64, -1, empty_key=-1, deleted_key=-2
    )
    return filled(table, x)


def queue(x):
    queue = tf.queue.FIFOQueue(100, [tf.int64], [[]])
    with tf.control_dependencies([queue.enqueue_many([x])]):
        return tf.cast(queue.size(), tf.int64), x > 0


def resource_variable(x):
    variable = tf.Variable(tf.constant(0, tf.int64))
    with tf.control_dependencies([variable.assign_add(tf.size(x, tf.int64))]):
        return variable.read_value(), x > 0


def reference_variable(x):
    variable = tf.compat.v1.get_variable(
        "v",
        initializer=tf.constant(0, tf.int64),
        dtype=tf.int64,
        use_resource=False,
    )
    size = tf.size(x, tf.int64)
    return tf.identity(tf.compat.v1.assign_add(variable, size)), x > 0


@pytest.mark.parametrize(
    "body",
    [
        static_table,
        resource_variable,
        mutable_table,
        dense_table,
        queue,
    ],
)
def test_nothing_is_kept_from_client_to_client(body):
    """What a client counts are its own keys, whoever came before."""
    count = tensorflow(tensor(np.int64, None))(body)

    @tff.federated_computation(clients(np.int64, None))
    def count_all(keys):
        return tff.federated_map(count, keys)

    keys = [[1, 2], [3], [4, 5, 6], [7]]
    for threads in (1, 3):
        with InProcessContext(threads):
            for _ in range(2):
                sizes = [int(size) for size, _ in count_all(keys)]
                assert sizes == [2, 1, 3, 1]


# A race, if they do: lost in two of a hundred rounds with four threads.
@pytest.mark.soak
def test_threads_do_not_share_variables_of_the_old_kind():
    count = tensorflow(tensor(np.int64, None))(reference_variable)

    @tff.federated_computation(clients(np.int64, None))
    def count_all(keys):
        return tff.federated_map(count, keys)

    expected = [1, 2, 3, 4, 5, 6, 7, 8]
    for threads, times in ((1, 5), (4, 200)):
        with InProcessContext(threads):
            for _ in range(times):
                counted = count_all([np.ones(size) for size in expected])
                assert [int(size) for size, _ in counted] == expected


def test_a_call_after_one_that_failed_starts_afresh():
    @tensorflow(np.int32)
    def checked(x):
        variable = tf.Variable(0)
        with tf.control_dependencies([variable.assign_add(x)]):
            value = variable.read_value()
        with tf.control_dependencies([tf.debugging.assert_less(value, 3)]):
            return tf.identity(value)

    function = function_of(checked)
    assert function(np.int32(1)) == 1
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(np.int32(5))
    assert function(np.int32(2)) == 2


def test_loops_and_branches():
    @tensorflow(np.int32)
    def alternate(count):
        def body(i, total):
            even = tf.equal(i % 2, 0)
            return i + 1, total + tf.cond(even, lambda: i, lambda: -i)

        return tf.while_loop(lambda i, _: i < count, body, [0, 0])[1]

    for count in (0, 1, 7, 8):
        expected = sum(i if i % 2 == 0 else -i for i in range(count))
        assert here(alternate, count) == expected


def test_recurrent_layer_is_the_eager_one():
    def layer():
        ones = tf.keras.initializers.Constant(0.1)
        return tf.keras.layers.LSTM(
            3, kernel_initializer=ones, recurrent_initializer=ones
        )

    @tensorflow(tensor(np.float32, None, 5, 2))
    def run(x):
        return layer()(x)

    x = np.random.default_rng(0).normal(size=[4, 5, 2]).astype(np.float32)
    np.testing.assert_allclose(here(run, x), layer()(x), rtol=1e-5, atol=1e-6)


def draw_normal():
    return tf.random.normal([50])


def draw_from_a_generator():
    generator = tf.random.Generator.from_non_deterministic_state()
    return generator.normal([50])


@pytest.mark.parametrize("draw", [draw_normal, draw_from_a_generator])
def test_draws_without_a_seed_differ_between_calls_and_clients(draw):
    @tensorflow(np.int32)
    def noisy(x):
        return draw() + tf.cast(0 * x, tf.float32)

    @tff.federated_computation(clients(np.int32))
    def draw_all(x):
        return (
            tff.federated_map(noisy, x),
            tff.federated_eval(tensorflow(draw), tff.CLIENTS),
        )

    drawn = []
    for threads in (1, 3):
        with InProcessContext(threads):
            for _ in range(2):
                drawn += [each for part in draw_all([1, 2, 3]) for each in part]
    # 24 draws of 50 numbers; of 1,200 float32 two meet now and then.
    assert len(np.unique(np.concatenate(drawn))) > 0.99 * 24 * 50


# Results belong to the caller, arguments too.


def aligned(count):
    """An array that TensorFlow need not copy."""
    memory = np.zeros(count * 4 + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + count * 4].view(np.float32)


def stays(x):
    variable = tf.Variable(tf.zeros([100]))
    with tf.control_dependencies([variable.assign(x)]):
        added = variable.assign_add(tf.ones([100]))
    with tf.control_dependencies([added]):
        updated = variable.scatter_nd_update([[0]], [-1.0])
    with tf.control_dependencies([updated]):
        return variable.read_value()


def loops(x):
    def body(i, x):
        return i + 1, tf.tensor_scatter_nd_add(x, [[0]], [1.0])

    return tf.while_loop(lambda i, _: i < 3, body, [0, x])[1]


@pytest.mark.parametrize(
    "body",
    [lambda x: x, lambda x: tf.nn.relu(-tf.sqrt(x + 1)), stays, loops],
    ids=["identity", "elementwise", "variable", "loop"],
)
def test_calls_change_neither_arguments_nor_earlier_results(body):
    function = function_of(tensorflow(tensor(np.float32, None))(body))
    x = aligned(100)
    x[:] = np.arange(100)
    first = function(x)
    kept = first.copy()
    np.testing.assert_array_equal(x, np.arange(100))
    y = aligned(100)
    function(y)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(function(x), kept)


def scribble(value):
    """Writes over arrays; those that refuse are as good."""
    for leaf in tf.nest.flatten(value):
        if isinstance(leaf, np.ndarray) and leaf.flags.writeable:
            leaf[...] = 7


def test_who_writes_over_a_result_changes_no_later_one():
    @tensorflow
    def constant():
        return tf.constant(np.arange(100, dtype=np.float32))

    with InProcessContext(1):
        scribble(constant())
        np.testing.assert_array_equal(constant(), np.arange(100))


def test_who_writes_over_a_result_changes_no_argument():
    @tensorflow(tensor(np.float32, None))
    def itself(x):
        return x

    x = aligned(100)
    scribble(here(itself, x))
    np.testing.assert_array_equal(x, np.zeros(100))


def test_argument_that_is_the_result_can_still_be_written_to():
    @tff.federated_computation(tensor(np.float32, 3))
    def itself(x):
        return x

    x = np.zeros(3, np.float32)
    assert not here(itself, x).flags.writeable
    assert x.flags.writeable


@pytest.fixture(scope="module")
def process():
    task = small.task_of(small.dense)
    return fed_avg.build(task.tff_model_fn, small.CLIENTS, small.SERVER)


def test_who_writes_over_model_weights_changes_no_state(process):
    with InProcessContext(1):
        state = process.initialize()
        before = tf.nest.map_structure(np.array, state)
        scribble(process.get_model_weights(state))
        tf.nest.map_structure(np.testing.assert_array_equal, state, before)
        scribble(state.finalizer)
        again = process.initialize().finalizer
        tf.nest.map_structure(
            np.testing.assert_array_equal, again, before.finalizer
        )


def test_round_leaves_state_and_clients_as_they_were(process):
    with InProcessContext(2):
        state = process.initialize()
        data = small.blocks(small.task_of(small.dense), 1)
        before = tf.nest.map_structure(np.array, (state, data))
        first = process.next(state, data).state
        kept = tf.nest.map_structure(np.array, first)
        process.next(first, data)
    tf.nest.map_structure(np.testing.assert_array_equal, (state, data), before)
    tf.nest.map_structure(np.testing.assert_array_equal, first, kept)


# Datasets.


@tensorflow(tff.SequenceType(tensor(np.float32, None, 2)))
def total_of(data):
    return data.reduce(0.0, lambda total, x: total + tf.reduce_sum(x))


def pipelines():
    """Datasets of batches, of which each has the sum 45."""
    rows = np.arange(10, dtype=np.float32)[:, np.newaxis]
    halves = np.concatenate([rows, rows], 1) / 2
    slices = tf.data.Dataset.from_tensor_slices(halves)
    spec = tf.TensorSpec([None, 2], tf.float32)
    return {
        "batches": slices.batch(3),
        "map": slices.map(lambda x: x * 2).batch(4).map(lambda x: x / 2),
        "shuffle": slices.shuffle(10).batch(2).prefetch(2),
        "generator": tf.data.Dataset.from_generator(
            lambda: (halves[i : i + 3] for i in range(0, 10, 3)),
            output_signature=spec,
        ),
        "interleave": slices.window(2).flat_map(lambda x: x.batch(2)),
        "cache": slices.batch(5).cache().repeat(1),
    }


@pytest.mark.parametrize("name", pipelines())
def test_clients_datasets_are_pipelines_of_any_kind(name):
    kind = tff.FederatedType(total_of.type_signature.parameter, tff.CLIENTS)

    @tff.federated_computation(kind)
    def totals(data):
        return tff.federated_map(total_of, data)

    data = pipelines()[name]
    with InProcessContext(2):
        for _ in range(2):
            np.testing.assert_allclose(totals([data, data]), [45, 45])


@pytest.mark.parametrize(
    "data",
    [
        [],
        tf.data.Dataset.from_tensor_slices(np.zeros([0, 2], "f4")).batch(3),
        tf.data.Dataset.from_tensor_slices(np.ones([4, 2], "f4"))
        .batch(2)
        .take(0),
    ],
    ids=["list", "no rows", "none taken"],
)
def test_empty_data_are_a_sum_of_nothing(data):
    assert here(total_of, data) == 0


def test_list_of_batches_of_several_sizes():
    batches = [np.ones([size, 2], np.float32) for size in (3, 1, 0, 2)]
    assert here(total_of, batches) == 12


def test_list_of_batches_that_are_lists():
    batches = [[[1, 2]], [[3, 4], [5, 6]]]
    assert here(total_of, batches) == 21


PAIRS = tff.SequenceType(OrderedDict(x=tensor(np.float32, 2), y=np.int32))


@tensorflow(PAIRS)
def total_of_pairs(data):
    def add(total, pair):
        return total + tf.reduce_sum(pair["x"]) * tf.cast(pair["y"], tf.float32)

    return data.reduce(0.0, add)


@pytest.mark.parametrize(
    "data",
    [
        tf.data.Dataset.from_tensor_slices(
            OrderedDict(x=np.ones([2, 2], np.float32), y=np.int32([2, 3]))
        ),
        pytest.param(
            [OrderedDict(x=np.ones(2, np.float32), y=y) for y in (2, 3)]
        ),
        pytest.param([{"y": 5, "x": np.ones(2, np.float32)}]),
    ],
    ids=["dataset", "list", "other order"],
)
def test_data_with_named_parts(data):
    assert total_of_pairs(data) == 10
    assert here(total_of_pairs, data) == 10


@pytest.mark.parametrize("data", [[], [4]])
def test_dataset_as_result(data):
    @tensorflow(tff.SequenceType(np.int64), tff.SequenceType(np.int64))
    def join(a, b):
        return a.concatenate(b).map(lambda x: x * 2), a.reduce(
            np.int64(0), lambda total, _: total + 1
        )

    with InProcessContext(1):
        result, count = join(data, [5, 6])
        assert [int(each) for each in result] == [2 * x for x in [*data, 5, 6]]
        assert count == len(data)


def test_eager_function_with_a_variable_serves_many_threads():
    @tensorflow(tff.SequenceType(np.int64), np.int64)
    def add_up(data, start):
        total = tf.Variable(tf.constant(0, tf.int64))
        with tf.control_dependencies([total.assign_add(start)]):
            start = total.read_value()
        return data.reduce(start, lambda total, x: total + x)

    function = function_of(add_up, EagerFunction)

    def call(i):
        data = tf.data.Dataset.range(i).shuffle(5)
        return function((data, np.int64(i)))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(40)))
    assert results == [i * (i - 1) // 2 + i for i in range(40)]


@pytest.mark.soak
def test_process_composed_with_preprocessing_ends_as_on_the_worker():
    """TFF's own way to have clients make batches of their raw data."""

    @tensorflow(tff.SequenceType(tensor(np.float32, 5)))
    def preprocess(data):
        def label(x):
            return OrderedDict(x=x, y=tf.cast(x[:1] > 0, tf.int32))

        return data.map(label).batch(3)

    def model_fn():
        return tff.learning.models.from_keras_model(
            small.dense(),
            loss=tf.keras.losses.SparseCategoricalCrossentropy(True),
            input_spec=preprocess.type_signature.result.element,
        )

    process = tff.simulation.compose_dataset_computation_with_learning_process(
        preprocess,
        tff.learning.algorithms.build_weighted_fed_avg(
            model_fn, tff.learning.optimizers.build_sgdm(0.1)
        ),
    )
    draw = np.random.default_rng(0)
    data = [
        tf.data.Dataset.from_tensor_slices(
            draw.normal(size=[size, 5]).astype(np.float32)
        )
        for size in (7, 2)
    ]
    state = process.initialize()
    theirs = process.get_model_weights(process.next(state, data).state)
    with InProcessContext(2):
        ours = process.get_model_weights(process.next(state, data).state)
    for a, b in zip(ours.trainable, theirs.trainable):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# Intrinsics that others build on.


def test_select_gives_what_the_worker_gives():
    table = tensor(np.float32, 5, 3)

    @tensorflow(table, np.int32)
    def row(values, key):
        return tf.gather(values, key)

    @tensorflow(tff.SequenceType(tensor(np.float32, 3)))
    def weigh(rows):
        """Not the same for any other order of rows."""
        return rows.reduce(tf.zeros([3]), lambda total, x: 2 * total + x)

    @tff.federated_computation(
        clients(np.int32, 3), tff.FederatedType(table, tff.SERVER)
    )
    def select(keys, values):
        limit = tff.federated_value(5, tff.SERVER)
        rows = tff.federated_select(keys, limit, values, row)
        return tff.federated_map(weigh, rows), rows

    draw = np.random.default_rng(0)
    values = draw.normal(size=[5, 3]).astype(np.float32)
    keys = [draw.integers(5, size=3).astype(np.int32) for _ in range(4)]
    ours, our_rows = here(select, keys, values)
    theirs, their_rows = select(keys, values)
    for i, chosen in enumerate(keys):
        expected = np.float32([4, 2, 1]) @ values[chosen]
        np.testing.assert_allclose(ours[i], expected, rtol=1e-6)
        np.testing.assert_array_equal(list(our_rows[i]), values[chosen])
        np.testing.assert_array_equal(list(their_rows[i]), values[chosen])
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# Differential privacy.


CLIP, COHORT, WIDTH = 0.5, 6, 4
Private = tff.aggregators.DifferentiallyPrivateFactory


def tree(make, *arguments, **options):
    specs = tf.TensorSpec([WIDTH], tf.float32)
    return make(*arguments, record_specs=specs, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Private.gaussian_fixed(0.0, COHORT, CLIP),
        lambda: Private.gaussian_adaptive(
            0.0, COHORT, initial_l2_norm_clip=CLIP
        ),
        lambda: tree(Private.tree_aggregation, 0.0, COHORT, CLIP),
    ],
    ids=["fixed", "adaptive", "tree"],
)
def test_private_means_without_noise_are_the_workers(make):
    process = make().create(tensor(np.float32, WIDTH))
    draw = np.random.default_rng(0)

    def run():
        state, results = process.initialize(), []
        for values in rounds:
            output = process.next(state, list(values))
            state = output.state
            results.append(output.result)
        return np.stack(results), tf.nest.map_structure(np.asarray, state)

    rounds = draw.normal(size=[3, COHORT, WIDTH]).astype(np.float32)
    theirs, their_state = run()
    with InProcessContext(2):
        ours, our_state = run()
    # One value a round would pass for another if all were clipped alike.
    assert np.linalg.norm(ours) > 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    tf.nest.map_structure(
        lambda a, b: (
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            if a.dtype.kind == "f"
            else None
        ),
        our_state,
        their_state,
    )


def test_mean_of_clipped_updates_is_by_hand():
    process = Private.gaussian_fixed(0.0, COHORT, CLIP).create(
        tensor(np.float32, WIDTH)
    )
    values = np.random.default_rng(0).normal(size=[COHORT, WIDTH])
    values = (values * np.linspace(0.01, 2, COHORT)[:, np.newaxis]).astype("f4")
    with InProcessContext(2):
        output = process.next(process.initialize(), list(values))
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    assert norms.min() < CLIP < norms.max()
    expected = (values * np.minimum(1, CLIP / norms)).sum(0) / COHORT
    np.testing.assert_allclose(output.result, expected, rtol=1e-5)


@pytest.mark.soak
def test_private_federated_averaging_ends_as_on_the_worker():
    """Through this package's process, whose updates are of several arrays."""
    task = small.task_of(small.dense)
    private = Private.gaussian_fixed(0.0, len(small.SIZES), 1e-3)
    process = fed_avg.build(
        task.tff_model_fn,
        small.CLIENTS,
        small.SERVER,
        tff.aggregators.as_weighted_aggregator(private),
    )
    weights = small.start(task)
    rounds = [small.blocks(task, number) for number in (1, 2)]
    theirs, _ = small.train(process, weights, rounds)
    with InProcessContext(2):
        ours, _ = small.train(process, weights, rounds)
    small.assert_close(ours, theirs, weights.trainable)


@pytest.mark.parametrize("name", ["gaussian", "tree"])
def test_noise_is_gaussian_of_the_stated_size_and_never_the_same(name):
    multiplier, width = 2.0, 20_000
    specs = tf.TensorSpec([width], tf.float32)
    factory = (
        Private.gaussian_fixed(multiplier, COHORT, CLIP)
        if name == "gaussian"
        else Private.tree_aggregation(
            multiplier, COHORT, CLIP, record_specs=specs
        )
    )
    process = factory.create(tensor(np.float32, width))
    values = [np.zeros(width, np.float32)] * COHORT
    noise = []
    with InProcessContext(2):
        # Two trainings from one state share no noise either.
        for _ in range(2):
            state = process.initialize()
            for _ in range(2):
                output = process.next(state, values)
                state = output.state
                noise.append(np.array(output.result))
    deviation = multiplier * CLIP / COHORT
    for first in (noise[0], noise[2]):
        assert abs(first.mean()) < 5 * deviation / np.sqrt(width)
        np.testing.assert_allclose(first.std(), deviation, rtol=0.03)
        within = np.mean(np.abs(first) < deviation)
        np.testing.assert_allclose(within, 0.6827, atol=0.02)
        # No coordinate is its neighbour's echo.
        assert len(np.unique(first)) > 0.99 * width
        assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.04
    correlations = np.corrcoef(noise) - np.eye(4)
    if name == "gaussian":
        assert np.abs(correlations).max() < 0.04
        for each in noise:
            np.testing.assert_allclose(each.std(), deviation, rtol=0.03)
    else:
        # In a tree, a round's noise contains the rounds' before.
        assert np.abs(correlations[:2, 2:]).max() < 0.04
