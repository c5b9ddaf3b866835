"""All groups by name, in the order of the page."""

from benchmarks.baselines.bucketing import Bucketing
from benchmarks.baselines.buffered import Buffered
from benchmarks.baselines.byzfl_beside import ByzflBeside
from benchmarks.baselines.clusters import Clusters
from benchmarks.baselines.dropout import DropOut
from benchmarks.baselines.group import Group
from benchmarks.baselines.heart import Heart
from benchmarks.baselines.hostile import Hostile
from benchmarks.baselines.long_tail import LongTail
from benchmarks.baselines.personal import Personal
from benchmarks.baselines.silos import Silos
from benchmarks.baselines.similarity import ZeroSimilarity
from benchmarks.baselines.stragglers import Stragglers

GROUPS: dict[str, Group] = {
    "heart": Heart(),
    "scaffold": ZeroSimilarity(),
    "stragglers": Stragglers(),
    "ifca": Clusters(),
    "personal": Personal(),
    "dropout": DropOut(),
    "fed_buff": Buffered(),
    "silos": Silos(),
    "hostile": Hostile(),
    "bucketing": Bucketing(),
    "byzfl": ByzflBeside(),
    "long_tail": LongTail(),
}
