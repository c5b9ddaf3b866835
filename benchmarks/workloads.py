"""What every contender does: models, clients, data and first weights.

NumPy only, for it is imported in every peer's environment. The draws are those
of `np.random.RandomState`, whose streams NumPy promises never to change:
environments with different NumPys see the same bits.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

PIXELS = (28, 28, 1)
CLASSES = 10
# Units of the hidden layers. The "2NN" of McMahan et al. 2017, and one whose
# weights are so many, 19,184,010, that moving them is most of the work.
DENSE = {"2nn": (200, 200), "mlp20m": (4000, 4000)}
# McMahan's CNN.
FILTERS = (32, 64)
KERNEL = 5
HIDDEN = 512
# Both language models predict the next character.
VOCABULARY = 90
# McMahan's character LSTM.
LSTM_SEQUENCE = 80
LSTM_EMBEDDING = 8
LSTM_UNITS = 256
# A decoder of two pre-norm blocks with learned positions; Radford et al. 2019.
SEQUENCE = 64
WIDTH = 128
HEADS = 4
FEED_FORWARD = 512
BLOCKS = 2
EPSILON = 1e-5  # Of layer normalisation; frameworks differ in their default.


@dataclasses.dataclass(frozen=True)
class Workload:
    """One round's work; every client of the cohort takes one local epoch.

    Attributes:
      name: As on the command line.
      model: "2nn", "mlp20m", "cnn", "lstm" or "transformer".
      sizes: Examples of each client.
      batch_size: Examples a step; a client's last batch may be smaller.
      learning_rate: Of the clients' SGD; low enough that rounding, which
        differs between frameworks, does not grow to a visible difference in
        three rounds.
    """

    name: str
    model: str
    sizes: tuple[int, ...]
    batch_size: int
    learning_rate: float

    @property
    def words(self) -> str:
        """The clients and their data in a line."""
        least, most = min(self.sizes), max(self.sizes)
        examples = f"{least}" if least == most else f"{least} to {most}"
        return (
            f"{len(self.sizes)} clients with {examples} examples each, "
            f"batches of {self.batch_size}"
        )

    @property
    def is_language(self) -> bool:
        """Whether x and y are sequences of characters."""
        return self.model in ("lstm", "transformer")


def _ragged(clients: int, least: int, most: int) -> tuple[int, ...]:
    draw = np.random.RandomState(7)
    return tuple(int(n) for n in draw.randint(least, most + 1, size=clients))


_ALL = (
    Workload("2nn_10", "2nn", (600,) * 10, 10, 0.05),
    Workload("2nn_50_ragged", "2nn", _ragged(50, 60, 140), 20, 0.05),
    Workload("2nn_200", "2nn", (20,) * 200, 20, 0.05),
    Workload("2nn_1000", "2nn", (20,) * 1000, 20, 0.05),
    Workload("cnn_10_ragged", "cnn", _ragged(10, 60, 140), 20, 0.001),
    Workload("cnn_50_ragged", "cnn", _ragged(50, 60, 140), 20, 0.001),
    Workload("lstm_5", "lstm", (60,) * 5, 10, 0.3),
    Workload(
        "transformer_10_ragged", "transformer", _ragged(10, 10, 40), 10, 0.05
    ),
    Workload("mlp20m_10", "mlp20m", (20,) * 10, 20, 0.01),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


def client_data(workload: Workload) -> list[tuple[np.ndarray, np.ndarray]]:
    """(x, y) of every client.

    Images: x float32 [n, 784] or [n, 28, 28, 1] in -1..1, y int32 [n].
    Language: x and y int32 [n, sequence], y being x a character on.
    """
    draw = np.random.RandomState(0)
    clients = []
    if workload.is_language:
        length = LSTM_SEQUENCE if workload.model == "lstm" else SEQUENCE
        for size in workload.sizes:
            # As in real text, some characters are far more frequent.
            text = VOCABULARY * draw.rand(size, length + 1) ** 3
            text = text.astype(np.int32)
            clients.append((text[:, :-1].copy(), text[:, 1:].copy()))
        return clients
    # A prototype a class, under noise: something that can be learned. Of mean
    # 0, for without it training is less stable, and rounding errors grow.
    prototypes = draw.rand(CLASSES, int(np.prod(PIXELS))) - 0.5
    shape = PIXELS if workload.model == "cnn" else [prototypes.shape[1]]
    for size in workload.sizes:
        y = draw.randint(CLASSES, size=size).astype(np.int32)
        x = prototypes[y] + draw.rand(size, prototypes.shape[1]) - 0.5
        clients.append((x.astype(np.float32).reshape(size, *shape), y))
    return clients


def initial_weights(workload: Workload) -> list[np.ndarray]:
    """The first weights, float32, in the order and the layouts of Keras."""
    draw = np.random.RandomState(1)

    def glorot(*shape: int, fans: Sequence[int] = ()) -> np.ndarray:
        # Of a kernel whose last axis alone goes out, unless `fans` says more.
        fan_in, fan_out = fans or (int(np.prod(shape[:-1])), shape[-1])
        limit = np.sqrt(6 / (fan_in + fan_out))
        return draw.uniform(-limit, limit, size=shape).astype(np.float32)

    def dense(inputs: int, *units: int) -> list[np.ndarray]:
        weights = []
        for outputs in units:
            weights += [glorot(inputs, outputs), _zeros(outputs)]
            inputs = outputs
        return weights

    if workload.model in DENSE:
        return dense(784, *DENSE[workload.model], CLASSES)
    if workload.model == "cnn":
        weights, channels = [], PIXELS[-1]
        for filters in FILTERS:
            kernel = glorot(KERNEL, KERNEL, channels, filters)
            weights += [kernel, _zeros(filters)]
            channels = filters
        return weights + dense(7 * 7 * channels, HIDDEN, CLASSES)
    if workload.model == "lstm":
        weights = [glorot(VOCABULARY, LSTM_EMBEDDING)]
        for inputs in (LSTM_EMBEDDING, LSTM_UNITS):
            bias = _zeros(4 * LSTM_UNITS)
            bias[LSTM_UNITS : 2 * LSTM_UNITS] = 1  # The forget gate's.
            weights += [
                glorot(inputs, 4 * LSTM_UNITS),
                glorot(LSTM_UNITS, 4 * LSTM_UNITS),
                bias,
            ]
        return weights + dense(LSTM_UNITS, VOCABULARY)

    norm = [np.ones(WIDTH, np.float32), _zeros(WIDTH)]
    size = WIDTH // HEADS
    square = (WIDTH, WIDTH)
    weights = [glorot(VOCABULARY, WIDTH), glorot(SEQUENCE, WIDTH)]
    for _ in range(BLOCKS):
        weights += norm
        for _ in ("query", "key", "value"):
            kernel = glorot(WIDTH, HEADS, size, fans=square)
            weights += [kernel, _zeros(HEADS, size)]
        weights += [glorot(HEADS, size, WIDTH, fans=square), _zeros(WIDTH)]
        weights += norm + dense(WIDTH, FEED_FORWARD, WIDTH)
    return weights + norm + dense(WIDTH, VOCABULARY)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)
