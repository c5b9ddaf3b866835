"""Keeps the start-up noise of TensorFlow, gRPC and jax off the screen.

Must be called before TensorFlow is imported: its C++ side reads the
environment once, when it is loaded.
"""

import logging
import os
import warnings

# The messages come of how the wheels were built, and users can do nothing about
# them: "Unable to register cuDNN factory", "rebuild TensorFlow with the
# appropriate compiler flags".
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "NONE",
    "ABSL_MIN_LOG_LEVEL": "3",
}


def silence() -> None:
    """Turns off messages below errors; exceptions are not touched.

    Settings of the environment that are there already are left as they are.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
