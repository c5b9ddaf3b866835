"""A finisher of one's own: a summary of the run for other programs."""

import json
import os


def summary(context):
    """Writes `summary.json`: the rounds, the state's digest, the model's size.

    Args:
      context: A `training.finish.FinishContext`.
    """
    content = {
        "rounds": context.round_number,
        "state": context.state_digest,
        "parameters": sum(w.size for w in context.weights.trainable),
    }
    path = os.path.join(context.directory.path, "summary.json")
    with open(path, "w") as file:
        json.dump(content, file)
