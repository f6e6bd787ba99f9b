import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps import space
from sweeps.grammar import as_domain, parse
from sweeps.space import StudyError, levels, quantile, text

numbers = st.floats(-1e12, 1e12, allow_nan=False) | st.integers(-(10**12), 10**12)
scalars = numbers | st.text(max_size=8) | st.booleans() | st.none()
distinct = st.lists(scalars, min_size=1, max_size=6, unique_by=lambda value: (type(value) is bool, value))
positive = st.floats(1e-9, 1e9)
pairs = st.tuples(numbers, numbers).filter(lambda pair: float(pair[0]) < float(pair[1]))
# Constructors and their arguments, called in the test: what checks types at run time draws random
# numbers of its own, which strategies must not.
domains = st.one_of(
    st.tuples(st.sampled_from([space.grid, space.choice]), distinct),
    st.tuples(st.just(space.linspace), st.tuples(numbers, numbers, st.integers(1, 1000))),
    st.tuples(st.just(space.logspace), st.tuples(positive, positive, st.integers(1, 1000))),
    st.tuples(st.just(range), st.tuples(st.integers(1, 10**6))),
    st.tuples(st.just(space.uniform), pairs),
    st.tuples(
        st.just(space.log_uniform), st.tuples(positive, positive).filter(lambda pair: pair[0] < pair[1])
    ),
    st.tuples(st.just(space.normal), st.tuples(numbers, positive)),
)


@given(domains)
def test_text_is_read_back(made):
    constructor, arguments = made
    domain = constructor(*arguments)
    assert parse(text(domain)) == domain


@given(st.text(max_size=60) | st.text("()[],.'-+0123456789abcgilnoprsu_= ", max_size=60))
def test_any_text_is_a_domain_or_one_message(source):
    try:
        domain = parse(source)
    except StudyError as error:
        assert "must" in str(error) and "but got" in str(error)
    else:
        assert parse(text(domain)) == domain


def test_nothing_is_evaluated():
    with pytest.raises(StudyError, match="must be called, but got"):
        parse("__import__('os').system('true')")
    with pytest.raises(StudyError, match="a number, a word or a quoted string"):
        parse("grid(2**100)")
    with pytest.raises(StudyError, match="must hold, but got"):
        parse("(" * 5000 + ")" * 5000)


def test_levels_of_every_listed_domain():
    assert levels(parse("grid(0.0, 1, 'a', true, none)")) == (0.0, 1, "a", True, None)
    assert levels(parse("[1, 2]")) == (1, 2)
    assert levels(parse("0.5")) == (0.5,)
    assert levels(parse("-2")) == (-2,)
    assert levels(parse("adam")) == ("adam",)
    assert levels(parse("linspace(0, 1, 5)")) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert levels(parse("range(2, 8, 3)")) == (2, 5)
    # geomspace pins both ends; between them one rounding of exp and log remains.
    assert levels(parse("logspace(1e-4, 1e-1, 4)")) == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1), rel=1e-14)


def test_quantiles_against_closed_forms():
    fraction = np.array([0.0, 0.25, 0.5, 0.999])
    assert quantile(space.uniform(-1, 3), fraction).tolist() == [-1, 0, 1, pytest.approx(2.996)]
    assert np.log10(quantile(space.log_uniform(1e-4, 1), fraction)) == pytest.approx([-4, -3, -2, -0.004])
    assert quantile(space.normal(2, 3), np.array([0.5, 0.8413447460685429])) == pytest.approx([2, 5])
    assert quantile(space.choice("a", "b"), np.array([0.0, 0.49, 0.5, 1 - 1e-16])).tolist() == [
        "a",
        "a",
        "b",
        "b",
    ]


@given(st.floats(0, 1, exclude_max=True), pairs)
def test_a_quantile_is_within_its_bounds(fraction, pair):
    low, high = map(float, pair)
    value = float(quantile(space.uniform(low, high), np.array([fraction]))[0])
    # The sum may round up to the upper bound itself.
    assert low <= value <= high


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("linspce(0, 1, 3)", "did you mean linspace"),
        ("linspace(0, 1)", r"`linspace\(start, stop, num\)` must hold"),
        ("linspace(0, 1, 2.5)", "num is a whole number"),
        ("linspace(0, one, 3)", "stop is a finite number"),
        ("linspace(0, 1e999, 3)", "stop is a finite number"),
        ("range(0)", "has 0"),
        ("range(1.5)", "whole numbers"),
        ("range(1, 5, 0)", "must hold, but got"),
        ("uniform(1, 0)", r"did you mean uniform\(0.0, 1.0\)"),
        ("uniform(1, 1)", r"a fixed value is grid\(1.0\)"),
        ("log_uniform(0, 1)", "`0 < low` must hold"),
        ("logspace(-4, -1, 4)", r"logspace\(0.0001, 0.1, 4\)"),
        ("normal(0, 0)", "`0 < std` must hold"),
        ("grid()", "at least one value"),
        ("grid(1, 1.0)", "distinct values"),
        ("grid(1e999)", "finite numbers"),
        ("linspace(0, 0.5, 64", "must hold, but got 'linspace"),
        ("", "must hold, but got ''"),
    ],
)
def test_wrong_text_says_what_must_hold(source, message):
    with pytest.raises(StudyError, match=message):
        parse(source)


def test_what_a_person_may_write_in_python():
    assert as_domain(range(3)) == range(3)
    assert as_domain(np.array([0.0, 0.5])) == space.grid(0.0, 0.5)
    assert as_domain(np.float64(0.5)) == space.grid(0.5)
    assert as_domain((1, 2)) == space.grid(1, 2)
    assert as_domain("uniform(0, 1)") == space.uniform(0, 1)
    with pytest.raises(StudyError, match="field `alpha`: `a number, boolean"):
        as_domain([object()], "alpha")
    with pytest.raises(StudyError, match="has 0"):
        as_domain(range(0))
    with pytest.raises(StudyError, match="sampled"):
        levels(space.uniform(0, 1))


def test_sampled_and_logarithmic_domains_are_known():
    assert [space.is_sampled(parse(t)) for t in ("uniform(0, 1)", "choice(1)", "range(3)", "grid(1)")] == [
        1,
        1,
        0,
        0,
    ]
    assert [
        space.is_logarithmic(parse(t)) for t in ("log_uniform(1, 2)", "logspace(1, 2, 2)", "grid(1)")
    ] == [1, 1, 0]
