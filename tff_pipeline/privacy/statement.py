"""Writes privacy.json and privacy.txt: what was promised, and on what it rests.

After the statement of TensorFlow Privacy (`compute_dp_sgd_privacy_statement`):
unit, adjacency, accountant, and the epsilon without amplification.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline.config.privacy import ACCOUNTANTS
from tff_pipeline.files import durable
from tff_pipeline.privacy import accounting, paper
from tff_pipeline.privacy.plan import Plan
from tff_pipeline.privacy.question import CONVERSIONS
from tff_pipeline.privacy.setting import ADJACENCIES, MECHANISMS

_SAMPLED = {
    "poisson": "each client on its own with probability {q:.4g}",
    "uniform": "{m} of {n} clients, each such set as likely",
    "shuffled": "all {n} clients once an epoch of {e} rounds, {m} a round",
    "min_separation": (
        "{m} of {n} clients, nobody again within {b} rounds of taking part"
    ),
}
_SEEDED = (
    "Simulation only, no privacy: noise and cohorts come from a seed "
    "(--dp_noise_seed) that can be guessed."
)
_EXACT = (
    "Metrics of training in metrics.csv and tensorboard/, which are exact "
    "(--dp_release_exact_metrics)."
)
# What epsilon says nothing of.
_NOT_COVERED = (
    "Evaluation: the columns eval_ of metrics.csv, constant_answer in "
    "environment.json, and what evaluate.py and audit.py write, are exact "
    "figures of the examples that they look at.",
    "Choosing: whoever looks at several runs on the same clients spends the "
    "epsilon of all of them.",
    "Time: how long rounds take.",
)
_FLOATS = (
    "Numbers: noise is float32, from a generator that is fast and not made for "
    "cryptography, keyed with 128 bits of the operating system's."
)
_EXACT_NOISE = (
    "updates are integers, whose norm is checked and whose sums are taken "
    "exactly, and their noise is an exact discrete Gaussian, of bits of "
    "AES-256 in counter mode under a key from 128 bits of the operating "
    "system's: epsilon holds against whoever cannot break AES"
)
_COHORTS = (
    "Cohorts: who takes part, which must stay secret, is drawn by a generator "
    "that is fast and not made for cryptography, keyed with 128 bits of the "
    "operating system's."
)
_COMPUTED = (
    "What the task computed from the data before training, such as a "
    "vocabulary, the scale of a column or the number of clients."
)
_DESCRIBED = (
    "The numbers of clients and of examples, and what the user looked at to "
    "write --categories_file and --column_bounds_file; of the columns nothing "
    "else was computed before training."
)
# Who sees what of a client; by mechanism, else the first.
_SEEN = {
    "": (
        "the server sees each client's message, and adds noise to their sum: "
        "it is trusted, and the guarantee is about what it releases"
    ),
    "local": "the server sees each client's message, with that client's noise",
    "distributed": (
        "the server sees each client's message, with that client's share of "
        "the noise alone: it is trusted not to look, and the guarantee is "
        "about the sum (--secure_aggregation=plain)"
    ),
}
_HIDDEN = (
    "the server sees no more than the sum of a round's messages, which has the "
    "noise of all, unless it colludes with too many of them "
    "(--secure_aggregation={protocol}); this run simulated clients and server "
    "in one process, whose owner sees all"
)
_STATEFUL = (
    "checkpoints/ hold noise of rounds to come (their `aggregator` arrays): "
    "keep them as secret as the clients' data."
)


def content(
    plan: Plan,
    rounds: int,
    audit: Optional[dict[str, Any]] = None,
    head: Optional[Mapping[str, Any]] = None,
    uncovered: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the statement as a JSON object; infinite numbers are `null`.

    Args:
      plan: The run's plan.
      rounds: The number of rounds run so far.
      audit: The result of the canaries' audit, if there were some.
      head: The run's name, date and data: the result of `paper.head`.
      uncovered: What else of the run is not covered, a sentence each,
        which epsilon does not cover.
    """
    setting = plan.setting
    run = dataclasses.replace(setting, rounds=max(rounds, 1))
    multiplier = plan.noise_over_sensitivity
    known = dataclasses.replace(run, cohorts_known=True)
    unamplified = accounting.epsilon(known, multiplier, plan.delta)
    warning, epsilon = _warning(plan), accounting.finite(plan.epsilon(rounds))
    return {
        **(head or {}),
        "private": plan.private,
        "verdict": paper.verdict(warning, epsilon, plan.delta, "client"),
        "guarantee": _guarantee(plan, rounds, epsilon),
        "warning": warning,
        "epsilon": epsilon,
        "delta": plan.delta,
        "epsilon_without_amplification": accounting.finite(
            unamplified if rounds else 0
        ),
        "epsilon_of_all_planned_rounds": accounting.finite(
            plan.epsilon(setting.rounds)
        ),
        "unit": "one client with all its data",
        "adjacency": ADJACENCIES[setting.adjacency],
        "who_sees_what": _seen(plan),
        "mechanism": plan.aggregator,
        "mechanism_in_words": MECHANISMS[setting.mechanism],
        "noise_multiplier": plan.noise_multiplier,
        "noise_over_sensitivity": multiplier,
        "numbers": _EXACT_NOISE if plan.options.dp_secure_noise else None,
        "sensitivity_in_clips": setting.sensitivity,
        "clip": plan.options.dp_clip,
        "adaptive_clip": _adaptive(plan),
        "matrix": _matrix(plan),
        "sampling": setting.sampling,
        "cohort_size": setting.cohort_size,
        "population": setting.population,
        "min_separation": setting.min_separation,
        "participations": run.participations if rounds else 0,
        "rounds": rounds,
        "rounds_planned": setting.rounds,
        "accountant": plan.accountant,
        "accountant_in_words": ACCOUNTANTS[plan.accountant],
        "conversion": CONVERSIONS[plan.accountant],
        "audit": audit,
        "not_covered": [*_not_covered(plan), *uncovered],
    }


