"""How many seeds a larger run has, and how long it is said to take."""

import dataclasses

import numpy as np
import pytest

from sweeps.claims.effects import HOLDS, NO_MORE, OPEN, Verdict, effect_of
from sweeps.claims.verdicts import Claim, Finding
from sweeps.cli.sizes import SECONDS, Pilot, Size, enlarged, needs, seconds_of, sizes, timed
from sweeps.members.population import seeds_of
from tests.sweeps import plain


def finding(spread, verdict: Verdict = OPEN):
    differences = np.random.default_rng(0).normal(0, spread, 16)
    effect = effect_of(differences, 0.5, 2, NO_MORE)
    return Finding(Claim("It is so.", "B"), verdict, "So much.", 2, (effect,))


def sizes_of(*findings, seconds=None, again=False):
    return sizes(Pilot(findings, 16, seconds, again))


def test_sizes_come_from_the_spread_alone_the_largest_first():
    small, middle, large = finding(0.1), finding(1.0), finding(2.0, HOLDS)
    needed = [one.effects[0].needed or 0 for one in (large, middle)]
    found = sizes_of(small, middle, large, seconds=32)
    assert [size.seeds for size in found] == needed and needed[1] > 16
    assert found[0].minutes == pytest.approx(32 / 60 * (needed[0] / 16 - 1))
    again = sizes_of(large, seconds=32.0, again=True)
    assert again[0].minutes == pytest.approx(32 / 60 * needed[0] / 16)
    assert found == sizes_of(*(one._replace(verdict=HOLDS) for one in (small, middle, large)), seconds=32)
    assert [size.minutes for size in sizes_of(middle)] == [None]
    assert sizes_of(small, finding(1.0)._replace(effects=()), seconds=1) == []


def test_seeds_that_have_no_value_are_made_up_for():
    half = finding(1.0)
    fewer = half._replace(effects=(half.effects[0]._replace(seeds=8),))
    (size,) = sizes_of(fewer)
    needed = fewer.effects[0].needed
    assert needed is not None and size.seeds == 2 * needed


def test_a_size_fits_or_not():
    assert Size(32, 2, 5.0).fits(6) and not Size(32, 2, 5.0).fits(4)
    assert Size(32, 2, None).fits(1) and not Size(32, 2, None).fits(0)


def test_what_is_done_of_a_larger_run_takes_no_time_again():
    size, pilot = Size(32, 2, 5.0), Pilot((), 16, 80)
    assert size.after(200, pilot).minutes == 3 and size.after(60, pilot) == size
    assert size.after(200, pilot._replace(again=True)).minutes == pytest.approx(5 - 200 / 60)
    assert size.after(1000, pilot).minutes == 0 and size.after(1000, pilot).fits(0.1)
    assert size.after(None, pilot) == size.after(200, pilot._replace(seconds=None)) == size
    assert Size(32, 2, None).after(200, pilot).minutes is None


def test_a_larger_study_has_the_seeds_of_the_pilot_and_as_many_more_fresh_ones():
    study = dataclasses.replace(plain.study(), space={"alpha": [0.0, 0.1], "seed": range(2, 6)})
    larger, options = enlarged(study, {"confirm": 8, "keep_best": 1}, Size(10, 2.5, None))
    assert list(seeds_of(larger)) == list(range(2, 12)) and options == {"confirm": 20, "keep_best": 1}
    assert enlarged(study, {}, Size(10, 2.5, None))[1] == {}


def test_what_is_needed_is_said_of_claims_that_cannot_be_told():
    def said(*findings, seconds: float | None = 120.0, now=None, seeds=16):
        return needs(Pilot(findings, 16, seconds), findings if now is None else now, seeds, seconds)

    needed = finding(1.0).effects[0].needed or 0
    words = said(finding(1.0), finding(0.1, HOLDS), finding(9.0, HOLDS))
    assert words.startswith(f"needs {needed:,} seeds, about ") and words.endswith("that 16 seeds cannot tell")
    assert " minutes, for the claim " in words and "hours" in said(finding(9.0))
    assert "about" not in said(finding(1.0), seconds=None) and "2 claims" in said(*[finding(1.0)] * 2)
    assert said(finding(9.0, HOLDS)) == "" == said(finding(1.0)._replace(effects=()))
    # Of a larger run: by the pilot's spread as before, and not once it has the seeds.
    wider = said(finding(1.0), finding(1.0), now=(finding(2.0), finding(2.0, HOLDS)), seeds=20)
    assert wider.startswith(f"needs {needed:,} seeds") and "the claim that 20 seeds" in wider
    assert said(finding(1.0), now=(finding(2.0),), seeds=needed) == ""


def test_time_is_added_up_over_calls_and_a_file_that_is_no_number_is_none(tmp_path):
    assert seconds_of(tmp_path) is None and seconds_of(None) is None
    (tmp_path / SECONDS).write_text("100\n")
    with pytest.raises(KeyboardInterrupt, match="in the middle"), timed(tmp_path):
        raise KeyboardInterrupt("in the middle")
    seconds = seconds_of(tmp_path)
    assert seconds is not None and 100 <= seconds < 101
    for damage in ("", "nan", "x", "inf"):
        (tmp_path / SECONDS).write_text(damage)
        assert seconds_of(tmp_path) is None
    with timed(tmp_path / "nothing"):
        pass
    assert not (tmp_path / "nothing").exists()
