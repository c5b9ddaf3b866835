"""Writes requests with which TF Serving warms a model up.

tensorflow.org/tfx/serving/saved_model_warmup: prediction logs in
`assets.extra/tf_serving_warmup_requests`, replayed before the model is served.
"""

import os

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tff_pipeline.export.replay import Replay

FILE = "tf_serving_warmup_requests"
# Batches of one and of more, whose kernels may differ.
_SIZES = (1, 8)


def write(folder: str, replayed: Replay) -> None:
    """Writes warm-up requests for `serving_default`.

    Args:
      folder: The `assets.extra/` of the SavedModel.
      replayed: The replay that was recorded at export; its inputs are sent.
    """
    inputs = replayed["serving_default"]["inputs"]
    path = os.path.join(folder, FILE)
    with tf.io.TFRecordWriter(path) as writer:
        for size in _SIZES:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = "serving_default"
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(
                    tf.make_tensor_proto(value[:size])
                )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
