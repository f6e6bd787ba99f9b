"""The parts of the page about training: curves, dead units, learned slopes, divergences."""

import re
from typing import Any

import numpy as np

from sweeps.report.curves import BEST, learning_curves
from sweeps.report.markup import choice, escape, figure, section, table
from sweeps.report.outcomes import losses, tally
from sweeps.report.panels import Part, Study, means
from sweeps.report.wording import WORD, count, figures, is_share, listing, scored_at
from sweeps.store.statuses import Status

DEAD = re.compile(WORD.format(words="dead"))
SLOPE = re.compile(r"slope|alpha", re.IGNORECASE)
MOST_LAYERS = 8


def curves(study: Study) -> Part | None:
    """The metrics against steps."""
    if not len(study.results.metrics):
        return None
    slopes = slope_names(study)
    names = sorted(study.finals, key=lambda name: (name != study.metric, name not in slopes))
    data = learning_curves(study.results, study.rows, names)
    held = len(data["configurations"])
    if held == 1:
        data["groups"], shown = [], []
    elif held <= BEST:
        data["groups"], shown = ["all", "best"], [f"all {held}", "the best"]
    else:
        data["groups"] = ["some", "best", "all"]
        shown = [f"{BEST}, from the best to the worst", "the best", f"all {held} on this page"]
    single = [f"rank {each['rank']}: {each['label']}" for each in data["configurations"]]
    controls = (
        f'<div class="controls">{choice("curve-metric", "Metric", list(data["metrics"]))}'
        f"{choice('curve-which', 'Configurations', [*shown, *single])}"
        '<label><input type="checkbox" id="curve-members"> each member</label></div>'
    )
    one = "fold" if study.results.folds else "seed"
    unless = f" (no band with one {one}{f', nor where more than {BEST} are drawn' if held > BEST else ''})"
    caption = f"Line: mean over the {one}s of a configuration; band: its 95 % interval{unless}. "
    if Status.DIVERGED in tally(study.results):
        caption += "Members that diverged count until they did; the axis is that of the configurations that "
        caption += "came to the end. "
    caption += data["left_out"][:1].upper() + data["left_out"][1:] + "." if data["left_out"] else ""
    body = figure("curves", f"learning curves of {study.metric}", caption.strip(), controls, 420)
    return Part(
        "curves-part", "Learning curves", section("curves-part", "Learning curves", body), {"curves": data}
    )


def dead_units(study: Study) -> Part | None:
    """The share of dead units by layer and by field."""
    names = [name for name in study.finals if DEAD.search(name)]
    if not names:
        return None
    everything = np.concatenate([study.finals[name] for name in names])
    if np.isfinite(everything).any() and not np.any(everything > 0):
        body = f"<p>No unit of any member was dead {escape(scored_at(study.results.manifest))}.</p>"
        return Part("dead", "Dead units", section("dead", "Dead units", body), {})
    best = study.rows[0]

    def said(name: str, values: np.ndarray) -> str:
        mean = float(np.mean(values[np.isfinite(values)])) if np.isfinite(values).any() else float("nan")
        return figures(mean, mean, float("nan"), percent=is_share(name, study.finals[name]))

    own = np.isin(study.results.members["member"].to_numpy(), best.members)
    rows = [(name, said(name, study.finals[name][own]), said(name, study.finals[name])) for name in names]
    body = table(
        ("layer", "mean of the best configuration", "mean of all members"),
        rows,
        f"Dead units of a member {scored_at(study.results.manifest)}",
    )
    data, figures_html, drawn = [], [], names[:MOST_LAYERS]
    for place, axis in enumerate(study.axes):
        found = {name: study.along(axis, name) for name in drawn}
        data.append([{"name": name, **means(each)} for name, each in found.items()])
        caption = f"A line per layer; {next(iter(found.values())).band}."
        caption += f" {MOST_LAYERS} of {len(names)} are drawn." if len(names) > MOST_LAYERS else ""
        figures_html.append(figure(f"dead-{place}", f"dead units against {axis.field}", caption))
    body += f'<div class="grid">{"".join(figures_html)}</div>'
    return Part("dead", "Dead units", section("dead", "Dead units", body), {"dead": data})


def slopes(study: Study, held: dict[str, Any]) -> Part | None:
    """The learned slopes over time.

    Args:
        study: what the page is made of.
        held: the curves that the page holds.
    """
    names = [name for name in slope_names(study) if name in held["metrics"]][:MOST_LAYERS]
    if not names:
        return None
    labels = [f"rank {each['rank']}: {each['label']}" for each in held["configurations"]]
    caption = "A line per slope: mean over the seeds of the chosen configuration; band: its 95 % interval."
    controls = f'<div class="controls">{choice("slope-which", "Configuration", labels)}</div>'
    body = figure("slopes", f"{listing(names)} over training", caption, controls)
    return Part(
        "slopes-part", "Learned slopes", section("slopes-part", "Learned slopes", body), {"slopes": names}
    )


def divergences(study: Study) -> Part:
    """The members that diverged or failed, with the step."""
    heading = "Failures and divergences"
    listed, total = losses(study.results)
    if not total:
        body = "<p>No member diverged or failed.</p>"
        return Part("losses", heading, section("losses", heading, body), {})
    counts = tally(study.results)
    said = listing(f"{counts[name]:,} {name}" for name in (Status.DIVERGED, Status.FAILED) if name in counts)
    body = f"<p>{escape(said)}, of {count(len(study.results.members), 'member')}."
    if Status.DIVERGED in counts:
        body += " The step of those that diverged is the one at which the loss or a parameter was no longer "
        body += "finite, or the loss passed the study's bound."
    body += "</p>"
    if study.axes and Status.DIVERGED in counts:
        body += _ends(
            study,
            "ends-diverged",
            "The step at which members diverged: the larger the cross, the more of them.",
        )
    rows = [
        (
            loss.member,
            loss.seed,
            loss.config,
            loss.status,
            "–" if loss.step is None else f"{loss.step:,}",
            loss.error,
        )
        for loss in listed
    ]
    headings = ("member", "seed", "configuration", "status", "step", "why")
    if not any(loss.error for loss in listed):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    title = "The earliest first" + (f": {len(listed)} of {total:,}" if len(listed) < total else "")
    body += table(headings, rows, title)
    return Part("losses", heading, section("losses", heading, body), {})


def slope_names(study: Study) -> list[str]:
    """The metrics that are learned slopes, by their names."""
    return [name for name in study.finals if SLOPE.search(name)]


def _ends(study: Study, name: str, caption: str) -> str:
    fields = study.fields
    controls = f'<div class="controls">{choice(f"{name}-field", "Across", fields)}</div>'
    label = f"the last step of members against {listing(fields, 'or')}"
    return figure(name, label, caption, controls if len(fields) > 1 else "", 340)