def write(json_path: str, text_path: str, statement: dict[str, Any]) -> None:
    """Writes a statement as JSON and in words.

    Args:
      json_path: The path of privacy.json.
      text_path: The path of privacy.txt.
      statement: The JSON object of `content`.

    Raises:
      RunDirectoryError: If it cannot be written.
    """
    text = json.dumps(statement, indent=2, allow_nan=False)
    durable.write_text(json_path, text + "\n")
    durable.write_text(text_path, in_words(statement))


def in_words(statement: dict[str, Any]) -> str:
    """Returns the statement as text.

    Args:
      statement: The JSON object of `content`.
    """
    s = statement
    epsilon = s["epsilon"]
    clip = s["clip"]
    if s["adaptive_clip"] is not None:
        adaptive = s["adaptive_clip"]
        clip = (
            f"adapts from {adaptive['initial']:g} to the quantile "
            f"{adaptive['quantile']:g} of the norms; the count behind it has "
            f"noise of {adaptive['count_stddev']:.4g} clients, which is in the "
            "noise multiplier"
        )
    else:
        clip = f"L2 norm {clip:g}, of the whole update"
    of = "an update" if s["mechanism"] == "dp_local" else "a round's sum"
    facts = [
        ("unit", s["unit"]),
        ("adjacency", f"{s['adjacency']}"),
        ("seen", s["who_sees_what"]),
        ("mechanism", f"{s['mechanism']}: {s['mechanism_in_words']}"),
        ("clip", clip),
        (
            "noise",
            f"{s['noise_multiplier']:.4g} clips on {of}, "
            f"{s['noise_over_sensitivity']:.4g} times its sensitivity",
        ),
        (
            "sampling",
            f"{s['sampling']}: "
            + _SAMPLED[s["sampling"]].format(
                q=s["cohort_size"] / s["population"],
                m=s["cohort_size"],
                n=s["population"],
                e=math.ceil(s["population"] / s["cohort_size"]),
                b=s["min_separation"],
            ),
        ),
        (
            "without",
            f"epsilon {_shown(s['epsilon_without_amplification'])} if it were "
            "known who took part in which round"
            + (
                "; that is the least bound here, and is the one stated"
                if s["epsilon"] == s["epsilon_without_amplification"]
                and s["sampling"] in ("poisson", "uniform")
                else ""
            ),
        ),
        (
            "planned",
            f"epsilon {_shown(s['epsilon_of_all_planned_rounds'])} after all "
            f"{s['rounds_planned']} rounds",
        ),
        ("accountant", f"{s['accountant']}: {s['accountant_in_words']}"),
    ]
    if s["numbers"] is not None:
        facts.append(("numbers", s["numbers"]))
    if s["audit"] is not None:
        facts.append(("audit", _audit_in_words(s["audit"], epsilon)))
    lines = [paper.filled(s["guarantee"])]
    lines.append("\n".join(paper.filled(f"{a:<12}{b}", 12) for a, b in facts))
    lines.append(
        "Not covered:\n"
        + "\n".join(paper.filled(f"- {each}", 2) for each in s["not_covered"])
    )
    lines.append(paper.to_sign())
    return paper.in_words(s) + "\n\n".join(lines)


