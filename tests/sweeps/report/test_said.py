"""What the page says, and does not say where there is nothing to it."""

import re

import numpy as np
import pyarrow as pa

from sweeps.cli.summary import print_summary
from sweeps.report.figures import metric_against_field
from sweeps.report.page import document
from sweeps.report.sentence import answer, question
from sweeps.report.wording import losses
from sweeps.results.results import Results
from tests.sweeps.results.test_results import results_of
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


def test_who_has_no_finite_score_is_not_said_to_have_diverged(capsys):
    nan = float("nan")
    scores = [[nan, 0.5, 0.6, 0.7], [nan, 0.1, 0.1, 0.2], [nan] * 4]
    for status, word in (("done", "had no finite score"), ("diverged", "diverged"), ("failed", "failed")):
        results = results_of(scores, [status if np.isnan(score) else "done" for score in np.ravel(scores)])
        print_summary(results)
        page, printed = document(results), capsys.readouterr().out
        for text in (page, printed):
            assert f"1 of 4 {word}" in text and f"; 1 {word}" in text, (status, text)
            assert status == "diverged" or "1 of 4 diverged" not in text and "1 diverged" not in text
        assert f"4 of 4 {word}" in printed
        marks = metric_against_field(results, "alpha").axes[0].get_legend_handles_labels()[1]
        assert ("no finite score" in marks) is (status == "done")
        assert ("diverged" in marks) is (status != "done")
    assert losses(results_of(scores).configurations()[0]) == {"had no finite score": 1}


def test_each_row_says_how_it_stands_to_the_best():
    text = document(run_of({"alpha": "grid(0.0, 0.1, 0.5)"}, 8, levels={"alpha": [0.0, 0.1, 0.5]}))
    standing = re.findall(r"<td>(best|(?:not )?measurably worse(?: once corrected)?)</td>", text)
    assert len(standing) == 3 and standing[0] == "best" and "measurably worse" in standing
