"""The report of an audit, as sentences and a table."""

from collections.abc import Mapping
from typing import Any

_RARE = 0.01  # A p-value below which labels are said to differ.


def in_words(report: Mapping[str, Any]) -> str:
    """Returns the text of an audit's report.

    Args:
      report: The report that `commands.audit.audit` returns.
    """
    members, others = report["members"], report["non_members"]
    clients = report["clients"]
    lines = [
        f"{report['task']}, round {report['round']}: membership inference",
        "",
        f"{'members':<22}{members['examples']:>9,}  mean loss "
        f"{members['mean_loss']:.4f}, of {clients['read']:,} clients of the "
        f"{clients['took_part']:,} that took part",
        f"{'non-members':<22}{others['examples']:>9,}  mean loss "
        f"{others['mean_loss']:.4f}, of the central test set",
        "",
        f"{'attack':<22}{'AUC':>7}{'95% interval':>18}{'advantage':>12}"
        f"{'95% interval':>18}{'TPR at 1% FPR':>16}",
    ]
    attacks = [*report["attacks"], report["without_model"]]
    lines += [_row(attack["name"], attack) for attack in attacks]
    lines.append("")
    lines += [f"  {attack['name']}: {attack['words']}" for attack in attacks]
    if report["per_class"]:
        lines += ["", "The threshold attack, class by class"]
        lines += [
            _row(f"class {each['class']}", each) for each in report["per_class"]
        ]
    lines += ["", report["meaning"]]
    if report["differences"]:
        lines += ["", "Members and non-members differ anyway:"]
        lines += [f"  {sentence}" for sentence in report["differences"]]
    return "\n".join(lines)


def _row(name: str, figures: Mapping[str, Any]) -> str:
    def interval(which: str) -> str:
        low, high = figures[f"{which}_interval"]
        return f"{low:.3f} to {high:.3f}"

    low_rate = figures["low_rate"]
    shown = "-" if low_rate is None else f"{low_rate:.3f}"
    return (
        f"{name:<22}{figures['auc']:>7.3f}{interval('auc'):>18}"
        f"{figures['advantage']:>12.3f}{interval('advantage'):>18}{shown:>16}"
    )


def differences(report: Mapping[str, Any]) -> list[str]:
    """Returns sentences on how members and others differ without a model.

    Args:
      report: The figures of `privacy.membership.attacks`.
    """
    sentences = []
    labels, blind = report["labels"], report["without_model"]
    if labels is not None and labels["p_value"] < _RARE:
        sentences.append(
            f"Their labels differ: {labels['distance']:.1%} of one set would "
            f"have to change class (p = {labels['p_value']:.1g})."
        )
    if blind["auc_interval"][0] > 0.5:
        sentences.append(
            "Inputs and labels alone tell them apart, without the model: AUC "
            f"{_shown(blind)}."
        )
    if report["attacks"][0]["auc_interval"][1] < 0.5:
        sentences.append(
            "Members have the higher losses, which no training on them "
            "explains."
        )
    return sentences


def _shown(attack: Mapping[str, Any]) -> str:
    low, high = attack["auc_interval"]
    return f"{attack['auc']:.3f} ({low:.3f} to {high:.3f})"


def meaning(report: Mapping[str, Any]) -> str:
    """Returns a sentence that says what the attacks' figures mean.

    Args:
      report: The figures of `privacy.membership.attacks`.
    """
    attacks, blind = report["attacks"], report["without_model"]
    best = max(attacks, key=lambda attack: attack["auc_interval"][0])
    if best["auc_interval"][0] <= 0.5:
        return (
            "No attack did better than guessing, which proves nothing: these "
            "are simple attacks, and an AUC near .5 is an average that a few "
            "exposed examples hardly move."
        )
    right = (1 + best["advantage"]) / 2
    words = (
        f"Given one member and one other, the attack {best['name']} finds the "
        f"member {best['auc']:.0%} of the time, and with its best threshold is "
        f"right about {right:.0%} of all examples where guessing is about 50%"
    )
    if blind["auc_interval"][1] >= best["auc_interval"][0]:
        return (
            f"{words}; but the inputs alone do about as well, so that this may "
            "be how the two sets differ and nothing that the model learned."
        )
    return f"{words}: the model gives away whom it was trained on."
