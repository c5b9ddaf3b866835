"""Answers predict requests."""

from tff_pipeline.serving import request
from tff_pipeline.serving.answering import LARGE, Answering
from tff_pipeline.serving.batching import Batcher
from tff_pipeline.serving.bodies import Bodies
from tff_pipeline.serving.model import Model


class Predict(Answering):
    """Answers `:predict`, as an ASGI application, for URLs known to be that."""

    def __init__(self, model: Model, batcher: Batcher, bodies: Bodies):
        """Connects the parts of an answer.

        Args:
          model: The loaded model.
          batcher: The batcher that calls it.
          bodies: The limits on requests' bodies.
        """
        super().__init__(bodies)
        self._signatures = model.signatures
        self._batcher = batcher

    async def _answer(self, body: bytes) -> bytes:
        asked = await self._aside(
            len(body) > LARGE,
            lambda: request.decode(body, self._signatures),
        )
        outputs = await self._batcher.run(asked)
        return await self._aside(
            sum(array.nbytes for array in outputs.values()) > LARGE,
            lambda: request.encode(outputs, asked),
        )
