"""Processes are taken where they were measured to be faster, and a run goes on where it began."""

import contextlib
import math
import shutil
import sys

import jax
import numpy as np
import pytest

import sweeps
from sweeps.engine import autotune, measurements
from sweeps.engine.autotune import Choice
from sweeps.engine.chunks import Measurement
from sweeps.engine.plan import Plan, examine, prepare
from sweeps.errors import StudyError
from sweeps.executors import choosing, inline, processes
from sweeps.executors.choosing import Choosing, outlook, worth_measuring
from sweeps.executors.dispatcher import Crew
from sweeps.executors.executor import Work
from sweeps.executors.processes import Processes, going_on, in_processes, parse
from sweeps.host.progress import Display
from sweeps.host.signals import Signals
from sweeps.members.request import make_request
from sweeps.members.sampling import Sampling
from sweeps.schedules import schedule as schedules
from sweeps.store import chunks as store
from sweeps.store.lock import locked
from tests.sweeps import plain

pytestmark = [
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(sys.platform != "linux", reason="Linux alone"),
]
LIKE_ONE_CORE = {"platform": "cpu", "devices": 1, "threads": 1}


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """As many as the tests have devices, so that a small population keeps all of them busy."""
    for module in (choosing, processes):
        monkeypatch.setattr(module, "cpu_cores", lambda: 2)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """What is remembered is seen by this test alone."""
    kept = {}
    monkeypatch.setattr(measurements, "recall", kept.get)
    monkeypatch.setattr(measurements, "keep", kept.__setitem__)
    return kept


def asked(study, thinning=None):
    return make_request(study, Sampling("grid", None, 0), thinning, name="plain")


def measured(study=None, devices=None, second=1.0, **options):
    """A study as this process has planned it, where four members on each device take a second for a step."""
    study = plain.study() if study is None else study
    prepared = prepare(examine(study, asked(study).population), 0, devices, **options)
    if not prepared.choice.measurements:
        return prepared
    timed = Measurement(4, "scan", second, 0.1, 1)
    return prepared._replace(choice=Choice(timed, (timed,)))


def test_a_sweep_must_be_long(monkeypatch):
    wanted = asked(plain.study())
    assert not worth_measuring(measured(), wanted)  # it takes a quarter of a minute
    assert worth_measuring(measured(second=60.0), wanted)
    assert not worth_measuring(measured(second=60.0), wanted, seconds=59.0)
    monkeypatch.setattr(choosing, "LONG_SECONDS", 1.0)
    assert worth_measuring(measured(), wanted)


def called_back(config, state, batch, key):
    jax.debug.callback(lambda: None)
    return plain.step(config, state, batch, key)


class Batches:
    def __iter__(self):
        return iter([plain.data().train] * 20)


STREAM = sweeps.Data(Batches(), plain.data().evaluation)


