"""Attacks beside aggregators, for the 2NN on MNIST by writer."""

from collections.abc import Mapping, Sequence

from benchmarks.baselines.group import Group, Measure, Recall, mean, table
from benchmarks.baselines.training import Run, last
from tff_pipeline import registry

_FLAGFILE = "attacks/mnist_2nn_writers.flags"
_FIGURE, _SUCCESS = "eval_accuracy", "eval_attack_success"
# An attack's name -> what its attackers are told besides.
ATTACKS: Mapping[str, Sequence[str]] = {
    "none": (),
    **{name: (f"--attack={name}",) for name in registry.ATTACKS},
}
RULES: Mapping[str, Sequence[str]] = {
    "mean": (),
    "clip+mean": ("--clip_norm=1",),
    "median": (),
    "trimmed_mean": (),
    "krum": (),
    "multi_krum": (),
    "bulyan": (),
    "geometric_median": (),
    "centered_clipping": ("--centered_clip_norm=1",),
    "nnm+trimmed_mean": (),
    "bucketing+geometric_median": (),
}


def _run(attack: str, rule: str) -> Run:
    figures = [_FIGURE, *([_SUCCESS] if attack == "backdoor" else [])]
    return Run(
        f"{attack}, {rule}",
        _FLAGFILE,
        last(*figures),
        [f"--aggregator={rule}", *RULES[rule], *ATTACKS[attack]],
        "mnist",
    )


class Hostile(Group):
    """Test accuracy after 60 rounds in which a fifth of clients attack."""

    title = "Attacks and aggregators"
    page = "robustness.md"

    def train(self, measure: Measure, seeds: int) -> None:
        """Trains each attack against each aggregator.

        Args:
          measure: Trains one run with one seed.
          seeds: The number of seeds.
        """
        for seed in range(seeds):
            for attack in ATTACKS:
                for rule in RULES:
                    measure(_run(attack, rule), seed)

    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words.

        Args:
          recall: Finds figures.
        """

        def cell(attack: str, rule: str, figure: str = _FIGURE) -> str:
            return f"{100 * _mean_of(recall, attack, rule, figure):.1f}"

        rows = [
            [f"`{attack}`", *(cell(attack, rule) for rule in RULES)]
            for attack in ATTACKS
        ]
        rows.append(
            [
                "success of `backdoor`",
                *(cell("backdoor", rule, _SUCCESS) for rule in RULES),
            ]
        )
        header = ["attack", *(f"`{rule}`" for rule in RULES)]
        seeds = len(recall("none, mean", _FIGURE))
        which = (
            "one seed (`--seeds=1`)"
            if seeds == 1
            else f"means over {seeds} seeds"
        )
        setting = _SETTING.format(which=which)
        return [setting, table(header, rows), _COST, _costs(recall)]


def _mean_of(
    recall: Recall, attack: str, rule: str, figure: str = _FIGURE
) -> float:
    return mean(recall(f"{attack}, {rule}", figure))


def _costs(recall: Recall) -> str:
    """Draws a table of what each rule costs, and what it withstands."""
    clean = {rule: _mean_of(recall, "none", rule) for rule in RULES}
    rows = []
    for rule in RULES:
        under = {
            attack: _mean_of(recall, attack, rule)
            for attack in ATTACKS
            if attack != "none"
        }
        worst = min(under, key=lambda attack: under[attack])
        rows.append(
            [
                f"`{rule}`",
                f"{100 * clean[rule]:.1f}",
                f"{100 * (clean[rule] - clean['mean']):+.1f}",
                f"{100 * under[worst]:.1f} (`{worst}`)",
                f"{100 * _mean_of(recall, 'backdoor', rule, _SUCCESS):.0f}",
                f"{_mean_of(recall, 'none', rule, 'seconds'):.0f}",
            ]
        )
    header = [
        *("aggregator", "without attackers", "beside `mean`"),
        *("least under attack", "backdoor works", "seconds of a run"),
    ]
    return table(header, rows)


_SETTING = """\
The 2NN on MNIST by writer (`configs/attacks/mnist_2nn_writers.flags`): 539
writers, of whom 108 attack, 25 a round, 60 rounds, test accuracy in % on
writers that never trained, {which}. Aggregators are told of 5 attackers a
round, and in two rounds of five there are more."""
_COST = """\
What each costs where nobody attacks, and the least that it reaches where
somebody does; accuracies and the share of images with the pattern that are
taken for the attackers' class in %, their difference in points, and the seconds
of a run with its start and its evaluations."""
