"""The parts of the page about what a schedule or a search decided: who was stopped, who learned from whom."""

import math
from typing import Any

import numpy as np
import pyarrow.compute as pc

from sweeps.report.markup import choice, escape, figure, section, table
from sweeps.report.outcomes import rungs
from sweeps.report.panels import Part, Study
from sweeps.report.progress import best_so_far
from sweeps.report.wording import compact, count, figures, is_share, listing, number
from sweeps.results.lineage import Stage, ancestors, best_schedule, is_evolved
from sweeps.store.statuses import Status

MOST_LINEAGES = 400  # members whose lines are drawn


def stopped(study: Study) -> Part | None:
    """The rungs, who was stopped at them, every curve to its stop, and every member's last score."""
    found = rungs(study.results)
    if not found:
        return None
    rows = [(f"{rung.step:,}", f"{rung.reached:,}", f"{rung.stopped:,}") for rung in found]
    body = table(("step", "members that reached it", "stopped there"), rows, "Rungs")
    heading = "Early stopping"
    body += figure(
        "stops",
        f"{study.metric} of every member to its stop",
        "A line is a member, to where it was stopped or ended; dots at rungs and ends are coloured by score.",
        height=380,
    )
    if study.axes:
        fields = study.fields
        controls = f'<div class="controls">{choice("scores-field", "Across", fields)}</div>'
        body += figure(
            "scores",
            f"the last score of every member against {listing(fields, 'or')}",
            "A dot is a member at its last score: the later it was stopped, the stronger. Scores of "
            "different steps are not to be compared with one another.",
            controls if len(fields) > 1 else "",
        )
    return Part("rungs", heading, section("rungs", heading, body), {"rungs": [rung.step for rung in found]})


def search_history(study: Study) -> Part | None:
    """The best so far against what was trained, where a search or a schedule decided what to train."""
    manifest = study.results.manifest
    if not study.scored or not (manifest.get("schedule") or manifest.get("points_per_batch")):
        return None
    costs, best = best_so_far(study.results, study.rows, study.metric)
    reached = next(cost for cost, value in zip(costs, best, strict=True) if value == best[-1])
    percent = is_share(study.metric, study.finals[study.metric])
    said = figures(float(best[-1] or 0), math.nan, math.nan, percent=percent)
    body = figure(
        "history",
        f"the best {study.metric} so far against the steps that all members were trained for",
        f"The best, {said}, came after {reached:,} of {costs[-1]:,} member-steps. Shown: the best mean over "
        "seeds that any configuration had at any evaluation, against the steps of all members together.",
        height=320,
    )
    data = {"history": {"costs": costs, "best": best}}
    return Part("history-part", "Best so far", section("history-part", "Best so far", body), data)


def schedule(study: Study) -> Part | None:
    """The hyperparameters by step that population-based training found, and how many lineages are left."""
    results = study.results
    if not is_evolved(results.manifest) or not study.scored:
        return None
    swept = list(results.swept)
    stages = best_schedule(results, study.rows[0], swept)
    rows = [(f"{stage.step:,}", *map(number, stage.values.values())) for stage in stages]
    body = table(("from step", *swept), rows, "The schedule of the best member, its ancestors' part included")
    done = results.members.filter(pc.field("status") == Status.DONE)
    ids = done["member"].to_numpy()
    left = len(np.unique(ancestors(results.lineage, ids)))
    said = (
        f"The {count(len(ids), 'member')} that came to the end descend from {left:,} of those that began. "
        "Members with a common ancestor are one lineage, averaged before any interval, and so are lineages "
        "that began with the same seed. The table of members has the last values of each."
    )
    heading = "The schedule that was found"
    body += f"<p>{escape(said)}</p>"
    data = {"lineage": _lineage(study, stages)}
    figures_html = [
        figure(
            f"evolved-{place}",
            f"{name} of every member over training",
            "A line is a member; at a step where it took the state of another, it jumps. Dots: initial "
            "values, strong where the state lived to the end. Thick: the best member's ancestors.",
            height=320,
        )
        for place, name in enumerate(data["lineage"]["fields"])
    ]
    figures_html.append(
        figure(
            "lineage",
            "who took whose state",
            "A row is a member, coloured by the ancestor that its state descends from; a stroke goes from "
            "the member whose state was taken to the one that took it.",
            height=380,
        )
    )
    body += f'<div class="grid">{"".join(figures_html)}</div>'
    return Part("schedule", heading, section("schedule", heading, body), data)


def _lineage(study: Study, stages: list[Stage]) -> dict[str, Any]:
    """The table of lineages for the page: of the members on it."""
    held = study.results.members["member"].to_numpy()[study.columns.rows][:MOST_LINEAGES]
    found = study.results.lineage
    found = found.filter(np.isin(found["member"].to_numpy(), held))
    numeric = [axis.field for axis in study.axes if axis.numeric]
    names = ("member", "step", "source", "ancestor")
    return {
        "fields": numeric,
        "log": [axis.log for axis in study.axes if axis.numeric],
        **{name: found[name].to_pylist() for name in names},
        "values": [compact(found[name].to_numpy()) for name in numeric],
        "best": {
            "step": [stage.step for stage in stages],
            "values": [[stage.values[name] for stage in stages] for name in numeric],
        },
    }
