"""What a notebook shows: a study, its results, figures, one line of progress, and what Ctrl-C leaves."""

import ast
import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import sweeps
from sweeps.report import notebook
from sweeps.report.figures import learning_curves, metric_against_field
from tests.sweeps import plain
from tests.sweeps.synthetic_runs import run_of

ROOT = Path(__file__).parents[3]
HOSTILE = "<script>alert(1)</script>"
MISSING = "not installed: pip install -e '.[test]'"


class Cells(HTMLParser):
    """The text of a table's cells, row by row, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.tags = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def text_of(html):
    return re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL)


def test_results_are_the_answer_and_the_table():
    results = run_of({"alpha": "grid(0.0, 0.1)"}, 4, levels={"alpha": [0.0, 0.1]}, diverged=[1], pending=[7])
    html = results._repr_html_()
    assert "α = 0.1 is best" in text_of(html) and "8 members (6 done, 1 diverged, 1 pending)" in html
    rows = Cells(html).rows
    assert rows[0][:2] == ["alpha", "test accuracy"] and [row[0] for row in rows[1:]] == ["0.1", "0"]
    assert rows[2][-1] == "1 of 4 diverged"


def test_of_many_configurations_the_first_are_shown():
    results = run_of(
        {"alpha": "linspace(0, 1, 30)"}, 3, levels={"alpha": [place / 29 for place in range(30)]}
    )
    html = results._repr_html_()
    assert len(Cells(html).rows) == 11 and "the first 10 are shown" in html and len(html) < 5000


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_configuration_is_a_sentence_alone(seeds):
    html = run_of({}, seeds)._repr_html_()
    assert "Test accuracy is" in html and "table" not in Cells(html).tags


def test_what_has_no_answer_yet_says_so():
    html = run_of({"alpha": "grid(0, 1)"}, 2, levels={"alpha": [0, 1]}, pending=range(4))._repr_html_()
    assert "No answer yet: 4 of 4 members are not trained yet." in html and "table" not in Cells(html).tags


def test_what_the_figures_are_of_is_said():
    results = run_of({"alpha": "grid(0, 1)"}, 3, levels={"alpha": [0, 1]}, select="best", pending=[5])
    said = text_of(results._repr_html_())
    assert "at the best of its evaluations, so optimistic" in said
    assert "So far: 1 of 6 members are not trained yet." in said and "95 % interval of the mean over" in said
    fresh = run_of({"alpha": "grid(0, 1)"}, 3, levels={"alpha": [0, 1]})
    confirmed = text_of(dataclasses.replace(results, confirmation=fresh)._repr_html_())
    assert "Confirmed: the figures are of fresh seeds" in confirmed
    assert "Figures in the table are of the seeds that chose the best, not of the fresh ones." in confirmed


def test_nothing_that_is_shown_is_html():
    levels = {HOSTILE: [HOSTILE, "b"]}
    results = run_of({HOSTILE: "grid()"}, 2, levels=levels, study=HOSTILE, metric=f"test/{HOSTILE}")
    study = plain.study(metric=HOSTILE, mode="max", space={"alpha": [0.0], "seed": range(2)})
    for shown in (results, study):
        html = shown._repr_html_()
        assert "script" not in Cells(html).tags and "&lt;script&gt;" in html


def test_colors_are_those_of_the_notebook():
    html = run_of({"alpha": "grid(0, 1)"}, 2, levels={"alpha": [0, 1]})._repr_html_()
    assert not re.search(r"(?<!-)\b(color|background)\b *:", html)
    assert re.findall(r"#[0-9a-f]{3,8}", html) == ["#8886"]  # grey, half seen through


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "A grid: 3 alpha × 3 seeds = 9 members"),
        ({"where": lambda c: c["alpha"] < 0.2}, "A grid: 3 alpha × 3 seeds = at most 9 members"),
        (
            {
                "space": {"alpha": sweeps.uniform(0, 1), "width": [8, 16], "fold": sweeps.folds(5)},
                "samples": 4,
            },
            "A grid: 2 width × 4 samples × 5 folds = 40 members",
        ),
        (
            {"space": {"alpha": sweeps.uniform(0, 1), "seed": range(2)}},
            "A grid: samples × 2 seeds; run(samples=…) says how many samples",
        ),
        ({"space": {"alpha": sweeps.uniform(0, 1)}}, "A grid: samples; run(samples=…) says how many samples"),
        ({"space": {}}, "1 member"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "plain",
)
def test_a_study_is_its_space_and_how_many_members_that_makes(changes, said):
    study = plain.study(**changes)
    html = study._repr_html_()
    assert f'<p class="facts">{said}</p>' in html and "12 steps, the highest test/accuracy" in text_of(html)
    assert [row[0] for row in Cells(html).rows[1:]] == list(study.space)


def test_a_long_domain_is_cut():
    html = plain.study(space={"alpha": [place / 1000 for place in range(1000)]})._repr_html_()
    assert len(Cells(html).rows[1][1]) == notebook.MOST_CHARACTERS and "1,000 alpha = 1,000 members" in html


def test_a_figure_is_a_picture():
    results = run_of({"alpha": "grid(0, 1)"}, 2, levels={"alpha": [0, 1]})
    for figure in (metric_against_field(results, "alpha"), learning_curves(results)):
        assert getattr(figure, "_repr_png_")().startswith(b"\x89PNG")  # noqa: B009


SETUP = """
import os, signal, sweeps
from sweeps.host.progress import Display
from tests.sweeps import plain
space = {"alpha": sweeps.linspace(0, 0.4, 6), "seed": range(4)}
study = plain.study(space=space, steps=200, evaluate_every=2)
study
"""
RUN = "results = sweeps.run(study, members_per_chunk=4)\nresults"
INTERRUPT = """
finish, done = Display.finish, []
def finished(*arguments):
    finish(*arguments)
    done.append(arguments)
    if len(done) == after:
        os.kill(os.getpid(), signal.SIGINT)
