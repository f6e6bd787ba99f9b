import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.planning import cut
from sweeps.space import StudyError


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
