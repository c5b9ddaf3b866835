"""Every TFF name that is not public, in one place.

A TFF upgrade that moves one of them breaks this module's test, and nothing
else.
"""

import os

import tensorflow_federated as tff


def worker_binary() -> str:
    """The path of the executor service that the TFF wheel carries.

    Raises:
      RuntimeError: If this TFF has none there.
    """
    path = os.path.join(os.path.dirname(tff.__file__), "data", "worker_binary")
    if not os.access(path, os.X_OK):
        raise RuntimeError(
            f"{path} is missing; tff_pipeline is made for TFF 0.87.0, whose "
            f"Linux wheel has it, and this is TFF {tff.__version__}."
        )
    return path
