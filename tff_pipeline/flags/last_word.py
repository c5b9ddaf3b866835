"""Gives the command line the last word over options of what it replaces.

A flagfile says `--partition=dirichlet` and `--dirichlet_alpha=1`; whoever puts
`--partition=iid` after it means the clients to be equal, not to be told that
the flagfile's `--dirichlet_alpha` is not used with it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tff_pipeline import config, registry
from tff_pipeline.config.aggregation import (
    AGGREGATOR_OPTIONS,
    names_in_chain,
)
from tff_pipeline.config.algorithm import ALGORITHM_OPTIONS
from tff_pipeline.config.compression import COMPRESSION_OPTIONS
from tff_pipeline.config.data import HOLD_OUT_OPTIONS, PARTITION_OPTIONS
from tff_pipeline.config.privacy import PRIVACY_OPTIONS
from tff_pipeline.config.pruning import PRUNE_OPTIONS
from tff_pipeline.flags.flagfile import Argument

# Flags of which one takes the place of the other.
_ONE_OF = (
    ("client_epochs_per_round", "client_steps_per_round"),
    ("split_column", "test_fraction"),
    ("dp_target_epsilon", "dp_noise_multiplier"),
)


def _listed(
    *tables: Mapping[str, Mapping[str, Any]], prefix: str = ""
) -> Callable[[str], set[str]]:
    return lambda name: {
        f"{prefix}{option}"
        for table in tables
        for option in table.get(name, {})
    }


def _of_optimizer(side: str) -> Callable[[str], set[str]]:
    return lambda name: {
        config.optimizer_flag(side, option, name)
        for option in config.OPTIMIZER_OPTIONS.get(name, {})
    }


def _of_task(name: str) -> set[str]:
    known = name in registry.TASKS
    return set(registry.task_entry(name).options) if known else set()


def _of_chain(chain: str) -> set[str]:
    of_name = _listed(AGGREGATOR_OPTIONS, PRIVACY_OPTIONS)
    return set().union(*map(of_name, names_in_chain(chain)))


def _of_compression(name: str) -> set[str]:
    options = COMPRESSION_OPTIONS.get(name, {})
    return {f"compression_{option}" for option in options}


# A flag that chooses -> all that it may choose, and the flags that one takes.
_CHOICES: Mapping[
    str, tuple[Collection[str], Callable[[str], Collection[str]]]
] = {
    "task": (registry.TASKS, _of_task),
    "partition": (
        registry.PARTITIONS,
        _listed(PARTITION_OPTIONS, HOLD_OUT_OPTIONS),
    ),
    "sampling": (registry.SAMPLERS, _listed(config.SAMPLING_OPTIONS)),
    "algorithm": (registry.ALGORITHMS, _listed(ALGORITHM_OPTIONS)),
    "aggregator": (
        [*registry.AGGREGATORS, *registry.AGGREGATOR_STEPS],
        _of_chain,
    ),
    "compression": (registry.COMPRESSORS, _of_compression),
    "prune_schedule": (
        ("polynomial", "once"),
        _listed(PRUNE_OPTIONS, prefix="prune_"),
    ),
    "runtime": (registry.RUNTIMES, _listed(config.RUNTIME_OPTIONS)),
    **{
        f"{side}_optimizer": (config.OPTIMIZER_OPTIONS, _of_optimizer(side))
        for side in ("client", "server")
    },
    **{
        f"{side}_lr_schedule": (
            config.SCHEDULE_OPTIONS,
            _listed(config.SCHEDULE_OPTIONS, prefix=f"{side}_"),
        )
        for side in ("client", "server")
    },
}


def settled(
    arguments: Sequence[Argument], chosen: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Drops options of flagfiles whose owner the command line replaced.

    Example:
      >>> arguments = [
      ...     Argument("--partition=dirichlet", "a.flags"),
      ...     Argument("--dirichlet_alpha=1.0", "a.flags"),
      ...     Argument("--num_clients=20", "a.flags"),
      ...     Argument("--partition=iid"),
      ... ]
      >>> kept, notes = settled(arguments, {"partition": "iid"})
      >>> kept
      ['--partition=dirichlet', '--num_clients=20', '--partition=iid']
      >>> notes
      ['--partition=iid replaces --dirichlet_alpha=1.0 of a.flags']

    Args:
      arguments: The command line, its flagfiles read.
      chosen: Flag name -> value of what the command line itself sets, in so far
        as no file after it says something else.

    Returns:
      (the arguments that stay, a note for each that does not).
    """
    in_files = {
        _name(each.text): each.text.partition("=")[2]
        for each in arguments
        if each.file is not None
    }
    # Option -> the flag of the command line that leaves no place for it.
    without: dict[str, str] = {}
    for flag, value in chosen.items():
        for pair in _ONE_OF:
            if flag in pair:
                without |= {other: flag for other in pair if other != flag}
        if flag not in _CHOICES or value == in_files.get(flag):
            continue
        names, options_of = _CHOICES[flag]
        if all(part in names for part in names_in_chain(value)):
            given_up = {each for name in names for each in options_of(name)}
            for option in given_up - set(options_of(value)):
                without.setdefault(option, flag)
    kept, notes = [], []
    for text, file in arguments:
        name = _name(text)
        if file is None or name not in without or name in chosen:
            kept.append(text)
            continue
        flag = without[name]
        notes.append(f"--{flag}={chosen[flag]} replaces {text} of {file}")
    return kept, notes


def _name(argument: str) -> str:
    return argument.partition("=")[0].lstrip("-")
