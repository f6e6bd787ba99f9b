import dataclasses
import re

import numpy as np
import pyarrow as pa
import pytest

from sweeps.report import page
from sweeps.report.columns import member_columns
from sweeps.report.panels import gather
from sweeps.report.time_panel import groups
from tests.sweeps.report.test_page import opened
from tests.sweeps.synthetic_runs import run_of

LEVELS = {"alpha": [0.0, 0.1], "width": [64, 512], "norm": [True, False]}
SECONDS = {(64, True): 0.5, (64, False): 0.25, (512, True): 4.0, (512, False): 3.0}


def timed(results, seconds_of):
    """The results with static groups of width and norm, and the seconds of every member."""
    members = results.members
    kinds = list(zip(*(members[name].to_pylist() for name in ("width", "norm")), strict=True))
    order = list(dict.fromkeys(kinds))
    place = members.column_names.index("group")
    column = pa.array([order.index(kind) for kind in kinds], pa.int32())
    members = members.set_column(place, "group", column)
    seconds = {member: seconds_of.get(kind, np.nan) for member, kind in enumerate(kinds)}
    return dataclasses.replace(results, tables=(members, results.metrics), kept_seconds=seconds)


def run(seconds_of=SECONDS, **options):
    return timed(run_of({}, 3, levels=LEVELS, **options), seconds_of)


def shown(results):
    found = opened(results)
    return found.texts.get("time", ""), found.embedded.get("time")


def test_static_groups_are_compared_by_the_seconds_of_a_member():
    text, data = shown(run())
    own = page.document(run()).partition('<section id="time"')[2].partition("</section>")[0]
    rows = [re.findall("<t[dh].*?>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", own)]
    assert rows[0] == ["width", "norm", "members", "time per member", "× the fastest", "best test accuracy"]
    assert [row[:-1] for row in rows[1:]] == [
        ["64", "False", "6", "0.25 s", "1"], ["64", "True", "6", "0.5 s", "2"],
        ["512", "False", "6", "3 s", "12"], ["512", "True", "6", "4 s", "16"],
    ]  # fmt: skip
    assert all(re.fullmatch(r"9\d.*%", row[-1]) for row in rows[1:])
    assert "Training and evaluating 24 members took 46.5 s." in text  # 6 of each group
    assert [line["seconds"][-1] for line in sorted(data["lines"], key=lambda line: line["label"])] == [
        3, 4, 0.25, 0.5,
    ]  # fmt: skip


def test_a_line_is_the_best_configuration_of_its_group_over_its_own_time():
    results = run()
    _, data = shown(results)
    assert data["log"] is True and data["others"]["mean"] == [] and len(data["lines"]) == 4
    line = next(each for each in data["lines"] if each["label"] == "width = 512, norm = True")
    assert line["seconds"] == pytest.approx(np.linspace(0.4, 4.0, 10))
    finals, members = results.final(), results.members
    own = [
        np.mean(finals[(members["width"].to_numpy() == 512) & members["norm"].to_numpy(zero_copy_only=False)
                       & (members["alpha"].to_numpy() == alpha)])
        for alpha in (0.0, 0.1)
    ]  # fmt: skip
    assert line["mean"][-1] == pytest.approx(max(own), rel=1e-4) and line["low"][-1] < max(own)


def test_groups_that_take_as_long_and_one_group_alone_are_a_sentence():
    text, data = shown(run(dict.fromkeys(SECONDS, 0.5) | {(64, True): 0.55}))
    assert data is None and text.endswith("takes about as long at every width and norm: 0.5 s to 0.55 s.")
    alone = run_of({}, 3, levels={"alpha": [0.0, 0.1]})
    text, data = shown(dataclasses.replace(alone, kept_seconds=dict.fromkeys(range(6), 0.02)))
    assert data is None and "took 0.12 s." in text
    assert text.endswith("takes 20 ms; all ran in one program, so there are no times to compare.")


def test_where_nothing_is_recorded_there_is_no_panel():
    assert shown(run({})) == ("", None)
    assert shown(run_of({}, 3, levels=LEVELS)) == ("", None)


def test_members_of_which_no_time_is_recorded_are_counted():
    text, data = shown(run({(64, True): 0.5, (512, False): 3.0}, pending=(3, 4)))
    assert "Of 10 other members no time is recorded." in text  # two more are not trained yet
    assert len(data["lines"]) == 2


def test_what_was_stopped_counts_by_the_steps_that_it_was_trained_for():
    """Of 100 steps, members of the wide groups took 10 and the others all."""
    wide = {member: 10 for member in range(24) if member % 12 >= 6}
    results = run(stopped=wide, diverged=(0, 1), schedule="halving", evaluations=10)
    study = gather(results, member_columns)
    found = {tuple(group.values.values()): group.seconds for group in groups(study, results.seconds())}
    assert found == pytest.approx({(64, True): 0.5, (64, False): 0.25, (512, True): 40.0, (512, False): 30.0})


def test_floats_do_not_tell_groups_of_one_member_apart():
    levels = {"alpha": [0.0, 0.1, 0.2], "width": [64, 128, 256], "norm": [True]}
    results = run_of({}, 1, levels=levels).filter(member=[0, 4, 8])
    results = timed(results, {(64, True): 1.0, (128, True): 2.0, (256, True): 4.0})
    results = dataclasses.replace(results, kept_seconds={0: 1.0, 4: 2.0, 8: 4.0})
    found = groups(gather(results, member_columns), results.seconds())
    assert [group.values for group in found] == [{"width": 64}, {"width": 128}, {"width": 256}]


def test_none_tells_a_group_from_one_of_numbers():
    results = run_of({}, 2, levels={"alpha": [None, 0.1, 0.2], "width": [8]})
    table = results.members
    column = pa.array([0 if alpha is None else 1 for alpha in table["alpha"].to_pylist()], pa.int32())
    table = table.set_column(table.column_names.index("group"), "group", column)
    seconds = dict.fromkeys([0, 1], 1.0) | dict.fromkeys(range(2, 6), 3.0)
    results = dataclasses.replace(results, tables=(table, results.metrics), kept_seconds=seconds)
    _, data = shown(results)
    assert data["log"] is False and [line["label"] for line in data["lines"]] in (
        ["alpha = None", "alpha = set"], ["alpha = set", "alpha = None"],
    )  # fmt: skip


def test_more_groups_than_colours_are_dots():
    levels = {"alpha": [0.1], "width": [2**power for power in range(12)], "norm": [True]}
    results = timed(run_of({}, 2, levels=levels), {(2**power, True): 0.1 * 2**power for power in range(12)})
    text, data = shown(results)
    assert len(data["lines"]) == 8 and len(data["others"]["mean"]) == 4 and data["log"] is True
    assert "The 8 best are lines" in text
    best = [line["mean"][-1] for line in data["lines"]]
    assert best == sorted(best, reverse=True) and min(best) >= max(data["others"]["mean"])


def test_every_kind_of_run_has_a_page_with_its_times():
    for options in ({"diverged": range(24)}, {"pending": range(24)}, {"pending": range(12)}):
        results = run(**options)
        assert page.document(results) == page.document(run(**options))
