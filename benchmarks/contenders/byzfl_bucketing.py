"""byzfl's rules and attack on a cell of `baselines.bucketing`.

Run by a Python that has `benchmarks/peers/byzfl.txt`, with the path of the
file that `baselines.byzfl_beside` writes. Its training loop is not used: it
knows neither these clients nor momentum that is not an average. The loop here
is that of Karimireddy, He, Jaggi 2022, algorithm 2.
"""

import json
import sys
import types

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.models import in_torch


def main() -> None:
    """Trains, and prints the accuracy as JSON."""
    # Its package of benchmarks is not used here, and imports torchvision, which
    # a build of torch for CPUs may not fit.
    sys.modules["byzfl.benchmark"] = types.ModuleType("byzfl.benchmark")
    import byzfl

    torch.set_num_threads(1)
    with np.load(sys.argv[1]) as file:
        given = dict(file)
    told = json.loads(str(given["settings"]))
    torch.manual_seed(told["seed"])
    draw = np.random.default_rng(told["seed"])
    model = in_torch.bucketing_cnn()
    in_torch.load(model, [given[f"weight_{i}"] for i in range(8)])
    x, y = _scaled(given["x"]), torch.tensor(given["y"]).long()
    clients = [given[f"client_{i}"] for i in range(told["clients"])]
    rule = byzfl.GeometricMedian(nu=told["nu"], T=told["iterations"])
    if told["bucket_size"]:
        buckets = byzfl.Bucketing(s=told["bucket_size"])
    flip = byzfl.SignFlipping()
    parameters = list(model.parameters())
    momenta: list = [None] * len(clients)
    model.train()
    for _ in range(told["rounds"]):
        sent = []
        for i, mine in enumerate(clients):
            batch = draw.choice(mine, told["batch_size"], replace=False)
            loss = F.cross_entropy(model(x[batch]), y[batch])
            found = torch.autograd.grad(loss, parameters)
            gradient = torch.cat([each.flatten() for each in found])
            if i in told["attackers"]:
                # Of several vectors it would flip the mean.
                sent.append(flip([gradient]))
                continue
            if momenta[i] is None:
                momenta[i] = gradient
            else:
                momenta[i] = told["momentum"] * momenta[i] + gradient
            sent.append(momenta[i])
        rows = torch.stack(sent)
        step = rule(buckets(rows) if told["bucket_size"] else rows)
        with torch.no_grad():
            parts = step.split([each.numel() for each in parameters])
            for each, part in zip(parameters, parts):
                each -= told["rate"] * part.view_as(each)
    print(json.dumps({"eval_accuracy": _accuracy(model, given)}))


def _scaled(images: np.ndarray) -> torch.Tensor:
    """Returns images [n, 1, 28, 28] with mean 0 and standard deviation 1."""
    scaled = (torch.tensor(images) / 255 - 0.1307) / 0.3081
    return scaled.permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def _accuracy(model: torch.nn.Module, given: dict) -> float:
    model.eval()
    images, labels = _scaled(given["test_x"]), torch.tensor(given["test_y"])
    right = sum(
        int((model(x).argmax(1) == y).sum())
        for x, y in zip(images.split(500), labels.split(500))
    )
    return right / len(labels)


if __name__ == "__main__":
    main()
