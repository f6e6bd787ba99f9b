import enum

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeps.errors import StudyError
from sweeps.space import domains as space
from sweeps.space.domains import levels, quantile, text
from sweeps.space.grammar import as_domain, parse
from sweeps.space.whole import int_log_uniform, int_uniform


class Rule(str, enum.Enum):  # noqa: UP042, what people have
    sgd = "plain"
    adam = "adaptive"


numbers = st.floats(-1e12, 1e12, allow_nan=False) | st.integers(-(10**12), 10**12)
infinities = st.sampled_from([float("inf"), float("-inf")])
scalars = numbers | infinities | st.text(max_size=8) | st.booleans() | st.none()
values = scalars | st.tuples(scalars) | st.tuples(scalars, st.tuples(scalars, scalars)) | st.just(())
distinct = st.lists(values, min_size=1, max_size=6, unique_by=lambda value: (type(value) is bool, value))
positive = st.floats(1e-9, 1e9)
pairs = st.tuples(numbers, numbers).filter(lambda pair: float(pair[0]) < float(pair[1]))
wholes = st.integers(-(2**40), 2**40)
whole_pairs = st.tuples(wholes, wholes).filter(lambda pair: pair[0] < pair[1])
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
    st.tuples(st.just(int_uniform), whole_pairs),
    st.tuples(st.just(int_log_uniform), whole_pairs.map(lambda pair: (abs(pair[0]) + 1, pair[1] + 2**50))),
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
        assert str(error).endswith((".", "?")) or ("must" in str(error) and "but got" in str(error))
    else:
        assert parse(text(domain)) == domain


WORDS = [
    "linspace(", "logspace(", "grid(", "choice(", "range(", "uniform(", "log_uniform(", "normal(", "(", ")",
    "int_uniform(", "int_log_uniform(",
    "[", "]", ",", ", ", "=", "-", "+", "~", "*", "**", ".", ":", "'", '"', "\\", "\n", " ", "#", "0", "1",
    "2.5", "1e-3", "1e999", "1j", "9" * 400, "9" * 5000, "1.7e308", "-1.7e308", "nan", "inf", "none", "true",
    "x", "num=", "low=", "stop", "é", "lambda:", "not ", " if ", "f''", "b''", "~" * 999, "-" * 999,
    "(" * 150, "[" * 90, "1+" * 999, "x." * 999, "\0",
]  # fmt: skip
mutated = st.tuples(domains, st.integers(0, 60), st.integers(0, 3), st.sampled_from(["", *WORDS]))
sources = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map("".join))


def read_or_refused(source):
    """Text is a domain that is read back, with levels or draws that are finite, or ends in one message."""
    try:
        domain = parse(source)
    except StudyError as error:
        said = str(error)
        assert said.endswith((".", "?")) or ("must" in said and "but got" in said)
        assert len(said) < 600 and "\n" not in said
        return
    assert parse(text(domain)) == domain
    if not space.is_sampled(domain) and space.size(domain) < 1000:
        assert len(levels(domain)) == space.size(domain)
    elif space.is_sampled(domain) and not isinstance(domain, space.Choice):
        drawn = quantile(domain, np.array([0.0, 0.5, 1 - 1e-16]))
        assert np.isfinite(drawn).all()


@given(sources)
def test_any_words_are_a_domain_or_one_message(source):
    read_or_refused(source)


def with_a_slip(made):
    (constructor, arguments), place, cut, word = made
    source = text(constructor(*arguments))
    return source[:place] + word + source[place + cut :]


@given(mutated)
def test_a_domain_with_a_slip_is_a_domain_or_one_message(made):
    read_or_refused(with_a_slip(made))


@pytest.mark.durable
@settings(max_examples=15_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sources | mutated)
def test_every_one_of_many_texts_is_a_domain_or_one_message(made):
    read_or_refused(made if isinstance(made, str) else with_a_slip(made))


