"""Results that were never trained, for what findings make of them."""

import dataclasses
import math

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from sweeps.members.population import populate
from sweeps.results.results import Results


def results_of(study, value, seeds=16, fresh=None):
    """A run of the study's members: `value(config, noise, step)` gives a member's metrics at a step."""
    members = populate(dataclasses.replace(study, space={**study.space, "seed": range(seeds)}), None, 0)
    columns = {name: [_set(one) for one in column.tolist()] for name, column in members.columns.items()}
    count = len(members)
    noise = np.random.default_rng(0).normal(size=count + seeds)
    rows = []
    for member in range(count):
        config = {name: column[member] for name, column in columns.items()}
        # What a seed does to all configurations alike, and a little of each one's own.
        own = noise[count + members.seeds[member]] + 0.1 * noise[member]
        rows += [
            {"member": member, "step": step, **value(config, own, step)} for step in study.evaluation_steps
        ]
    manifest = {
        "study": "made-up",
        "metric": study.metric,
        "mode": study.mode,
        "steps": study.steps,
        "swept": list(columns),
        "members": count,
    }
    table = {
        "member": np.arange(count),
        "seed": members.seeds,
        "group": np.zeros(count, np.int64),
        "status": ["done"] * count,
        **columns,
    }
    return Results(manifest, tables=(pa.table(table), pa.Table.from_pylist(rows)), confirmation=fresh)


def _set(value):
    """None where a field is not set in a member."""
    return None if isinstance(value, float) and math.isnan(value) else value


def verdicts(module, results):
    """The verdicts of a study on results, whose findings and picture are looked at by the way."""
    found = module.findings(results)
    assert [finding.claim for finding in found] == list(module.CLAIMS)
    assert all(finding.measured.endswith(".") for finding in found)
    effects = [effect for finding in found for effect in finding.effects]
    assert all(finding.effects for finding in found) and all(effect.margin > 0 for effect in effects)
    figure = module.picture(results)
    assert isinstance(figure, Figure)
    figure.savefig("/dev/null", format="png")
    return [finding.verdict for finding in found]
