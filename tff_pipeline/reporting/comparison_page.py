"""A comparison as one HTML file, which opens without a network."""

import io
import math
import re
from collections.abc import Sequence

import jinja2
import markupsafe

from tff_pipeline.reporting import comparison_text
from tff_pipeline.reporting.comparison import Comparison, Setting
from tff_pipeline.runs.metric_names import TEST, VALIDATION

# Okabe and Ito's colours, which the colour-blind tell apart.
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#56b4e9", "#e69f00", "#000000", "#8a7f00"),
)
_DASHES = ("-", "--", ":")
# More curves than can be told apart are thin and grey.
_NAMED = len(_COLOURS) * len(_DASHES)
# Of a curve, and of all curves of a picture, so that a page stays small.
_MOST_POINTS, _ALL_POINTS = 400, 8000
_FIGURES = 6
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1b1b1b; --page: #fff;
  --line: #c4c4c4; --soft: #f2f2f2; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec;
  --page: #161616; --line: #4a4a4a; --soft: #242424; } }
body { color: var(--ink); background: var(--page); margin: 1rem auto;
  max-width: 70rem; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem .25rem 0;
  text-align: left; vertical-align: top; white-space: nowrap; }
figure { margin: 1rem 0; background: #fff; border-radius: .5rem;
  padding: .5rem; }
svg { max-width: 100%; height: auto; }
.lead { background: var(--soft); padding: .5rem 1rem; border-radius: .5rem; }
</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
<div class="lead">
{% for line in comparison.verdict %}<p>{{ line }}</p>
{% endfor %}</div>
{% for line in warnings %}<p><strong>{{ line }}</strong></p>
{% endfor %}
<h2>Settings</h2>
<div class="wide" tabindex="0" role="region" aria-label="Settings">
{{ table(settings) }}</div>
<p>Mean ± standard deviation over the seeds of the runs that ended; of
metrics, the value after the last round. client_bytes are those that a client
receives and sends if it takes part in every round.</p>
{% if figures %}<h2>Learning curves</h2>
{% for name, svg in figures %}<figure role="img"
 aria-label="{{ name }} over rounds, a curve a setting">
{{ svg|safe }}</figure>
{% endfor %}<p>The mean over seeds; the shade goes from the lowest to the
highest. Curves of unfinished runs end early.</p>
{% endif %}
<h2>Runs</h2>
<div class="wide" tabindex="0" role="region" aria-label="Runs">
{{ table(runs) }}</div>
{% if comparison.notes %}<h2>Notes</h2>
<ul>
{% for note in comparison.notes %}<li>{{ note }}</li>
{% endfor %}</ul>
{% endif %}
</main>
</body>
</html>
"""
_TABLE = """<table><thead><tr>
{%- for cell in rows[0] %}<th scope="col">{{ cell }}</th>{% endfor -%}
</tr></thead>
<tbody>
{% for row in rows[1:] %}<tr><th scope="row">{{ row[0] }}</th>
{%- for cell in row[1:] %}<td>{{ cell }}</td>{% endfor -%}
</tr>
{% endfor %}</tbody></table>
"""


def page(
    comparison: Comparison, title: str, warnings: Sequence[str] = ()
) -> str:
    """Returns the comparison as HTML.

    Args:
      comparison: The comparison.
      title: The heading.
      warnings: Sentences that stand out above the tables.
    """
    environment = jinja2.Environment(autoescape=True)
    table = environment.from_string(_TABLE)
    runs = [["run", "setting", "seed", "ended", "rounds", comparison.column]]
    for setting, run in comparison.runs:
        value = run.final(comparison.column)
        runs.append(
            [
                run.path,
                setting.name,
                str(run.seed),
                run.ended or "not finished",
                str(run.rounds),
                "" if value is None else f"{value:.4g}",
            ]
        )
    return environment.from_string(_PAGE).render(
        comparison=comparison,
        title=title,
        warnings=warnings,
        settings=comparison_text.setting_table(comparison),
        runs=runs,
        # A table is HTML already: its cells were escaped.
        table=lambda rows: markupsafe.Markup(table.render(rows=rows)),
        figures=_figures(comparison),
    )


def _figures(comparison: Comparison) -> list[tuple[str, str]]:
    """Draws the metrics: (column, SVG) of each, the one that decides first."""
    columns = [comparison.column]
    columns += dict.fromkeys(
        name
        for _, run in comparison.runs
        for name in run.columns()
        if name.startswith((TEST, VALIDATION)) and name != comparison.column
    )
    # Few of the curves of many clients or classes would be looked at.
    return [
        (column, _draw(comparison.settings, column, f"plot{number}"))
        for number, column in enumerate(columns[:_FIGURES])
    ]


def _draw(settings: Sequence[Setting], column: str, salt: str) -> str:
    """Draws a column over rounds, a curve a setting; returns the SVG."""
    # Imported here, since what draws nothing need not wait for it.
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    points = min(_MOST_POINTS, max(2, _ALL_POINTS // len(settings)))
    for number, setting in enumerate(settings):
        rounds, means, lows, highs = _curve(setting, column, points)
        named = number < _NAMED
        colour = _COLOURS[number % len(_COLOURS)] if named else "#b0b0b0"
        axis.plot(
            rounds,
            means,
            color=colour,
            linestyle=_DASHES[number // len(_COLOURS)] if named else "-",
            linewidth=1.5 if named else 0.6,
            # A setting that has one round would draw nothing.
            marker="." if len(rounds) == 1 else None,
            label=setting.name if named else None,
        )
        if named and setting.runs[1:]:
            axis.fill_between(rounds, lows, highs, color=colour, alpha=0.15)
    axis.set_xlabel("round")
    axis.set_ylabel(column)
    axis.grid(alpha=0.3)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(frameon=False, ncols=1 + min(len(settings), _NAMED) // 12)
    picture = io.StringIO()
    # Ids are unique in the page, and the same for the same runs.
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(picture, format="svg", metadata={"Date": None})
    svg = picture.getvalue()
    return _with_own_ids(svg[svg.index("<svg") :], salt)


def _with_own_ids(svg: str, salt: str) -> str:
    """Puts `salt` before every id of a picture, and wherever one is named."""
    svg = re.sub(r'(?<=\bid=")', f"{salt}_", svg)
    return re.sub(r'(?<=href="#)|(?<=url\(#)', f"{salt}_", svg)


def _curve(
    setting: Setting, column: str, points: int
) -> tuple[list[int], list[float], list[float], list[float]]:
    """Returns rounds, and mean, lowest and highest over a setting's runs.

    A run that ended early counts as long as it went. Of long curves `points`
    rounds are drawn, at equal distances and always the last.
    """
    values: dict[int, list[float]] = {}
    for run in setting.runs:
        for number, value in run.curve(column):
            if math.isfinite(value):
                values.setdefault(number, []).append(value)
    rounds = sorted(values)
    step = -(-len(rounds) // points)
    rounds = rounds[::-1][:: step or 1][::-1]
    return (
        rounds,
        [math.fsum(values[each]) / len(values[each]) for each in rounds],
        [min(values[each]) for each in rounds],
        [max(values[each]) for each in rounds],
    )
