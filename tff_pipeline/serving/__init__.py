"""A small REST server to try an exported model, as TensorFlow Serving asks.

`settings` and `layout` say what is served, `model` loads it, `tensor_json` and
`request` turn JSON into arrays and back, `batching` makes one TensorFlow call
of requests that wait, `app` answers, `protocol` keeps slow clients out, and
`command` is the process. TensorFlow is all it needs; TFF is never imported.
"""
