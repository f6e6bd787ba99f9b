import dataclasses
import traceback
from pathlib import Path

import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.errors import StudyError
from sweeps.results.optuna_export import mirror
from sweeps.results.storage import connected, masked, reachable
from sweeps.space.domains import grid
from tests.sweeps import tiny_networks

optuna = pytest.importorskip("optuna")

SECRET = "hunter2"
WRONG = [
    f"sqlite://me:{SECRET}@nowhere/optuna.db",  # which SQLAlchemy repeats in its error
    f"postgresql://me:{SECRET}@[",
    f"nowhere://me:{SECRET}@host/optuna",
    f"redis://:{SECRET}@host:1",
    f"sqlite:///no/such/folder/a.db?password={SECRET}",
    f"mysql+x://me@host/optuna?ssl_key={SECRET}&a=b",
]
# SQLite takes what it does not know from a URI, so this one can be opened.
RIGHT = f"sqlite:///file:optuna.db?uri=true&password={SECRET}"


@pytest.fixture(autouse=True)
def as_a_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept by the session")


def study() -> sweeps.Study:
    return dataclasses.replace(tiny_networks.study(10), steps=2, space={"seed": range(2)})


def nowhere_written(folder: Path = Path()) -> bool:
    return not any(SECRET.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///optuna.db", "sqlite:///optuna.db"),
        ("mysql://me@host/a", "mysql://me@host/a"),
        ("mysql://me:a/b:c@d@host/a", "mysql://me:***@host/a"),
        ("redis://:word@host:6379/0", "redis://:***@host:6379/0"),
        ("a://host/b?user=me&password=word&c=d", "a://host/b?user=me&password=***&c=d"),
        ("a://me:one@host/b?PassWd=two&sslkey=three", "a://me:***@host/b?PassWd=***&sslkey=***"),
        ("a://me:\nword@host", "a://me:***@host"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert masked(url) == shown


def test_what_repeats_a_url_or_a_part_of_it_is_shown_without_the_password():
    url = "mysql://me:p%40ss%2Fword@host/a"
    for said in (f"cannot open {url}", "login me:p@ss/word failed", "as 'p%40ss%2Fword'"):
        assert "ss" not in masked(url, said) and "***" in masked(url, said)
    assert masked("sqlite:///a.db", "disk is full") == "disk is full"


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_refused_before_training_without_its_password(url, capsys):
    Path("own.py").write_text("from tests.sweeps.results.test_storage import study\nmine = study()\n")
    assert main(["run", "own.py:mine", "--quiet", "--out", "run", "--storage", url]) == 2
    said = capsys.readouterr()
    assert "storage is the URL of a database that can be opened" in said.err and "***" in said.err
    assert SECRET not in said.out + said.err and not Path("run").exists()
    for calls in (
        lambda: sweeps.run(study(), out="run", storage=url, progress=False),
        lambda: sweeps.run(study(), storage=url, progress=False),
        lambda: reachable(url),
    ):
        with pytest.raises(StudyError, match=r"\*\*\*") as caught:
            calls()
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url", ["sqlite:///", "sqlite://", "sqlite:///:memory:", "sqlite+pysqlite:///?a=b", ""]
)
def test_a_database_that_does_not_stay_is_refused(url):
    with pytest.raises(StudyError, match=r"storage is the URL of a database that.*sqlite:///optuna\.db is"):
        sweeps.run(study(), out="run", storage=url, progress=False)
    assert not Path("run").exists()


def test_a_copy_that_fails_during_the_run_is_said_without_the_password(capsys):
    # The storage holds a study of that name that is to be maximised: it can be opened, and not copied to.
    with connected(RIGHT) as opened:
        optuna.create_study(storage=opened, study_name="study", direction="maximize")
    results = sweeps.run(study(), out="run", storage=RIGHT, progress=True)
    said = capsys.readouterr()
    assert len(results.members) == 2 and "not copied to the storage" in said.err and "***" in said.err
    assert SECRET not in said.out + said.err and nowhere_written()
    sweeps.resume("run", study(), storage=RIGHT, progress=True)
    assert SECRET not in "".join(capsys.readouterr())


def test_a_database_that_fails_later_is_said_without_the_password(monkeypatch, capsys):
    def fails(self, trial):
        raise RuntimeError(f"lost the connection of {RIGHT}")

    monkeypatch.setattr(optuna.study.Study, "add_trial", fails)
    with pytest.raises(StudyError, match=r"can be written.*lost the connection of .*\*\*\*") as caught:
        mirror(
            [{"alpha": 0.5}], [1.0], domains={"alpha": grid(0.5)}, mode="min", metric="test/loss",
            study_name="study", storage=RIGHT, numbers=[0],
        )  # fmt: skip
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    results = sweeps.run(study(), out="run", storage=RIGHT, progress=True)
    said = capsys.readouterr().err
    assert len(results.members) == 2 and "not copied to the storage" in said and SECRET not in said


def test_a_run_that_is_copied_and_exported_keeps_no_password(capsys):
    sweeps.run(study(), out="run", storage=RIGHT, progress=False)
    with connected(RIGHT) as opened:
        assert len(optuna.load_study(study_name="study", storage=opened).trials) == 2
    assert main(["export", "run", "--to", "optuna", "--out", "files"]) == 0
    assert main(["status", "run"]) == 0 and main(["report", "run"]) == 0
    assert SECRET not in "".join(capsys.readouterr()) and nowhere_written()
