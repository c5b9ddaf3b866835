"""FedSGD: one step a round, along the gradient of all the cohort's examples.

McMahan et al. 2017, section 2: a client sends the gradient of all its examples
at the server's weights. It is federated averaging in which a client takes one
step with all its examples as the batch; the server's optimizer takes what comes
of it, so `--server_optimizer` may be any.
"""

import dataclasses
from collections.abc import Sequence

from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runtime import compat

# A batch that has all examples of any client.
_ALL = 1_000_000_000


class FedSgd(FedAvg):
    """Federated averaging of one step with all of a client's examples."""

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses private examples.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If examples are private.
        """
        refusals.refuse_private_examples(
            config, "a step of all examples has no batch that is drawn by lot"
        )

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process.

        Args:
          context: The arguments of the algorithm. Of the clients' options
            their batch, steps and epochs have no say.
        """
        config = context.config
        clients = dataclasses.replace(
            config.clients,
            batch_size=_ALL,
            steps_per_round=None,
            epochs_per_round=1,
        )
        changed: ExperimentConfig = dataclasses.replace(config, clients=clients)
        super().__init__(dataclasses.replace(context, config=changed))

    @property
    def notes(self) -> Sequence[str]:
        """Says which flags of clients mean nothing here."""
        return [
            "fed_sgd: a client takes one step, with all its examples; "
            "--client_batch_size, --client_epochs_per_round and "
            "--client_steps_per_round have no say."
        ]