Display.finish = finished
after = 3
found = sweeps.run(study, members_per_chunk=4, progress=False)
found
"""
FINISHED = """
ended = found.filter(status="done")
whole = {str(row) for row in results.metrics.to_pylist()}
print(found.members["status"].to_pylist(), {str(row) for row in ended.metrics.to_pylist()} < whole)
"""
NOTHING = "done.clear(); after = 1\nsweeps.run(study, members_per_chunk=24, out=folder)"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The outputs of a notebook's cells; Ctrl-C is pressed in the fourth and in the last."""
    modules = {
        name: pytest.importorskip(name, reason=f"{name} is {MISSING}")
        for name in ("nbclient", "nbformat", "ipykernel")
    }
    cells = [SETUP, RUN, "results.figure('alpha')", INTERRUPT, FINISHED]
    cells.append(f"folder = {str(tmp_path_factory.mktemp('run') / 'run')!r}\n{NOTHING}")
    new = modules["nbformat"].v4
    book = new.new_notebook(cells=[new.new_code_cell(source) for source in cells])
    place = {"metadata": {"path": str(ROOT)}}
    client = modules["nbclient"].NotebookClient(
        book, timeout=300, kernel_name="python3", allow_errors=True, resources=place
    )
    client.execute()
    return [cell.outputs for cell in book.cells]


def test_a_notebook_shows_a_study(executed):
    (shown,) = executed[0]
    assert shown.data["text/plain"].startswith("Study(Config: alpha=linspace(0.0, 0.4, 6)")
    assert "6 alpha × 4 seeds = 24 members" in shown.data["text/html"]


def test_progress_is_one_line_that_ends_at_the_end(executed):
    line, shown = executed[1]
    assert line.output_type == "display_data" and "100 %" in text_of(line.data["text/html"])
    assert "24/24 members" in text_of(line.data["text/html"])
    assert text_of(line.data["text/html"]).strip().count("\n") == 0
    assert shown.output_type == "execute_result" and "is best" in text_of(shown.data["text/html"])
    assert shown.data["text/plain"] == "Results(study: 24 members; max test/accuracy; in memory)"


def test_a_figure_is_drawn_inline(executed):
    (shown,) = executed[2]
    assert base64.b64decode(shown.data["image/png"]).startswith(b"\x89PNG")


def test_ctrl_c_leaves_what_is_finished(executed):
    said, shown = executed[3]
    assert said.name == "stderr"
    assert said.text == "Ctrl-C: 12 of 24 members are not finished; the results are those of what is\n"
    assert "(12 done, 12 pending)" in text_of(shown.data["text/html"])
    (printed,) = executed[4]
    status, _, same = printed.text.rpartition(" ")
    assert ast.literal_eval(status) == ["done"] * 12 + ["pending"] * 12 and same == "True\n"


def test_ctrl_c_of_a_run_with_a_folder_is_ctrl_c(executed):
    assert executed[5][-1].output_type == "error" and executed[5][-1].ename == "KeyboardInterrupt"
