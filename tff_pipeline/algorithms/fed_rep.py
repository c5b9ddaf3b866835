"""FedRep: a client fits its last layers to the others first, then these.

Collins et al. 2021, "Exploiting shared representations for personalized
federated learning", algorithm 1. The representation phi travels, the head h_i
stays on client i. In a round the client first takes steps of h_i alone, here
`--local_epochs` of SGD, then its usual steps of phi, with h_i at rest; the
server averages the phi.
"""

from collections.abc import Sequence

from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_per import FedPer
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.local_layers import LocalLayers


class FedRep(FedPer):
    """FedPer whose clients train their own layers first, and alone."""

    def _how(self) -> str:
        epochs = self._config.algorithm.local_epochs
        return (
            f"a client trains them alone first (--local_epochs={epochs}), and "
            "then the others, by --client_epochs_per_round or "
            "--client_steps_per_round."
        )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the layers that a client keeps, and fits first.

        Args:
          context: The arguments of the algorithm.
        """
        algorithm = context.config.algorithm
        return [
            LocalLayers(
                self._initial,
                algorithm.personal_learning_rate,
                algorithm.local_epochs or 0,
            )
        ]
