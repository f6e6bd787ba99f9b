import itertools
import time

import jax
import numpy as np
import pytest

import sweeps
from sweeps.data import streams
from sweeps.errors import StudyError
from tests.sweeps import plain


class Loader:
    """A data loader: an object whose __iter__ starts anew."""

    def __init__(self, batches):
        self.batches, self.reads = batches, 0

    def __iter__(self):
        for batch in self.batches:
            self.reads += 1
            yield batch


def batches_of_data(size=16):
    inputs, targets = plain.data().train
    return [
        (inputs[at : at + size], targets[at : at + size]) for at in range(0, len(inputs) - size + 1, size)
    ]


def test_blocks_hold_every_batch_in_order_over_and_over(monkeypatch):
    monkeypatch.setattr(streams, "MOST_BATCHES", 4)
    loader = Loader([np.full(2, number) for number in range(3)])
    seen = list(itertools.islice(streams.blocks(loader, 1000, lambda block: block), 3))
    assert [int(block.first) for block in seen] == [0, 4, 8]
    numbers = np.concatenate([block.batches[:, 0] for block in seen])
    assert numbers.tolist() == [0, 1, 2] * 4


def test_a_loader_may_fill_the_same_array_again():
    batch = np.zeros(2)

    def filled():
        for number in range(4):
            batch[:] = number
            yield batch

    block = next(streams.blocks(streams.peekable(filled()), 4, lambda block: block))
    assert block.batches[:, 0].tolist() == [0, 1, 2, 3]


def test_as_many_batches_as_there_are_steps_are_enough(monkeypatch):
    monkeypatch.setattr(streams, "MOST_BATCHES", 4)
    loader = Loader([np.full(2, number) for number in range(12)])
    reader = streams.blocks(streams.peekable(iter(loader)), 10, lambda block: block)
    seen = list(itertools.islice(reader, 3))
    assert [block.batches[:, 0].tolist() for block in seen] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 9, 9]]
    assert loader.reads == 10


def test_reading_ahead_is_bounded_and_ends_with_the_reader(monkeypatch):
    monkeypatch.setattr(streams, "MOST_BATCHES", 1)
    loader = Loader([np.zeros(2)] * 1000)
    reader = streams.blocks(loader, 1000, lambda block: block)
    next(reader)
    time.sleep(0.5)
    # One was taken, two are ready, one waits for its place, and the next may have been begun.
    assert loader.reads <= 5
    reader.close()
    time.sleep(0.3)
    stopped = loader.reads
    time.sleep(0.3)
    assert loader.reads == stopped


def test_what_goes_wrong_in_the_loader_is_raised_where_it_is_read():
    def broken():
        yield np.zeros(2)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        next(streams.blocks(broken(), 9, lambda block: block))
    with pytest.raises(StudyError, match="holds at least one batch"):
        next(streams.blocks(Loader([]), 9, lambda block: block))
    with pytest.raises(StudyError, match="all batches have one shape.*drop the short last batch"):
        next(streams.blocks(Loader([np.zeros(2), np.zeros(1)]), 9, lambda block: block))


@pytest.mark.parametrize("most", [1, 5, 64])
def test_a_stream_trains_as_the_same_batches_in_memory_do(most, monkeypatch):
    monkeypatch.setattr(streams, "MOST_BATCHES", most)
    batches = batches_of_data()
    trial = plain.trial
    streamed = plain.trial._replace(data=sweeps.Data(Loader(batches), plain.data().evaluation))
    results = sweeps.run(plain.study(trial=streamed, steps=7), progress=False, members_per_chunk=4)

    def step(config, state, batch, key):
        # The whole data at every step, and the batch that the stream would give.
        state, count = state
        own = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves)[count % len(batches)], *batches)
        after, metrics = trial.step(config, state, own, key)
        return (after, count + 1), metrics

    def init(config, key):
        return trial.init(config, key), jax.numpy.int32(0)

    def evaluate(config, state, data):
        return trial.evaluate(config, state[0], data)

    whole = trial._replace(init=init, step=step, evaluate=evaluate)
    expected = sweeps.run(plain.study(trial=whole, steps=7), progress=False, members_per_chunk=4)
    one, other = (found.metrics["train/loss"].to_numpy() for found in (results, expected))
    # The same arithmetic in a program fused otherwise.
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_stream_is_read_once_for_all_members_of_a_chunk():
    loader = Loader(batches_of_data())
    trial = plain.trial._replace(data=sweeps.Data(loader, plain.data().evaluation))
    sweeps.run(plain.study(trial=trial, steps=3), progress=False, members_per_chunk=10)
    # Three looks at the shape of a batch, to check, to plan and to start; then one batch per step.
    assert loader.reads <= 3 * 3 + 3


def test_a_stream_that_can_be_read_once_serves_one_chunk():
    def data():
        return sweeps.Data(itertools.cycle(batches_of_data()), plain.data().evaluation)

    with pytest.raises(
        StudyError, match="`train can be read for each of 3 chunks` must hold, but got a cycle"
    ):
        sweeps.run(plain.study(trial=plain.trial._replace(data=data())), progress=False, members_per_chunk=4)
    with pytest.raises(StudyError, match="arrays or an iterable of batches` must hold, but got a int"):
        sweeps.run(
            plain.study(trial=plain.trial._replace(data=sweeps.Data(3, plain.data().evaluation))),
            progress=False,
        )


def test_an_iterator_loses_no_batch_to_planning_and_says_where_it_ends(monkeypatch):
    def losses(train, steps):
        trial = plain.trial._replace(data=sweeps.Data(train, plain.data().evaluation))
        study = plain.study(trial=trial, steps=steps, evaluate_every=1)
        return sweeps.run(study, progress=False, members_per_chunk=10).metrics["train/loss"].to_pylist()

    batches = batches_of_data()
    assert losses(iter(batches), 3) == losses(Loader(batches), 3)
    monkeypatch.setattr(streams, "MOST_BATCHES", 2)
    assert losses(iter(batches), 3) == losses(Loader(batches), 3)
    with pytest.raises(StudyError, match="`train lasts for all steps` must hold.*list_iterator that ended"):
        losses(iter(batches), 4)


def test_grain_is_a_stream():
    grain = pytest.importorskip("grain", reason="grain is not installed: pip install grain")
    inputs, targets = plain.data().train
    source = grain.MapDataset.source(list(zip(inputs, targets, strict=True))).shuffle(seed=0)
    loader = source.batch(16, drop_remainder=True).to_iter_dataset()
    trial = plain.trial._replace(data=sweeps.Data(loader, plain.data().evaluation))
    results = sweeps.run(plain.study(trial=trial, steps=40), progress=False, members_per_chunk=10)
    assert results.best().mean > 0.7
