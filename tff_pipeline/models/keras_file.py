"""Loads models from .keras files, with the layers of this package."""

import importlib

import tensorflow as tf

# Modules of this package whose layers a Keras file may name: they register
# themselves when imported, and need nothing of TFF. Losses are not loaded.
LAYERS = (
    "tff_pipeline.models.audio",
    "tff_pipeline.models.bag_of_words",
    "tff_pipeline.models.factorisation",
    "tff_pipeline.models.linear",
    "tff_pipeline.models.peephole",
    "tff_pipeline.models.standardize",
    "tff_pipeline.models.table",
    "tff_pipeline.models.tagger",
    "tff_pipeline.models.tied",
)


def load(path: str) -> tf.keras.Model:
    """Loads a model that is not compiled; code within the file is not run.

    Args:
      path: The file.

    Raises:
      Exception: Of any kind, as Keras raises it, if the file is damaged or has
        layers that are not known here.
    """
    for module in LAYERS:
        importlib.import_module(module)
    return tf.keras.models.load_model(path, compile=False)
