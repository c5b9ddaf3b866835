"""What a client hook makes of a message, outside of a client's work."""

import tensorflow as tf

from tff_pipeline.client_work.hooks import Finished, Message


def sent_by(hook, update, key):
    """The update that leaves a client whose block has this key."""
    message = Message(update, tf.constant(1.0), {})
    client = Finished(
        update,
        {"key": key},
        tf.constant(1),
        tf.constant(0.1),
        (),
        tf.constant(True),
    )
    message, _ = hook.message(message, (), client)
    return message.update
