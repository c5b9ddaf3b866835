"""Runs TensorFlow's converter to TensorFlow Lite in a process of its own.

python -m tff_pipeline.export.lite PRECISION FOLDER SIGNATURE SAMPLES OUTPUT

Some models end the process that converts them; see `tflite`, which calls it.
"""

import copy
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Array = npt.NDArray[Any]


def main() -> None:
    """Converts the SavedModel of the command line and tries the result once."""
    precision, path, signature, samples, output = sys.argv[1:]
    with np.load(samples) as archive:
        ((name, rows),) = archive.items()
    converter = tf.lite.TFLiteConverter.from_saved_model(
        path, signature_keys=[signature]
    )
    if precision in ("dynamic_int8", "int8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "int8":

        def calibration() -> Iterator[dict[str, Array]]:
            for row in rows:
                yield {name: row[None]}

        converter.representative_dataset = calibration
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
    content = converter.convert()
    if precision == "float16":
        content = _halved(content)
    # Some that can be converted cannot be run: then this fails too.
    runner = tf.lite.Interpreter(model_content=content).get_signature_runner()
    sizes = runner.get_input_details()[name]["shape_signature"]
    runner(**{name: rows[: 2 if sizes[0] == -1 else 1]})
    with open(output, "wb") as file:
        file.write(content)


def _halved(content: bytes) -> bytes:
    """Stores float32 constants as float16, which become float32 as it runs.

    The converter writes them so with `supported_types`, except that it takes
    all memory for an LSTM and does not end.
    """
    # Here, for it imports TFF, which the other precisions need not wait for.
    from tff_pipeline.runtime import compat

    model, schema = compat.lite_model(content)
    widen = schema.OperatorCodeT()
    widen.builtinCode = schema.BuiltinOperator.DEQUANTIZE
    widen.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    widen.version = 3  # The first that takes float16.
    model.operatorCodes.append(widen)
    # Integers of the same bytes may share a buffer with them.
    halved: dict[int, int] = {}
    for graph in model.subgraphs:
        wide = {}
        for index, tensor in enumerate(list(graph.tensors)):
            data = model.buffers[tensor.buffer].data
            if tensor.type != schema.TensorType.FLOAT32 or data is None:
                continue
            if tensor.buffer not in halved:
                numbers = np.asarray(data, np.uint8).view(np.float32)
                buffer = schema.BufferT()
                buffer.data = numbers.astype(np.float16).view(np.uint8)
                halved[tensor.buffer] = len(model.buffers)
                model.buffers.append(buffer)
            result = copy.copy(tensor)
            result.buffer = 0  # The empty one: it is computed.
            tensor.buffer = halved[tensor.buffer]
            tensor.type = schema.TensorType.FLOAT16
            wide[index] = len(graph.tensors)
            graph.tensors.append(result)
        for operator in graph.operators:
            if operator.inputs is not None:
                operator.inputs = [wide.get(i, i) for i in operator.inputs]
        graph.outputs = [wide.get(i, i) for i in graph.outputs]
        for narrow, result in wide.items():
            operator = schema.OperatorT()
            operator.opcodeIndex = len(model.operatorCodes) - 1
            operator.inputs, operator.outputs = [narrow], [result]
            graph.operators.insert(0, operator)
    used = {t.buffer for graph in model.subgraphs for t in graph.tensors}
    for unused in halved.keys() - used:
        model.buffers[unused].data = None
    return compat.lite_content(model)


if __name__ == "__main__":
    main()
