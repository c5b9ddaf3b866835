"""Federated learning from a flagfile to a served Keras model.

The road, top to bottom: `flags` -> `config.ExperimentConfig` ->
`experiment.Experiment` -> `training` on a `runtime` -> a run directory ->
`export` and `reporting`. Nothing is imported here, so that flags are read and
refused before TensorFlow's seconds of start-up.
"""

__version__ = "0.1.0"