def test_nothing_is_evaluated():
    with pytest.raises(StudyError, match="Unknown domain"):
        parse("__import__('os').system('true')")
    with pytest.raises(StudyError, match="Write a number, a word or a quoted string"):
        parse("grid(2**100)")
    with pytest.raises(StudyError, match='^Cannot read "\\(\\(.*…". Write a value, a list, linspace'):
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
        ("linspce(0, 1, 3)", r'^Unknown domain "linspce"\. Did you mean "linspace"\?$'),
        ("linspace(0, 1)", r'^Write linspace\(start, stop, num\) instead of "linspace\(0, 1\)": .*num'),
        ("linspace(0, 1, 2.5)", "num is a whole number"),
        ("linspace(0, one, 3)", "stop is a finite number"),
        ("linspace(0, 1e999, 3)", "stop is a finite number"),
        (f"linspace(0, {'9' * 400}, 3)", "stop is a finite number` must hold in linspace, but got stop=9+…"),
        ("linspace(-1.7e308, 1.7e308, 3)", "`stop - start is finite` must hold in linspace"),
        ("uniform(-1.7e308, 1.7e308)", "`high - low is finite` must hold in uniform"),
        ("normal(1.7e308, 1e308)", r"`\|mean\| \+ 8 std is finite` must hold in normal"),
        ("linspace(0, 1, num=3, num=3)", r"^Write linspace\(start, stop, num\) instead.*given twice\.$"),
        (f"range({'9' * 400})", "`bounds fit in 64 bits` must hold in range, but got 9+…"),
        ("range(-9223372036854775808, 9223372036854775807)", "which has 18446744073709551615"),
        ("~" * 1000 + "1", 'Cannot read "~+…". Write a number, a word or a quoted string'),
        ("x." * 1000 + "x(1)", r'Unknown domain "x\.x'),
        ("grid(" * 100 + "1" + ")" * 100, "a number, a word or a quoted string"),
        ("'\\d' + '\\d'", "a number, a word or a quoted string"),
        ("range(0)", "has 0"),
        ("range(1.5)", "whole numbers"),
        ("range(1, 5, 0)", r'^Write range\(stop\), .* instead of "range\(1, 5, 0\)": .*zero'),
        ("uniform(1, 0)", r"did you mean uniform\(0.0, 1.0\)"),
        ("uniform(1, 1)", r"a fixed value is grid\(1.0\)"),
        ("log_uniform(0, 1)", "`0 < low` must hold"),
        ("logspace(-4, -1, 4)", r"logspace\(0.0001, 0.1, 4\)"),
        ("normal(0, 0)", "`0 < std` must hold"),
        ("grid()", "at least one value"),
        ("grid(1, 1.0)", "distinct values"),
        ("grid(nan)", "no NaN"),
        ("grid((1, nan))", "no NaN"),
        ("linspace(0, 0.5, 64", r'^Missing "\)" in "linspace\(0, 0.5, 64"\.$'),
        ("grid([1, 2)", r"^Cannot read"),
        ("grid(1, (2, 3)", r'^Missing "\)" in "grid\(1, \(2, 3\)"\.$'),
        ("[1, 2", r'^Missing "\]" in "\[1, 2"\.$'),
        ("grid('(', 'a'", r"^Missing \"\)\" in \"grid\('\(', 'a'\"\.$"),
        ("", '^Cannot read "". Write a value'),
    ],
)
def test_wrong_text_says_what_must_hold(source, message):
    with pytest.raises(StudyError, match=message):
        parse(source)


def test_what_a_person_may_write_in_python():
    assert as_domain(range(3)) == range(3)
    for kind in (np.array, jnp.array, pd.Series):
        assert as_domain(kind([0.0, 0.5])) == space.grid(0.0, 0.5)
    assert as_domain(jnp.float32(0.5)) == as_domain(np.float64(0.5)) == space.grid(0.5)
    assert as_domain(np.ndarray) == space.grid(np.ndarray)  # a class is a value
    assert as_domain((1, 2)) == space.grid(1, 2)
    assert as_domain([[1, 2], (3,)]) == space.grid((1, 2), (3,))
    assert as_domain(Rule.sgd) == as_domain([Rule.sgd]) == space.grid(Rule.sgd)
    assert text(as_domain([Rule.sgd, Rule.adam])) == "grid('sgd', 'adam')"
    assert as_domain("grid(inf, -inf)") == space.grid(float("inf"), -float("inf"))
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


def test_whole_numbers_are_drawn_with_both_bounds_and_as_likely_as_they_say():
    fractions = (np.arange(100_000) + 0.5) / 100_000
    drawn = quantile(parse("int_uniform(-2, 3)"), fractions)
    assert drawn.dtype == np.int64
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3]
    np.testing.assert_allclose(counts, 100_000 / 6, atol=1)
    drawn = quantile(int_log_uniform(1, 4), fractions)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(
        counts / 100_000, np.diff(np.log([0.5, 1.5, 2.5, 3.5, 4.5])) / np.log(9), atol=1e-4
    )
    for domain in (int_uniform(-(2**53), 2**53), int_log_uniform(1, 2**53)):
        ends = quantile(domain, np.array([0.0, np.nextafter(1, 0)])).tolist()
        assert ends[0] == domain.low and domain.high * (1 - 1e-13) <= ends[1] <= domain.high


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "int_uniform(1.5, 3)",
            r"`low is a whole number of at most 2\*\*53` must hold in int_uniform.*low=1.5",
        ),
        ("int_uniform(1, true)", "high is a whole number.*high=True"),
        ("int_uniform(1, 1e300)", "high is a whole number"),
        ("int_log_uniform(1, inf)", "high is a whole number.*high=inf"),
        ("int_uniform(3, 1)", r"`low < high` must hold in int_uniform.*did you mean int_uniform"),
        (
            "int_log_uniform(0, 4)",
            "`0 < low` must hold in int_log_uniform.*low=0; int_uniform takes any bounds",
        ),
        ("int_uniform(1)", r"^Write int_uniform\(low, high\) instead of"),
        ("int_unifrom(1, 3)", 'Did you mean "int_uniform"'),
    ],
)
def test_whole_numbers_out_of_bounds_are_refused_in_one_message(source, message):
    with pytest.raises(StudyError, match=message):
        parse(source)


def test_whole_bounds_may_be_written_as_floats():
    assert parse("int_uniform(1e2, 200.0)") == int_uniform(100, 200)
