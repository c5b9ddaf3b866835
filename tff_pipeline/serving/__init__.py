"""Serves an exported model over REST, to try it, as TensorFlow Serving does.

`config.serving` has the settings, `layout` finds the model, `model` loads it,
`tensor_json` and `request` turn JSON into arrays and back, `batching` makes one
TensorFlow call of requests that wait, `app` answers, `protocol` keeps slow
clients out, and `command` is the process. TensorFlow is all it needs; TFF is
never imported.
"""
