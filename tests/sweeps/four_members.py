"""Results of four members, of which two took the states of the other two."""

import dataclasses

import pyarrow as pa

from sweeps.results.results import Results

LINEAGE = pa.table(
    {
        "member": [0, 1, 2, 2, 3, 3],
        "step": [0, 0, 0, 5, 0, 5],
        "source": [0, 1, 2, 0, 3, 1],
        "ancestor": [0, 1, 2, 0, 3, 1],
        "ancestor_seed": pa.array([0, 1, 0, 0, 1, 1], pa.uint32()),
        "rate": [0.1, 0.1, 0.2, 0.1, 0.2, 0.1],
    }
)


def four(values, status=("done",) * 4, **changes):
    """Members 2 and 3 took the states of 0 and 1, and all end at one rate."""
    members = pa.table(
        {"member": [0, 1, 2, 3], "seed": [0, 1, 0, 1], "status": list(status), "rate": [0.1] * 4}
    )
    metrics = pa.table({"member": [0, 1, 2, 3], "step": [9] * 4, "loss": [float(each) for each in values]})
    manifest = {"swept": ["rate"], "metric": "loss", "mode": "min", "steps": 9, "schedule": "pbt"}
    found = Results(manifest, tables=(members, metrics), kept_lineage=LINEAGE)
    return dataclasses.replace(found, **changes)
