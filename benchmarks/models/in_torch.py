"""The workloads' models in PyTorch, for pfl and Flower."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import workloads
from benchmarks.workloads import Workload


def build(workload: Workload) -> nn.Module:
    """The model, with the workload's first weights."""
    if workload.model in workloads.DENSE:
        model = _dense(784, *workloads.DENSE[workload.model], workloads.CLASSES)
    else:
        model = {"cnn": _cnn, "lstm": _LSTM, "transformer": _Transformer}[
            workload.model
        ]()
    load(model, workloads.initial_weights(workload))
    return model


def tensors(
    workload: Workload, x: np.ndarray, y: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """A client's data as the model wants them."""
    if workload.model == "cnn":
        # [n, channels, height, width] in the memory layout of NumPy's.
        return torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(y).long()
    return torch.tensor(x), torch.tensor(y).long()


def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of a batch."""
    return F.cross_entropy(model(x).flatten(0, -2), y.flatten())


@torch.no_grad()
def load(model: nn.Module, weights: Sequence[np.ndarray]) -> None:
    """Sets the weights, given in the order and the layouts of Keras."""
    for view, value in zip(_keras_views(model), weights):
        view.copy_(torch.tensor(value))


@torch.no_grad()
def weights(model: nn.Module) -> list[np.ndarray]:
    """The weights in the order and the layouts of Keras."""
    return [view.numpy().copy() for view in _keras_views(model)]


def _keras_views(model: nn.Module) -> Iterator[torch.Tensor]:
    """Views of the parameters in the order and the layouts of Keras."""
    if isinstance(model, nn.Linear):
        yield from (model.weight.T, model.bias)
    elif isinstance(model, nn.Conv2d):
        yield from (model.weight.permute(2, 3, 1, 0), model.bias)
    elif isinstance(model, nn.LSTM):
        for layer in range(model.num_layers):
            yield getattr(model, f"weight_ih_l{layer}").T
            yield getattr(model, f"weight_hh_l{layer}").T
            yield getattr(model, f"bias_ih_l{layer}")
    elif isinstance(model, _Attention):
        heads = (workloads.HEADS, -1)
        kernels, biases = _keras_views(model.inward)
        for kernel, bias in zip(kernels.chunk(3, 1), biases.chunk(3)):
            yield from (kernel.unflatten(1, heads), bias.unflatten(0, heads))
        kernel, bias = _keras_views(model.outward)
        yield from (kernel.unflatten(0, heads), bias)
    else:
        # Of the modules here, none has both children and parameters.
        yield from model.parameters(recurse=False)
        for child in model.children():
            yield from _keras_views(child)


def _dense(*units: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(units, units[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class _ChannelsLast(nn.Module):
    """Flattens as Keras does, with the channels as the fastest axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def _cnn() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = workloads.PIXELS[-1]
    for filters in workloads.FILTERS:
        layers.append(
            nn.Conv2d(channels, filters, workloads.KERNEL, padding="same")
        )
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = filters
    dense = _dense(7 * 7 * channels, workloads.HIDDEN, workloads.CLASSES)
    return nn.Sequential(*layers, _ChannelsLast(), dense)


def bucketing_cnn() -> nn.Sequential:
    """The network of `tasks.mnist.bucketing_cnn`, of images that are scaled."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Dropout2d(0.25), _ChannelsLast()),
        *(nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 10),
    )


class _LSTM(nn.Module):
    """Characters to logits."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(
            workloads.VOCABULARY, workloads.LSTM_EMBEDDING
        )
        self.layers = nn.LSTM(
            workloads.LSTM_EMBEDDING,
            workloads.LSTM_UNITS,
            num_layers=2,
            batch_first=True,
        )
        self.logits = nn.Linear(workloads.LSTM_UNITS, workloads.VOCABULARY)
        # PyTorch adds two biases where Keras has one. Trained, they would be
        # one bias with twice the learning rate.
        for name, parameter in self.layers.named_parameters():
            if name.startswith("bias_hh"):
                nn.init.zeros_(parameter)
                parameter.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(self.layers(self.embedding(x))[0])


class _Embeddings(nn.Module):
    """Of the characters and of their positions, added."""

    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(workloads.VOCABULARY, workloads.WIDTH)
        self.positions = nn.Embedding(workloads.SEQUENCE, workloads.WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.characters(x) + self.positions.weight


class _Attention(nn.Module):
    """Causal; queries, keys and values come from one product."""

    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(workloads.WIDTH, 3 * workloads.WIDTH)
        self.outward = nn.Linear(workloads.WIDTH, workloads.WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part.unflatten(2, (workloads.HEADS, -1)).transpose(1, 2)
            for part in self.inward(x).chunk(3, 2)
        )
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.outward(seen.transpose(1, 2).flatten(2))


class _Residual(nn.Module):
    """Adds what `inner` makes of the normed input."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(workloads.WIDTH, eps=workloads.EPSILON)
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(self.norm(x))


class _Transformer(nn.Sequential):
    """Characters to logits."""

    def __init__(self):
        width = workloads.WIDTH
        layers: list[nn.Module] = [_Embeddings()]
        for _ in range(workloads.BLOCKS):
            feed_forward = nn.Sequential(
                nn.Linear(width, workloads.FEED_FORWARD),
                nn.GELU(),
                nn.Linear(workloads.FEED_FORWARD, width),
            )
            layers += [_Residual(_Attention()), _Residual(feed_forward)]
        super().__init__(
            *layers,
            nn.LayerNorm(width, eps=workloads.EPSILON),
            nn.Linear(width, workloads.VOCABULARY),
        )
