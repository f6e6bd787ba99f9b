"""What the page says, and does not say where there is nothing to it."""

import re

import numpy as np
import pyarrow as pa

from sweeps.report.page import document
from sweeps.report.sentence import answer, question
from sweeps.results.results import Results
from tests.sweeps.synthetic_runs import run_of


def test_one_configuration_is_not_the_best_of_one():
    results = run_of({"alpha": "grid(0.1)"}, 6, levels={"alpha": [0.1]})
    assert question(results) == "What is the test accuracy after 100 steps?"
    (first, *_) = answer(results, results.configurations())
    assert re.fullmatch(r"Test accuracy is 9\d\.\d ± 0\.\d % at α = 0\.1\.", first)
    assert 'id="against-0"' not in document(results)


def test_no_dead_unit_is_a_sentence():
    results = run_of({"alpha": "grid(0.0, 0.1)"}, 3, levels={"alpha": [0.0, 0.1]}, extra=("test/dead_units",))
    assert 'id="dead-0"' in document(results)
    members, metrics = results.members, results.metrics
    place = metrics.column_names.index("test/dead_units")
    metrics = metrics.set_column(place, "test/dead_units", pa.array(np.zeros(len(metrics))))
    text = document(Results(results.manifest, None, (members, metrics)))
    assert "No unit of any member was dead at the last step." in text and 'id="dead-0"' not in text


def test_what_is_not_there_is_not_explained():
    levels, space = {"alpha": [0.0, 0.1]}, {"alpha": "grid(0.0, 0.1)"}
    for lost in ((), (0, 1)):
        text = document(run_of(space, 6, levels=levels, diverged=lost))
        assert ("A mark at the lower edge" in text) is bool(lost)
        assert ("Members that diverged count until they did" in text) is bool(lost)


def test_each_row_says_how_it_stands_to_the_best():
    text = document(run_of({"alpha": "grid(0.0, 0.1, 0.5)"}, 8, levels={"alpha": [0.0, 0.1, 0.5]}))
    standing = re.findall(r"<td>(best|(?:not )?measurably worse(?: once corrected)?)</td>", text)
    assert len(standing) == 3 and standing[0] == "best" and "measurably worse" in standing
