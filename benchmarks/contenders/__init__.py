"""Who takes part: one module each, with a function `run(workload, rounds)`."""

import dataclasses
import os
import sys
from typing import Optional

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


@dataclasses.dataclass(frozen=True)
class Contender:
    """A contender, as the process that runs the benchmark knows it.

    Attributes:
      name: As on the command line. The modules' names are longer: a folder of
        modules named as installed packages are would hide those, were it ever
        on the path.
      words: As in the tables.
      module: In this package.
      packages: Whose versions are reported.
      environment: The folder in `benchmarks/.venvs` with its Python, or `None`
        for that of the benchmark itself, the pipeline's.
    """

    name: str
    words: str
    module: str
    packages: tuple[str, ...]
    environment: Optional[str] = None

    @property
    def python(self) -> str:
        """The path of its Python."""
        if self.environment is None:
            return sys.executable
        folder = os.path.join(ROOT, "benchmarks", ".venvs", self.environment)
        return os.path.join(folder, "bin", "python")

    @property
    def installed(self) -> bool:
        """Whether its environment is there, and complete."""
        folder = os.path.dirname(os.path.dirname(self.python))
        marker = os.path.join(folder, ".installed")
        return self.environment is None or os.path.exists(marker)


_TENSORFLOW = ("tensorflow", "tensorflow-federated")
_ALL = (
    Contender("pipeline", "tff_pipeline", "pipeline", _TENSORFLOW),
    Contender("tff_shipped", "TFF as shipped", "tff_shipped", _TENSORFLOW),
    Contender("tf_loop", "TF loop", "tf_loop", _TENSORFLOW[:1]),
    Contender("jax_loop", "JAX loop", "jax_loop", ("jax",), "jax"),
    Contender("pfl", "pfl", "pfl_simulation", ("pfl", "torch"), "pfl"),
    Contender(
        "fedjax", "fedjax", "fedjax_algorithm", ("fedjax", "jax"), "fedjax"
    ),
    Contender(
        "flower",
        "Flower",
        "flower_simulation",
        ("flwr", "ray", "torch"),
        "flower",
    ),
)
CONTENDERS = {contender.name: contender for contender in _ALL}