def _audit_in_words(audit: dict[str, Any], epsilon: Optional[float]) -> str:
    low, high = audit["interval"]
    words = (
        f"{audit['canaries']} canaries: epsilon "
        f"{_shown(audit['epsilon'])}, {audit['confidence']:.0%} interval "
        f"{_shown(low)} to {_shown(high)}"
    )
    if epsilon is None:
        return words
    if low is None or low > epsilon:
        return f"{words}; MORE than promised: something is broken"
    if audit["epsilon"] is None or audit["epsilon"] > epsilon:
        return f"{words}; above the promise, by less than its error"
    return f"{words}; not more than promised"


def _shown(epsilon: Optional[float]) -> str:
    return "infinite" if epsilon is None else f"{epsilon:.4g}"


def _warning(plan: Plan) -> Optional[str]:
    if plan.seeded:
        return _SEEDED
    if plan.noise_multiplier == 0:
        return "No noise, no privacy: the noise multiplier is 0."
    if plan.large_delta:
        return (
            f"Delta {plan.delta:.3g} is too large for "
            f"{plan.setting.population} clients (--dp_allow_large_delta): the "
            "promise may fail for a whole client."
        )
    return None


def _guarantee(plan: Plan, rounds: int, epsilon: Optional[float]) -> str:
    """Returns the guarantee in a sentence, or that there is none."""
    count = f"{rounds} of {plan.setting.rounds} rounds"
    if epsilon is None:
        return f"No guarantee: {count} were run without noise."
    if not plan.private:
        return (
            f"No guarantee after {count}: epsilon {epsilon:.4g} at delta "
            f"{plan.delta:.3g} is the figure of a simulation."
        )
    return (
        f"({epsilon:.4g}, {plan.delta:.3g})-differential privacy after "
        f"{count}: what was released would have been nearly as likely, by "
        f"a factor of e^{epsilon:.3g} and but for a probability of "
        f"{plan.delta:.3g}, whatever any one client's data."
    )


def _seen(plan: Plan) -> str:
    """Returns who sees what of a client."""
    if plan.secure_sum is not None:
        return _HIDDEN.format(protocol=plan.secure_sum)
    return _SEEN.get(plan.setting.mechanism, _SEEN[""])


def _adaptive(plan: Plan) -> Optional[dict[str, Any]]:
    options = plan.options
    if options.dp_initial_clip is None:
        return None
    return {
        "initial": options.dp_initial_clip,
        "quantile": options.dp_quantile,
        "learning_rate": options.dp_clip_learning_rate,
        "count_stddev": plan.count_stddev,
    }


def _matrix(plan: Plan) -> Optional[list[float]]:
    if plan.setting.mechanism != "matrix":
        return None
    return list(plan.matrix)


def _not_covered(plan: Plan) -> list[str]:
    exact = [_EXACT] if plan.options.dp_release_exact_metrics else []
    stateful = plan.setting.mechanism in ("tree", "tree_restart", "matrix")
    before = _DESCRIBED if plan.described else _COMPUTED
    numbers = [_FLOATS]
    if plan.options.dp_secure_noise:
        numbers = [_COHORTS] if plan.setting.amplified else []
    last = [_STATEFUL] if stateful else []
    return [*exact, before, *_NOT_COVERED, *numbers, *last]
