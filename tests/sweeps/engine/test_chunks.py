import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.engine.chunks import (
    Chunk,
    Measurement,
    compact,
    cut,
    fastest,
    first_loop,
    first_width,
    fit_memory,
    halved,
    ladder,
    next_width,
    widest,
)
from sweeps.errors import StudyError


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(1, 8), st.integers(1, 64))
def test_every_member_is_in_one_chunk_of_its_group(groups, devices, most):
    array = np.unique(groups, return_inverse=True)[1]
    chunks = cut(array, devices, most)
    assert sorted(np.concatenate([chunk.members for chunk in chunks])) == list(range(len(groups)))
    for chunk in chunks:
        assert (array[chunk.members] == chunk.group).all()
        assert len(chunk.members) <= chunk.width and chunk.width % devices == 0
        assert chunk.width <= max(most, devices) + devices - 1
    assert len({chunk.name for chunk in chunks}) == len(chunks)
    for group in set(array.tolist()):
        assert len({chunk.width for chunk in chunks if chunk.group == group}) == 1  # one program per group


def test_a_width_must_be_positive():
    with pytest.raises(StudyError, match=r"`1 <= members_per_chunk` must hold, but got 0"):
        cut(np.zeros(3, int), 1, 0)


def measured(per_device, seconds, compiled=1.0, needed=0, loop="scan"):
    return Measurement(per_device, loop, seconds, compiled, needed)


def explore(seconds, first=4, work=1e9, most=1024, share=0.0):
    """The widths tried and the one taken, where a step of `width` members takes `seconds(width)`."""
    tried, widths = [measured(first, seconds(first))], [2**power for power in range(11) if 2**power <= most]
    while (width := next_width(tried, work, 1, widths, share)) is not None:
        tried.append(measured(width, seconds(width)))
    return [candidate.per_device for candidate in tried], fastest(tried, share).per_device


def test_exploring_doubles_while_it_pays_and_halves_if_it_does_not():
    assert explore(lambda width: 1.0) == ([4, 8, 16, 32, 64, 128, 256, 512, 1024], 1024)  # free members
    assert explore(lambda width: width) == ([4, 8, 2], 4)  # nothing to gain
    assert explore(lambda width: width**2) == ([4, 8, 2, 1], 1)  # narrower is better
    assert explore(lambda width: max(16, width)) == ([4, 8, 16, 32], 16)  # a floor at 16
    assert explore(lambda width: 1.0, most=20) == ([4, 8, 16], 16)


def test_what_a_chunk_takes_beside_its_steps_is_shared_by_its_members():
    # 1 µs a member and 10 for every step, and beside a crowded machine's noise that favours 4 members.
    noisy = lambda width: 1e-6 * width + (1e-6 if width == 4 else 10e-6)  # noqa: E731
    assert explore(noisy, work=1e12) == ([4, 8, 2], 4)
    twenty_steps, million_steps = 0.025 / 20, 0.025 / 1e6
    assert explore(noisy, work=1e12, share=twenty_steps) == ([4, 8, 16, 32, 64, 128, 256, 512, 1024], 1024)
    assert explore(noisy, work=1e12, share=million_steps) == ([4, 8, 2], 4)
    dear = lambda width: 1e-6 * width**1.5  # noqa: E731 # a wide step is the slower one by the member
    assert explore(dear, work=1e12)[1] == 1 < explore(dear, work=1e12, share=1e-5)[1] < 64


def test_a_short_sweep_explores_nothing():
    assert explore(lambda width: 1.0, work=100) == ([4], 4)
    assert explore(lambda width: 1e-9, work=100, share=1.0) == ([4], 4)
    assert len(explore(lambda width: 1e-9, work=1000, share=1.0)[0]) > 1  # commits are work too


def test_memory_is_a_line_through_two_widths():
    memory = fit_memory([measured(4, 1.0, needed=1400), measured(8, 1.0, needed=1800)])
    assert memory == (1000.0, 100.0)
    assert fit_memory([measured(4, 1.0, needed=1400)]) is None
    assert memory is not None and widest(memory, 1999) == 9 and widest(memory, 2000) == 10
    with pytest.raises(
        StudyError, match="`one member fits into the device's memory` must hold, but got 0 MiB for one"
    ):
        widest(memory, 1099)


@given(st.integers(1, 10**6), st.integers(1, 64), st.integers(1, 4), st.none() | st.integers(1, 5000))
def test_the_widths_to_choose_from_are_those_that_cutting_makes(members, devices, workers, most):
    widths = ladder(members, devices, workers, most)
    assert widths == sorted(set(widths)) and widths[0] >= 1 and widths[-1] <= min(most or 4096, 4096)
    full = -(-members // (devices * workers))
    assert widths[-1] == full or widths[-1] * 2 >= min(full, most or 4096, 4096)
    if workers == 1:
        groups = np.zeros(members, int)
        for width in widths:
            assert cut(groups, devices, width * devices)[0].width == width * devices


@given(st.integers(0, 2**40), st.sets(st.integers(1, 4096), min_size=1), st.booleans())
def test_the_first_width_is_the_widest_that_the_cache_has_room_for(member_bytes, widths, accelerator):
    width = first_width(member_bytes, sorted(widths), accelerator)
    room = 256 if accelerator else 2**21 / max(member_bytes, 1)
    assert width == min(widths) or width <= room
    assert all(other <= width or other > room for other in widths)


def test_cutting_again_keeps_to_the_ids_that_are_left():
    groups = np.array([0, 1, 0, 1, 0, 1])
    chunks = cut(groups, devices=1, most=2, only=np.array([2, 4, 5]))
    assert [(chunk.group, chunk.members.tolist()) for chunk in chunks] == [(0, [2, 4]), (1, [5])]


def test_long_arithmetic_starts_with_members_in_turn_on_cpu_only():
    assert first_loop(1.2e8, accelerator=False) == "map"
    assert first_loop(2e7, accelerator=False) == "scan"
    assert first_loop(1e12, accelerator=True) == "scan"


def test_a_small_rest_stays_as_wide_where_bits_are_to_stay():
    groups, left = np.zeros(16, int), np.array([2, 5, 11])
    chunks = [compact(groups, 2, {0: 8}, left, narrower) for narrower in (True, False)]
    assert [(chunk.width, chunk.members.tolist()) for (chunk,) in chunks] == [
        (4, [2, 5, 11]),
        (8, [2, 5, 11]),
    ]


def test_a_chunk_that_is_trained_again_begins_at_step_0_and_keeps_its_name():
    chunk = Chunk(0, np.arange(4), 4, 12, 20)
    again = chunk._replace(again=True)
    assert (chunk.after, chunk.steps, again.after, again.steps) == (12, 8, 0, 20)
    assert chunk.name == again.name == "0-0-12-20"
    assert all(half.again for half in halved(again, devices=1))