@pytest.mark.parametrize(
    "change",
    [
        {"study": plain.study(trial=plain.trial._replace(step=called_back))},
        {"study": plain.study(trial=plain.trial._replace(data=STREAM))},
        {"study": plain.study(space={"seed": range(3)})},
        {"members_per_chunk": 8},
        {"devices": jax.devices()[:1]},
        {"schedule": "halving"},
        {"platform": "darwin"},
        {"cores": 1},
        {"cores": 3},
        {"ram": 1000.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_processes_would_not_do_better_or_not_the_same_stays_here(change, monkeypatch):
    monkeypatch.setattr(choosing, "LONG_SECONDS", 0.0)
    assert worth_measuring(measured(), asked(plain.study()))
    names = {"study", "devices", "members_per_chunk"}
    given = {name: value for name, value in change.items() if name in names}
    prepared = measured(**given)
    thinning = schedules.parse(change["schedule"]) if "schedule" in change else None
    wanted = asked(change.get("study", plain.study()), thinning)
    monkeypatch.setattr(sys, "platform", change.get("platform", "linux"))
    monkeypatch.setattr(choosing, "cpu_cores", lambda: change.get("cores", 2))
    monkeypatch.setattr(choosing, "free_ram", lambda: change.get("ram", 2.0**33))
    assert not worth_measuring(prepared, wanted)
    assert outlook(prepared, wanted) is None


OURS = Plan(2, 8, "scan")
THEIRS = OURS._replace(devices=1, seconds_per_step=1.0)


class Workers(Crew):
    """Two workers, as `Choosing` sees them, four of whose members take `seconds` for a step."""

    def __init__(self, seconds, fails, planned):
        self.common = Plan(1, 4, "scan", {"members_per_device": 4}, seconds, 0.1)
        self.pool, self.there = self, True  # pyright: ignore
        self.fails, self.planned, self.rested = fails, planned, False

    def plan(self, members_per_chunk, began):
        assert members_per_chunk is None and began == Plan(1, 3, "scan")  # of nine members, evenly
        if self.fails is not None:
            raise self.fails
        return self.planned

    def rest(self):
        self.rested = True

    def room(self):
        return 2


@pytest.fixture
def choose(monkeypatch, tmp_path):
    """What chooses between this process and workers, these, what is said, and what is left at the end."""
    monkeypatch.setattr(choosing, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(choosing, "ready", contextlib.nullcontext)

    def measure(bench, loop, per_device, available):
        return Measurement(per_device, loop, 1.0, 0.1, 1)

    monkeypatch.setattr(autotune, "measure", measure)
    monkeypatch.setattr(inline.Alone, "plan", lambda self, *arguments: OURS)
    said = []
    monkeypatch.setattr(Display, "note", lambda self, line: said.append(line))

    def choose(seconds, fails=None, planned=THEIRS):
        study = plain.study()
        examined = examine(study, asked(study).population)
        workers = Workers(seconds, fails, planned)

        @contextlib.contextmanager
        def gathered(*arguments):
            yield workers
            workers.there = False

        monkeypatch.setattr(choosing, "gathered", gathered)
        last, display = contextlib.ExitStack(), Display(9, 12, shown=False)
        with locked(tmp_path) as lock:
            alone = inline.Alone(Work(examined, asked(study), lock, display, Signals()), None)
        alone.prepared = measured()
        return Choosing(alone, last), workers, said, last

    return choose


def test_processes_are_taken_if_they_are_faster(choose, known):
    chosen, workers, said, last = choose(0.5)
    assert chosen.plan(None, None) is THEIRS and chosen.trainer is workers
    assert said == [
        "2 processes train: one per core takes 0.50 of one process's time, as measured; "
        "--executor inline stays in one"
    ]
    assert workers.there and workers.rested
    last.close()
    assert not workers.there
    assert [each.processes for each in known.values()] == [pytest.approx(0.5, rel=0.02)]


@pytest.mark.parametrize("seconds", [0.99, 1.5])
def test_processes_are_not_taken_if_they_are_not(seconds, choose, known):
    chosen, workers, said, _ = choose(seconds)
    assert chosen.plan(None, None) is OURS and chosen.trainer is chosen.alone
    assert len(said) == 1 and said[0].startswith("one process trains: one per core takes ")
    assert not workers.there
    # The next run of the study knows, and starts none.
    again, fast, _, _ = choose(0.5)
    assert again.plan(None, None) is OURS and fast.there


def test_a_run_that_goes_on_chooses_nothing(choose):
    chosen, _, _, _ = choose(0.5)
    assert chosen.plan(None, Plan(2, 8, "scan")) is OURS
    assert chosen.plan(None, None) is THEIRS


def test_workers_that_cannot_plan_are_done_without(choose):
    chosen, _, said, _ = choose(0.5, fails=StudyError("`workers start` must hold, but got none"))
    assert chosen.plan(None, None) is OURS and chosen.trainer is chosen.alone
    assert said == [
        "all is trained in this process, since workers cannot: `workers start` must hold, but got none"
    ]


def test_workers_without_memory_for_as_many_members_are_done_without(choose):
    chosen, workers, said, _ = choose(0.5, planned=THEIRS._replace(seconds_per_step=math.nan))
    assert chosen.plan(None, None) is OURS and chosen.trainer is chosen.alone and not workers.there
    assert len(said) == 1 and said[0].endswith(": 8 members at once need more memory than there is")


def test_a_plan_says_what_a_run_will_do(monkeypatch, known):
    monkeypatch.setattr(choosing, "LONG_SECONDS", 0.0)
    prepared, wanted = measured(), asked(plain.study())
    assert outlook(prepared, wanted) == (
        "measured when the run begins, and taken if faster; --executor inline stays in one"
    )
    (name,) = known
    for share, verdict in ((0.8, "taken; --executor inline stays in one"), (1.0, "not taken")):
        known[name] = known[name]._replace(processes=share)
        said = f"one per core takes {share:.2f} of one process's time, as measured: {verdict}"
        assert outlook(prepared, wanted) == said
    measured(remember=False)  # as `sweeps plan` does, which times this process anew and no workers
    assert known[name].processes == 1.0


def test_what_was_measured_is_read_again(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(measurements, "_path", lambda name: tmp_path / name)
    for known in (measurements.Known(1, "scan", False), measurements.Known(1, "scan", False, (), 0.8)):
        measurements.keep("it", known)
        monkeypatch.setattr(measurements, "_known", {})
        assert measurements.recall("it") == known


def test_a_run_goes_on_where_it_began_unless_something_is_said():
    assert in_processes(LIKE_ONE_CORE) and not in_processes(None)
    assert not in_processes(LIKE_ONE_CORE | {"threads": 2})
    began = {"numerical_setting": LIKE_ONE_CORE}
    assert going_on(None, None, began) == (Processes(), True)
    assert going_on("inline", None, began) == (None, False)
    assert going_on(None, jax.devices(), began) == (None, False)
    assert going_on("processes", None, {"numerical_setting": None}) == (Processes(), False)
    assert parse("inline", None) is None


def taken(directory):
    """Devices and threads of each chunk of a run."""
    settings = [store.read_setting(folder) for folder in store.committed(directory)]
    return {(each["devices"], each["threads"]) for each in settings}


@pytest.mark.durable
def test_a_run_in_processes_that_were_chosen_goes_on_in_them(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(choosing, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(choosing, "FASTER", math.inf)
    study, out = plain.study(steps=20), tmp_path / "run"
    whole = sweeps.run(study, out=out)
    assert "2 processes train: one per core takes" in capfd.readouterr().err
    assert taken(out) == {(1, 1)}
    shutil.rmtree(store.committed(out)[0])
    for kind in store.KINDS:
        (out / f"{kind}.parquet").unlink()
    again = sweeps.resume(out, study, progress=False)
    assert again.members.equals(whole.members) and again.metrics.equals(whole.metrics)
    assert taken(out) == {(1, 1)}


@pytest.mark.parametrize("options", [{"executor": "inline"}, {"faster": 0.0}], ids=["inline", "slower"])
def test_this_process_trains_where_it_is_wanted_or_faster(options, tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(choosing, "FASTER", options.pop("faster", math.inf))
    results = sweeps.run(plain.study(), out=tmp_path / "run", progress=False, **options)
    assert {devices for devices, _ in taken(tmp_path / "run")} == {2}
    assert np.isfinite(results.final()).all()
