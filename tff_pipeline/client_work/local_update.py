"""Training of one client on its own, for a model that goes nowhere."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.client_work import empty_model
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.update import build_client_update
from tff_pipeline.config import ClientConfig
from tff_pipeline.optimizers.build import build_optimizer


class LocalUpdate:
    """A client's round outside of a round, as evaluation needs it.

    Its hooks keep no state and have no value at the server.
    """

    def __init__(
        self,
        model_fn: empty_model.ModelFn,
        options: ClientConfig,
        hooks: Sequence[ClientHook] = (),
    ):
        """Builds the computation.

        Args:
          model_fn: Makes the model; TFF calls it in its graphs.
          options: The options of clients: optimizer, batch size, steps.
          hooks: The client hooks, in order.
        """
        self._update = build_client_update(
            model_fn, build_optimizer(options.optimizer), options, hooks
        )

    def _result(
        self, weights: tff.learning.models.ModelWeights, data: Any
    ) -> Any:
        # The block may have what only hooks of a round need.
        (block,) = data
        names = tff.structure.name_list(self._update.data_type.element)
        needed = collections.OrderedDict((name, block[name]) for name in names)
        result, *_ = self._update.computation(
            {"weights": weights, "data": [needed]}
        )
        return result.update

    def extras(
        self, weights: tff.learning.models.ModelWeights, data: Any
    ) -> Mapping[str, Any]:
        """Returns what the hooks added to the message, by their names.

        Args:
          weights: The weights that the client starts from.
          data: The client's data, as `client_block` makes them.
        """
        return dict(self._result(weights, data))

    def trained(
        self, weights: tff.learning.models.ModelWeights, data: Any
    ) -> tff.learning.models.ModelWeights:
        """Returns the weights after the client's steps.

        Args:
          weights: The weights that it starts from.
          data: The client's data, as `client_block` makes them.
        """
        update = self._result(weights, data)
        trained = [
            start - change for start, change in zip(weights.trainable, update)
        ]
        return tff.learning.models.ModelWeights(trained, weights.non_trainable)
