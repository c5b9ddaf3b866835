"""Configures the algorithm: what clients and server compute in a round."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import registry
from tff_pipeline.config import fields

_LOCAL = {
    "local_layers": None,
    "local_epochs": 1,
    "personal_learning_rate": None,
}
# Options that an algorithm takes, with defaults; all others refuse them. An
# algorithm that is not listed takes none.
ALGORITHM_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "fed_prox": {"fed_prox_mu": 0.01},
    "fed_nova": {"fed_prox_mu": 0.0},
    "scaffold": {"scaffold_option": 2},
    "fed_dyn": {"fed_dyn_alpha": 0.1},
    "mime": {"mime_momentum": 0.9},
    "mime_lite": {"mime_momentum": 0.9},
    "fine_tune": {"local_epochs": 1, "personal_learning_rate": None},
    "fed_per": {"local_layers": None, "personal_learning_rate": None},
    "fed_rep": _LOCAL,
    "fed_recon": _LOCAL,
    "ditto": {"ditto_lambda": 1.0, "personal_learning_rate": None},
    "ifca": {"num_clusters": 2},
    "fed_buff": {"buffer_size": None},
    "gossip": {"gossip_topology": "ring", "gossip_degree": None},
}
# Algorithms in which every client counts the same.
COUNT_ALIKE = ("fed_dyn", "fed_buff", "gossip")
# What is evaluated centrally and exported, where the server trains no model.
MODEL_OF_ALL: Mapping[str, str] = {
    "fed_per": "the layers that travel, with the mean of those that clients "
    "keep",
    "fed_rep": "the layers that travel, with the mean of those that clients "
    "keep",
    "fed_recon": "the layers that travel, with those that all clients begin "
    "with",
    "ifca": "the model with the largest share of the last cohort",
    "gossip": "the mean of all clients' models",
}
# Algorithms whose clients may step with momentum that they keep.
KEEP_MOMENTUM = ("fed_avg", "fed_sgd", "fed_prox")
# Who is whose neighbour, by name; anything else is a file's path.
TOPOLOGIES = ("ring", "torus", "random_regular", "complete")
_TOPOLOGY_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "random_regular": {"gossip_degree": 4},
}
_OPTION = fields.Allowed(int, "1 or 2", lambda v: v in (1, 2))

_CLUSTERS = fields.Allowed(
    int, "a whole number from 2 to 100", lambda v: 2 <= v <= 100
)

_DEGREE = fields.Allowed(
    int, "a whole number from 2 to 100", lambda v: 2 <= v <= 100
)


@dataclasses.dataclass(frozen=True)
class AlgorithmConfig(fields.Group):
    """Options of the algorithm; those that it does not take stay `None`.

    Its fields are flags, whose help says what they mean.

    Raises:
      ConfigError: If a value is not allowed, or the algorithm does not take an
        option that is set.
    """

    name: str = fields.field(
        "fed_avg",
        fields.known(registry.ALGORITHMS),
        "Chooses the algorithm that clients and server run: fed_avg averages "
        "what clients learned (McMahan et al. 2017); fed_sgd takes one step of "
        "all examples; fed_prox keeps clients near the server's model; "
        "fed_nova counts progress a step; scaffold corrects steps by control "
        "variates; fed_dyn bends clients' losses; mime and mime_lite use the "
        "server's momentum on clients; fine_tune trains on each client before "
        "its evaluation; fed_per, fed_rep and fed_recon leave layers on "
        "clients; ditto gives each client a model of its own, and ifca each "
        "cluster of clients; fed_buff steps whenever some updates are in; "
        "gossip has no server, and averages models of neighbours.",
        flag="algorithm",
    )
    fed_prox_mu: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sets the weight of the term that keeps clients near the server's "
        "model, mu / 2 times the squared distance; 0 is without it. Default: "
        "0.01 for fed_prox, 0 for fed_nova. Only for these.",
    )
    scaffold_option: Optional[int] = fields.field(
        None,
        _OPTION,
        "Chooses how a client's control variate is set: 1 (the gradient of all "
        "its examples, one pass more) or 2 (from its steps). Default: 2. Only "
        "for scaffold.",
    )
    fed_dyn_alpha: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the weight of the term that bends clients' losses. Default: 0.1. "
        "Only for fed_dyn.",
    )
    mime_momentum: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the share b of the server's momentum in each step, along "
        "(1 - b) times the gradient plus b times the momentum. Default: 0.9. "
        "Only for mime and mime_lite.",
    )

    local_layers: Optional[str] = fields.field(
        None,
        fields.PATTERN,
        "Chooses the weights that stay on clients, by a regular expression "
        "that is found in their names. Default: the last layer. Only for "
        "fed_per, fed_rep and fed_recon.",
    )
    local_epochs: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets the epochs in which a client trains what is its own: for "
        "fed_rep and fed_recon its layers, before the others; for fine_tune "
        "the whole model, before its evaluation. Default: 1.",
    )
    personal_learning_rate: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the learning rate of what is a client's own. Default: "
        "--client_learning_rate. Only for fine_tune, fed_per, fed_rep, "
        "fed_recon and ditto.",
    )
    ditto_lambda: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sets the weight of the term that keeps a client's own model near the "
        "server's; 0 is local training. Default: 1. Only for ditto.",
    )
    num_clusters: Optional[int] = fields.field(
        None,
        _CLUSTERS,
        "Sets the number of models, of which each client trains the one that "
        "fits it best; all travel to it. Default: 2. Only for ifca.",
    )

    buffer_size: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets the number of updates of which the server makes a step, while "
        "--clients_per_round clients are under way. Default: as many. Only "
        "for fed_buff.",
    )
    gossip_topology: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Chooses whose neighbours clients are: ring, torus (a grid whose "
        "opposite sides are joined), random_regular (drawn from the seed), "
        "complete (all of all), or a CSV file with a line a,b or a,b,weight "
        "for each pair of clients' ids. Default: ring. Only for gossip.",
    )
    gossip_degree: Optional[int] = fields.field(
        None,
        _DEGREE,
        "Sets the number of each client's neighbours. Default: 4. Only for "
        "--gossip_topology=random_regular.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("name", ALGORITHM_OPTIONS)
        self.settle("gossip_topology", _TOPOLOGY_OPTIONS)

    def files(self) -> dict[str, str]:
        """Returns the paths of files that the algorithm reads, by flag."""
        if self.gossip_topology in (None, *TOPOLOGIES):
            return {}
        return {"gossip_topology": str(self.gossip_topology)}
