import dataclasses
import html
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import sweeps
from sweeps.cli.summary import print_summary
from sweeps.errors import StudyError
from sweeps.report import page
from sweeps.report.axes import axis_of
from sweeps.report.bounds import bounds_of
from sweeps.report.differences import differences
from sweeps.report.figures import save_figures
from sweeps.report.importance import explained, quantile_cells
from sweeps.report.marginals import marginal, places, student_rows
from sweeps.report.reproduction import recipe, replay
from sweeps.report.sentence import answer, question
from sweeps.report.wording import figures, is_share
from sweeps.results.results import Results
from sweeps.statistics.comparisons import student_interval
from tests.sweeps import tiny_networks
from tests.sweeps.synthetic_runs import run_of

ALPHAS = np.linspace(0, 0.3, 7).tolist()
SPACE = {"alpha": "linspace(0.0, 0.3, 7)"}
VOID = {"meta", "br", "img", "input", "link", "hr"}
HOSTILE = "<script>alert(1)</script>"
CLOSING = "</script><script>alert(2)</script>"


class Page(HTMLParser):
    """The elements of a page; raises where they do not nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts, self.data = [], [], {}, None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for tag, name in self.open:
            self.texts[name or tag] = self.texts.get(name or tag, "") + data

    @property
    def embedded(self):
        return json.loads(self.texts["data"])


def opened(results):
    return Page(page.document(results))


def one_field(**options):
    return run_of(SPACE, levels={"alpha": ALPHAS}, **options)


def several_fields(**options):
    levels = {"alpha": ALPHAS, "learning_rate": [1e-4, 1e-3, 1e-2], "optimizer": ["sgd", "adam"]}
    space = SPACE | {"learning_rate": "logspace(0.0001, 0.01, 3)", "optimizer": "grid('sgd', 'adam')"}
    return run_of(space, levels=levels, **options)


RUNS = {
    "20 members": lambda: run_of(SPACE, 5, levels={"alpha": ALPHAS[::2]}),
    "several fields": lambda: several_fields(
        extra=("test/dead_units/1", "test/dead_units/2", "slope/1"),
        diverged=(3, 5),
        stopped={9: 50, 10: 50, 11: 25},
    ),
    "all diverged": lambda: one_field(diverged=range(56)),
    "one seed": lambda: one_field(seeds=1),
    "one alpha": lambda: run_of({"alpha": "grid(0.1)"}, levels={"alpha": [0.1]}),
    "only seeds": lambda: run_of({}, levels={}),
    "one member": lambda: run_of({}, 1, levels={}),
    "unfinished": lambda: one_field(pending=range(20, 56)),
    "nothing done": lambda: one_field(pending=range(56)),
    "None among numbers": lambda: run_of({"alpha": "grid(None, 0.1)"}, levels={"alpha": [None, 0.1]}),
    "None among many": lambda: run_of(SPACE, 2, levels={"alpha": [None, *np.linspace(0, 1, 80).tolist()]}),
    "booleans and texts": lambda: run_of({}, 3, levels={"norm": [True, False], "kind": ["a", None]}),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_run_has_a_well_formed_page(name):
    results = RUNS[name]()
    found = opened(results)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and {"answer", "table", "reproduce", "losses"} <= set(ids)
    links = {attributes["href"] for tag, attributes in found.elements if tag == "a"}
    assert links <= {f"#{name}" for name in ids}
    assert next(attributes for tag, attributes in found.elements if tag == "html") == {"lang": "en"}
    headings = [tag for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1" and set(headings[1:]) == {"h2"}
    for _, attributes in found.elements:
        if attributes.get("class") == "plot":
            assert attributes["aria-label"]
    columns = {column["name"]: column for column in found.embedded["columns"] if column["of"] == "member"}
    assert columns["member"]["values"] == results.members["member"].to_pylist()
    assert set(results.swept) <= set(columns)


def test_parts_are_there_where_there_is_something_to_show():
    def parts(name):
        found = opened(RUNS[name]())
        return [attributes["id"] for tag, attributes in found.elements if tag == "section"]

    assert parts("several fields") == [
        "against",
        "configurations",
        "curves-part",
        "heatmap",
        "parallel-part",
        "importance-part",
        "rungs",
        "dead",
        "slopes-part",
        "losses",
        "table",
        "reproduce",
    ]
    assert parts("only seeds") == ["curves-part", "losses", "table", "reproduce"]
    assert parts("nothing done") == ["losses", "table", "reproduce"]
    assert parts("all diverged") == ["against", "curves-part", "losses", "table", "reproduce"]


def test_nothing_in_the_page_is_loaded_from_elsewhere():
    found = opened(RUNS["several fields"]())
    for tag, attributes in found.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "background"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in found.texts["style"] and "@import" not in found.texts["style"]
    policy = next(each["content"] for tag, each in found.elements if each.get("http-equiv"))
    assert policy.startswith("default-src 'none';") and not {"http", "connect-src", "unsafe-eval"} & set(
        policy.split()
    )
    scripts = [attributes for tag, attributes in found.elements if tag == "script"]
    assert [script.get("type") for script in scripts] == ["application/json", None]


def test_names_that_are_html_are_shown_as_text():
    results = run_of(
        {HOSTILE: "grid(0.0, 0.1)", "kind": "grid('a')"},
        3,
        levels={HOSTILE: [0.0, 0.1], "kind": [CLOSING, "<b>bold</b>", None]},
        extra=(CLOSING, "<img src=x onerror=alert(1)>", "dead<i>", "slope<i>"),
        diverged=(1, 2),
        study=HOSTILE,
        metric="<i>m</i>&amp;",
        reference={"study": f"{HOSTILE}:x", "folder": HOSTILE, "space": {"kind": CLOSING}, "steps": 3},
    )
    text = page.document(results)
    found = Page(text)
    tags = [tag for tag, _ in found.elements]
    assert tags.count("script") == 2 and not {"img", "b", "i"} & set(tags)
    assert "alert(1)" not in found.texts["style"]
    assert text.count("<script>alert") == 0
    assert HOSTILE in found.texts["h1"] and "<i>m< i>&amp;" in found.texts["h1"]
    assert HOSTILE in found.texts["header"] and CLOSING in found.texts["main"]
    names = [column["name"] for column in found.embedded["columns"]]
    assert {HOSTILE, CLOSING, "<i>m</i>&amp;"} <= set(names)
    kind = next(column for column in found.embedded["columns"] if column["name"] == "kind")
    assert set(kind["labels"]) == {CLOSING, "<b>bold</b>", "None"}


def test_the_same_results_give_the_same_page_and_files_are_whole(tmp_path):
    results = RUNS["several fields"]()
    assert page.document(results) == page.document(RUNS["several fields"]())
    path = results.report(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page.document(results)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_written_is_one_message_and_leaves_what_was_there(tmp_path, monkeypatch):
    results = one_field()
    with pytest.raises(StudyError, match="report.html can be written` must hold, but got .*nowhere: No such"):
        results.report(tmp_path / "nowhere" / "report.html")
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match=r"but got .*file/report\.html: Not a directory"):
        results.report(tmp_path / "file" / "report.html")
    (tmp_path / "file").unlink()
    for folder in (tmp_path, ".", "/"):
        with pytest.raises(StudyError, match=r"a file's name` must hold.*the folder.*report\.html would do"):
            results.report(folder)
    path = tmp_path / "report.html"
    path.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StudyError, match="No space left on device"):
        results.report(path)
    assert path.read_text() == "before" and [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_importing_sweeps_imports_nothing_that_draws():
    heavy = ("plotly", "matplotlib", "scipy", "sklearn")
    code = f"import sys, sweeps; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def many(members, **options):
    """So many members of sampled fields, 8 seeds each."""
    count = members // 16
    random = np.random.default_rng(0)
    levels = {"alpha": random.uniform(0, 0.3, count).tolist(), "width": [64, 128]}
    return run_of({"alpha": "uniform(0.0, 0.3)", "width": "grid(64, 128)"}, levels=levels, **options)


def test_10_000_members_fit_in_15_megabytes():
    names = [f"test/dead_units/{layer}" for layer in range(8)]
    results = many(10_000, extra=names, diverged=range(0, 10_000, 50), evaluations=20)
    text = page.document(results)
    assert len(text.encode()) < 15e6
    found = Page(text)
    assert len(found.embedded["columns"][0]["values"]) == 10_000
    assert "48 of the 1,250 configurations are on this page" in found.texts["main"]
    assert "2,000 lines are drawn" in found.texts["main"]


def test_more_than_a_page_holds_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr("sweeps.report.columns.MOST_CELLS", 2_000)
    found = opened(many(960))
    held = found.embedded["columns"][0]["values"]
    assert 200 < len(held) < 300 and held[0] == 0 and held[-1] == 959
    assert f"{len(held)} of the 960 members, evenly spaced" in found.texts["main"]
    assert all(len(column["values"]) == len(held) for column in found.embedded["columns"])
    assert all(len(field["cells"]) == len(held) for field in found.embedded["fields"])


def test_curves_hold_mean_band_and_members():
    results = one_field(extra=("slope/1",), diverged=(0,))
    curves = opened(results).embedded["curves"]
    assert curves["steps"] == list(range(10, 101, 10)) and list(curves["metrics"])[:2] == [
        "test/accuracy",
        "slope/1",
    ]
    place = next(i for i, each in enumerate(curves["configurations"]) if each["label"] == "alpha = 0.05")
    assert curves["configurations"][place]["members"] == list(range(8, 16))
    found = curves["metrics"]["test/accuracy"]
    own = np.asarray(found["members"][place])
    interval = student_interval(own[:, 3])
    assert found["mean"][place][3] == pytest.approx(interval.mean, rel=1e-4)
    assert found["high"][place][3] == pytest.approx(interval.high, rel=1e-4)
    # The diverged member has no value after step 50.
    worst = next(i for i, each in enumerate(curves["configurations"]) if 0 in each["members"])
    assert found["members"][worst][0][5:] == [None] * 5 and found["members"][worst][0][4] is not None


def with_finals(results, values):
    """The results with these final metrics, member by member."""
    metrics = results.metrics.to_pydict()
    for row, (member, step) in enumerate(zip(metrics["member"], metrics["step"], strict=True)):
        if step == results.manifest["steps"]:
            metrics["test/accuracy"][row] = values[member]
    table = results.metrics.from_pydict(metrics)
    return Results(results.manifest, tables=(results.members, table))


def answering(means, spread=0.002, seeds=8, **options):
    """A run over alphas of these means, whose seeds differ by a shift that is not common."""
    results = run_of(SPACE, seeds, levels={"alpha": [0.0, 0.05, 0.1, 0.2, 0.5][: len(means)]}, **options)
    noise = np.random.default_rng(1).normal(0, spread, (len(means), seeds))
    noise -= noise.mean(axis=1, keepdims=True)
    finals = np.minimum(1, np.asarray(means)[:, None] + noise)
    return with_finals(results, finals.ravel())


def answered(means, spread=0.002, seeds=8, **options):
    """The sentences about such a run."""
    results = answering(means, spread, seeds, **options)
    return answer(results, results.configurations())


def test_the_answer_is_a_sentence():
    first, *rest = answered([0.90, 0.9779, 0.978, 0.9778, 0.91], spread=0.003)
    assert first == "α = 0.1 is best (97.8 ± 0.2 % test accuracy); 0.05 to 0.2 are not measurably worse."
    assert rest == [
        "Picked on the same seeds it is scored on, so slightly too good; add confirm=8.",
        "± is the 95 % interval of the mean over 8 seeds.",
        "Compared by paired t-tests over seeds at 5 %, corrected for 4 comparisons.",
    ]
    assert "; 0.05 and 0.5 are not measurably" in answered([0.90, 0.9779, 0.978, 0.90, 0.9778])[0]
    assert "; 0.05 is not measurably worse." in answered([0.90, 0.9779, 0.978, 0.90, 0.91])[0]
    assert "; every other value is measurably worse." in answered([0.90, 0.91, 0.978, 0.90, 0.91])[0]
    assert (
        "; none of the other 4 values is measurably worse."
        in answered([0.978, 0.978, 0.9781, 0.978, 0.978])[0]
    )
    started = answered([0.9, 0.978], reference={"study": "digits-mlp"})
    assert "slightly too good; add --confirm 8." in started[1] and "comparisons" not in started[3]


def test_an_interval_stays_within_what_the_metric_can_be():
    results = with_finals(answering([0.95, 0.99]), [0.95] * 8 + [1.0] * 7 + [0.98])  # 0.9975 ± 0.0059
    first, *rest = answer(results, results.configurations())
    assert first.startswith("α = 0.05 is best (99.8 [99.2 to 100] % test accuracy)")
    assert "The range in brackets is the 95 % interval of the mean over 8 seeds." in rest
    assert bounds_of("test/r2", np.asarray([-2.0, 0.9])) == (-math.inf, 1.0)
    assert bounds_of("train/loss", np.asarray([0.5])) == (-math.inf, math.inf)
    for name in (
        "test/top5_accuracy",
        "testAUC",
        "zero_share",
        "deadUnits",
        "dead1",
        "test/f1_score",
        "mIoU",
    ):
        assert bounds_of(name, np.asarray([0.5])) == (0.0, 1.0)
    for name in ("train/shared_loss", "deadline", "various", "indices", "faucet"):
        assert bounds_of(name, np.asarray([0.5])) == (-math.inf, math.inf)
        assert not is_share(name, np.asarray([0.5]))
    held = opened(results).embedded
    assert max(held["against"][0]["high"]) == 1


def test_two_or_three_seeds_are_called_unreliable():
    for seeds, word in ((2, "Two"), (3, "Three")):
        assert any(
            each.startswith(f"{word} seeds are unreliable") for each in answered([0.9, 0.978], seeds=seeds)
        )
    assert not any("unreliable" in each for each in answered([0.9, 0.978], seeds=4))


def test_what_was_stopped_or_diverged_is_not_compared():
    levels = {"alpha": np.linspace(0, 0.3, 27).tolist()}
    halved = run_of(
        SPACE, 2, levels=levels, stopped={member: 10 for member in range(54) if member not in (18, 19)}
    )
    said = answer(halved, halved.configurations())
    end = "test accuracy); 1 of 27 finished; 26 were stopped early and not compared."
    assert said[0].startswith("α = 0.1038 is best (") and said[0].endswith(end)
    assert not any("Compared" in each for each in said)
    lost = run_of(
        SPACE, 8, levels=levels, diverged=range(24), stopped={24: 10} | dict.fromkeys(range(25, 32), 10)
    )
    said = answer(lost, lost.configurations())
    assert "that finished" in said[0] and said[0].endswith(
        "; 23 of 27 finished; 1 was stopped early and not compared; 3 diverged."
    )
    assert said[-1].endswith("corrected for 22 comparisons.")


def test_each_row_has_its_difference_to_the_best_with_the_paired_interval():
    results = answering([0.9, 0.9779, 0.978, 0.9778, 0.91], 0.003)
    values = results.final().reshape(5, 8)
    rows = results.configurations()
    for row, found in list(zip(rows, differences(results, rows), strict=True))[1:]:
        apart = values[[0.0, 0.05, 0.1, 0.2, 0.5].index(row.config["alpha"])] - values[2]
        test = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
        assert (found.mean, found.low, found.high) == pytest.approx((apart.mean(), test.low, test.high))
    shown = opened(results).texts["configurations"]
    apart = values[0] - values[2]
    assert f"−{-100 * apart.mean():.1f} (−" in shown and "not measurably worse" in shown
    assert "corrected for 4 comparisons" in shown


def test_the_command_prints_the_same_sentences_and_differences(capsys):
    results = answering([0.9, 0.978, 0.95], 0.003)
    print_summary(results)
    said = capsys.readouterr().out
    assert "\n".join(answer(results, results.configurations())) in said
    heading, *lines = said.splitlines()
    assert "to the best, points" in heading
    values = results.final().reshape(3, 8)
    apart = 100 * (values[0] - values[1])
    reach = stats.t.ppf(0.975, 7) * apart.std(ddof=1) / np.sqrt(8)
    (own,) = (line for line in lines if line.split()[:1] == ["0"])
    shown = re.search(r"−([\d.]+) \(−([\d.]+) to −([\d.]+)\)", own)
    assert shown
    expected = (-apart.mean(), -apart.mean() + reach, -apart.mean() - reach)
    assert [float(each) for each in shown.groups()] == pytest.approx(expected, abs=0.06)


def test_the_answer_of_other_runs():
    assert answered([0.9, 0.978], seeds=1, spread=0.0)[0] == (
        "α = 0.05 is best (97.8 % test accuracy); with one seed, differences may be chance."
    )
    lost = RUNS["all diverged"]()
    assert answer(lost, lost.configurations()) == [
        "No answer: none of 56 members has a finite value at the last step."
    ]
    unfinished = RUNS["unfinished"]()
    said = answer(unfinished, unfinished.configurations())
    assert said[1] == "So far: 36 of 56 members are not trained yet."
    waiting = RUNS["nothing done"]()
    assert answer(waiting, waiting.configurations()) == [
        "No answer yet: 56 of 56 members are not trained yet."
    ]
    seeds = RUNS["only seeds"]()
    assert re.fullmatch(r"Test accuracy is [\d.]+ ± [\d.]+ %\.", answer(seeds, seeds.configurations())[0])
    several = several_fields()
    assert re.search(
        r"; \d+ of the other 41 configurations are not measurably worse",
        answer(several, several.configurations())[0],
    )


def test_a_confirmed_answer_says_so_and_names_the_default():
    results = with_finals(
        one_field(seeds=4), np.repeat(np.asarray(ALPHAS), 4) + np.tile([0, 0.01, 0.02, 0.03], 7)
    )
    fresh = run_of(SPACE, 4, levels={"alpha": [0.01, ALPHAS[-1]]})
    fresh = with_finals(fresh, [0.5, 0.51, 0.52, 0.53, 0.6, 0.61, 0.62, 0.63])
    confirmed = Results(results.manifest, tables=(results.members, results.metrics), confirmation=fresh)
    first, *rest = answer(confirmed, confirmed.configurations())
    assert first.startswith("α = 0.3 is best (62 ± 2 % test accuracy)")
    assert rest[:2] == [
        "Confirmed: the figures are of fresh seeds, which did not choose it.",
        "The default, α = 0.01, reached 52 ± 2 %.",
    ]
    assert not any("too good" in sentence for sentence in rest)


def test_the_question():
    assert question(several_fields()) == (
        "Which alpha, learning_rate and optimizer give the highest test accuracy after 100 steps?"
    )
    assert (
        question(one_field(mode="min", steps=10))
        == "Which alpha gives the lowest test accuracy after 10 steps?"
    )


@pytest.mark.parametrize(
    ("interval", "percent", "said"),
    [
        ((0.978, 0.9762, 0.9798), True, "97.8 ± 0.2 %"),
        ((0.9781, 0.97685, 0.97935), True, "97.81 ± 0.13 %"),
        ((123.4, 110.0, 136.8), False, "123 ± 13"),
        ((2.5, 2.5, 2.5), False, "2.5 ± 0"),
        ((2.5e-9, 2.3e-9, 2.7e-9), False, "2.5e-09 ± 2e-10"),
        ((1e22, -1e22, 3e22), False, "1e+22 ± 2e+22"),
        ((math.nan, math.nan, math.nan), False, "no value"),
    ],
)
def test_figures_have_the_digits_that_their_interval_supports(interval, percent, said):
    assert figures(*interval, percent=percent) == said


def test_axes_are_logarithmic_where_the_space_is():
    assert [axis_of(several_fields(), name).log for name in ("alpha", "learning_rate")] == [False, True]
    levels = {"alpha": [1e-4, 1e-3, 1e-2, 1.0]}

    def log(space):
        return axis_of(run_of({"alpha": space}, 1, levels=levels), "alpha").log

    assert log("grid(0.0001, 0.001, 0.01, 1.0)") and log("log_uniform(0.0001, 2.0)")
    assert not log("linspace(0.0001, 1.0, 4)") and not log("uniform(0.0001, 1.0)")
    unsaid = run_of({}, 1, levels=levels)
    assert axis_of(unsaid, "alpha").log and axis_of(unsaid, "alpha").labels == [
        "0.0001",
        "0.001",
        "0.01",
        "1",
    ]


def test_bins_of_a_sampled_field_hold_every_member():
    results = run_of(
        {"alpha": "log_uniform(0.001, 1.0)"}, 1, levels={"alpha": np.geomspace(1e-3, 1, 500).tolist()}
    )
    axis = axis_of(results, "alpha")
    assert axis.log and axis.binned and len(axis.labels) == 16
    counts = np.bincount(axis.cells)
    assert counts.sum() == 500 and counts.min() >= 31 and counts.max() <= 32
    for value, cell in zip(axis.values, axis.cells, strict=True):
        low, high = map(float, axis.labels[cell].split(" to "))
        assert low * 0.999 <= value <= high * 1.001
    unset = axis_of(RUNS["None among many"](), "alpha")
    assert unset.numeric and (unset.cells[:2] == -1).all() and (unset.cells[2:] >= 0).all()


def test_the_interval_is_over_seeds_first_averaged_over_the_other_fields():
    results = run_of({}, 3, levels={"alpha": [0.0, 0.1], "width": [1, 2]})
    values = np.arange(12.0) ** 2
    found = marginal(
        axis_of(results, "alpha"),
        values,
        results.members["seed"].to_numpy(),
        places(results, results.configurations()),
    )
    by_seed = values.reshape(2, 2, 3).mean(axis=1)
    for level in range(2):
        interval = student_interval(by_seed[level])
        assert (found.mean[level], found.low[level], found.high[level]) == pytest.approx(interval)
    assert found.band == "mean and 95 % interval over 3 seeds, each seed averaged over the other swept fields"


def test_student_rows_are_the_student_intervals():
    table = np.random.default_rng(0).normal(size=(20, 6))
    table[np.random.default_rng(1).random(table.shape) < 0.3] = np.nan
    table[0] = np.nan
    for row, found in zip(table, zip(*student_rows(table), strict=True), strict=True):
        assert found == pytest.approx(student_interval(row[np.isfinite(row)]), nan_ok=True)


def test_importance_finds_what_explains_the_variance():
    random = np.random.default_rng(0)
    strong, weak, nothing = (random.integers(0, 4, 400) for _ in range(3))
    values = 2.0 * strong + 0.5 * weak + random.normal(0, 0.5, 400)
    true = np.array([4 * 1.25, 0.25 * 1.25, 0]) / (4 * 1.25 + 0.25 * 1.25 + 0.25)
    for cells, expected in zip((strong, weak, nothing), true, strict=True):
        found = explained(cells, values)
        assert found is not None
        share, low, high = found
        assert abs(share - expected) < 0.05 and low <= share <= high and high - low < 0.2
    assert explained(strong[:7], values[:7]) is None
    assert explained(np.zeros(20, int), values[:20]) is None
    assert explained(strong[:20], np.ones(20)) is None


def test_importance_of_noise_is_no_more_than_noise():
    shares = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        found = explained(random.integers(0, 8, 48), random.normal(size=48))
        assert found is not None
        shares.append(found[0])
    # Eta squared, which is not corrected, would be 7 / 47 = 0.15 on average.
    assert np.mean(shares) < 0.08 and np.median(shares) < 0.04


def test_quantile_cells_keep_equal_values_together():
    values = np.asarray([0.0] * 50 + list(range(1, 51)), dtype=float)
    cells = quantile_cells(values)
    assert len(set(cells[:50])) == 1 and 3 <= len(set(cells)) <= 8
    assert quantile_cells(np.asarray([3.0, 1.0, 3.0])).tolist() == [1, 0, 1]


def test_the_recipe_is_the_command_or_the_call():
    manifest = dict(one_field().manifest)
    asked = {
        "study": "digits-mlp",
        "folder": "/home/me",
        "space": {"alpha": "linspace(0.0, 0.3, 4)"},
        "steps": 9,
    }
    manifest |= {"samples": 4, "root_seed": 7, "reference": asked}
    line = "sweeps run digits-mlp 'alpha=linspace(0.0, 0.3, 4)' --steps 9 --samples 4 --root-seed 7"
    assert recipe(manifest) == line
    manifest["reference"] = asked | {
        "study": "mine:study",
        "folder": "/home/my work",
        "steps": None,
        "space": {},
    }
    assert recipe(manifest) == "cd '/home/my work'\nsweeps run mine:study --samples 4 --root-seed 7"
    manifest["reference"] = None
    compile(recipe(manifest), "recipe", "exec")
    assert "samples=4, root_seed=7" in recipe(manifest)


def test_the_recipe_has_the_search_and_the_schedule():
    asked = {"study": "digits-mlp", "folder": "/home/me", "space": {}, "steps": None}
    manifest = {**one_field().manifest, "reference": asked, "batches": "per_seed", "samples": 4}
    sobol = manifest | {"search": "sobol", "points_per_batch": None, "schedule": "halving(eta=2)"}
    end = "--samples 4 --search sobol --schedule 'halving(eta=2)'"
    assert recipe(sobol) == f"sweeps run digits-mlp {end}"
    call = recipe(sobol | {"reference": None})
    compile(call, "recipe", "exec")
    assert "samples=4, search='sobol', schedule='halving(eta=2)')" in call and "batches='per_seed'" in call
    learned = manifest | {"search": "tpe", "points_per_batch": 8, "schedule": None}
    assert recipe(learned).endswith("--samples 4 --search tpe --points-per-batch 8")
    assert "search=sweeps.tpe(points_per_batch=8))" in recipe(learned | {"reference": None})
    warm = learned | {"history": {"points": [{"alpha": 0.1}], "scores": [0.5]}}
    assert recipe(warm).splitlines()[-1].endswith("--points-per-batch 8 --warm-start DIR")
    assert "tpe(points_per_batch=8, warm_start=…)" in recipe(warm | {"reference": None})
    circumstances = opened(one_field(search="sobol", schedule="halving(eta=2)")).texts["reproduce"]
    assert "sobol" in circumstances and "halving(eta=2)" in circumstances


def test_a_member_is_replayed_as_the_run_was_started(tmp_path):
    results = dataclasses.replace(one_field(), directory=tmp_path / "a run")
    assert replay(one_field()) is None
    assert replay(results) == f"sweeps.replay({str(tmp_path / 'a run')!r}, MEMBER, study)"
    command = {**results.manifest, "reference": {"study": "digits-mlp", "folder": "/home/me"}}
    by_command = dataclasses.replace(results, manifest=command)
    assert replay(by_command) == f"sweeps replay '{tmp_path / 'a run'}' MEMBER"


def test_members_that_failed_are_not_said_to_have_diverged():
    whole = one_field(diverged=(3, 5))
    status = ["failed" if each == "diverged" else each for each in whole.members["status"].to_pylist()]
    place = whole.members.column_names.index("status")
    members = whole.members.set_column(place, "status", pa.array(status))
    found = opened(Results(whole.manifest, tables=(members, whole.metrics)))
    assert "2 failed, of 56 members." in found.texts["losses"]
    assert "finite" not in found.texts["losses"] and "members diverged" not in found.texts["losses"]
    assert "no longer finite" in opened(whole).texts["losses"]


def test_what_became_of_members_is_listed():
    found = opened(several_fields(diverged=(3, 5), stopped={9: 50, 10: 50, 11: 25})).texts["main"]
    assert re.search(r"25\s*336\s*1\s*50\s*335\s*2", found)
    assert "2 diverged, of 336 members" in found
    assert "3 members that were stopped early have no value" in found
    assert "No member diverged or failed." in opened(one_field()).texts["main"]


def test_figures_for_a_paper(tmp_path):
    results = RUNS["several fields"]()
    figure = results.figure("learning_rate", "train/loss")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("learning_rate", "Train loss", "log")
    caption = str(figure.get_label())
    assert not figure.get_supxlabel()
    assert "95 % interval over 8 seeds" in caption and "After 100 steps" in caption
    with pytest.raises(StudyError, match='The run does not vary "alhpa". Did you mean "alpha"'):
        results.figure("alhpa")
    with pytest.raises(StudyError, match='does not vary "alpha", and no other'):
        RUNS["only seeds"]().figure("alpha")
    paths = save_figures(results, tmp_path, formats=("png", "pdf"))
    assert {path.name for path in paths} == {
        f"{name}.{kind}"
        for name in (
            "test-accuracy-against-alpha",
            "test-accuracy-against-learning_rate",
            "test-accuracy-against-optimizer",
            "learning-curves",
        )
        for kind in ("png", "pdf")
    }
    again = tmp_path / "again"
    again.mkdir()
    for path in save_figures(results, again, formats=("pdf",)):
        assert path.read_bytes()[:5] == b"%PDF-" and path.read_bytes() == (tmp_path / path.name).read_bytes()
    with pytest.raises(StudyError, match='Unknown format "pdff". Did you mean "pdf"'):
        save_figures(results, tmp_path, formats=("pdff",))
    with pytest.raises(StudyError, match="figures can be written"):
        save_figures(results, tmp_path / "nowhere")


def test_every_field_has_a_figure_where_file_names_are_ascii(tmp_path, monkeypatch):
    levels = {"größe": [0.0, 1.0], "grüße": [0.0, 1.0]}
    results = run_of(dict.fromkeys(levels, "linspace(0, 1, 2)"), 2, levels=levels)
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    save_figures(results, tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 3


@pytest.mark.parametrize(
    "name", ["all diverged", "one seed", "one alpha", "only seeds", "unfinished", "nothing done"]
)
def test_figures_of_every_kind_of_run(name, tmp_path):
    results = RUNS[name]()
    paths = save_figures(results, tmp_path)
    assert len(paths) == 1 + len(results.swept)
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in paths)


def test_the_report_of_a_real_sweep(tmp_path):
    results = sweeps.run(tiny_networks.study(40), out=tmp_path / "run", progress=False)
    text = results.report(tmp_path / "report.html").read_text()
    found = Page(text)
    best = results.best()
    assert (
        "± " in found.texts["answer"] and f"α = {best.config['alpha']:.4g} is best" in found.texts["answer"]
    )
    assert "which alpha gives the lowest test loss after 20 steps?" in found.texts["h1"].lower()
    finals = next(column for column in found.embedded["columns"] if column["name"] == "test/loss")
    assert finals["values"] == pytest.approx(results.final().tolist(), rel=1e-5)
    assert results.manifest["versions"]["jax"] in found.texts["reproduce"]
    assert html.escape(f"sweeps.replay({str(tmp_path / 'run')!r}, MEMBER, study)") in text
