"""TensorFlow's converter to TensorFlow Lite, in a process of its own.

python -m tff_pipeline.export.lite PRECISION FOLDER SIGNATURE SAMPLES OUTPUT

What it is given can end the process; see `tflite`, which calls it.
"""

import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf


def main() -> None:
    precision, path, signature, samples, output = sys.argv[1:]
    converter = tf.lite.TFLiteConverter.from_saved_model(
        path, signature_keys=[signature]
    )
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":

        def calibration() -> Iterator[dict[str, np.ndarray]]:
            with np.load(samples) as archive:
                (name,) = archive.files
                for row in archive[name]:
                    yield {name: row[None]}

        converter.representative_dataset = calibration
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
    with open(output, "wb") as file:
        file.write(converter.convert())


if __name__ == "__main__":
    main()
