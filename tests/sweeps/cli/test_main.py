import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.results.storage import connected
from sweeps.store import checksums
from tests.cases import cases
from tests.sweeps import plain

NARROW = ["--members-per-chunk", "4", "--quiet"]
SMALL = ["alpha=linspace(0, 0.3, 4)", "seed=range(3)", "--steps", "20", *NARROW]


VARIABLES = {
    "JAX_NUM_CPU_DEVICES": "2",  # as many as this process has, so that nothing is warned of
    "JAX_COMPILATION_CACHE_DIR": "kept by the session",
}


@pytest.fixture(autouse=True)
def as_a_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def test_run_trains_prints_and_writes(capsys):
    assert main(["run", "digits-mlp", *SMALL, "--out", "here"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].split()[:2] == ["alpha", "test/accuracy"]
    means = [float(line.split()[1]) for line in lines[1:5]]
    assert {line.split()[0] for line in lines[1:5]} == {"0", "0.1", "0.2", "0.3"}
    assert means == sorted(means, reverse=True) and lines[1].rstrip().endswith("best")
    assert lines[-1] == Path("here/report.html").resolve().as_uri()
    assert "is best (" in printed and "so slightly too good; add --confirm 8." in printed
    results = sweeps.load("here")
    assert len(results.members) == 12 and results.manifest["steps"] == 20
    assert pq.read_table("here/members.parquet").equals(results.members)
    assert "report.html" in printed and "digits-mlp" in Path("here/report.html").read_text()
    for name in ("test-accuracy-against-alpha.png", "learning-curves.png"):
        assert name in printed
        assert Path("here", name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run, started by the command from another folder."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "studies").mkdir()
    code = "from tests.sweeps.plain import study as make\nmine = make(steps=2, space={})\n"
    (folder / "studies" / "own.py").write_text(code)
    words = ["alpha=grid(0, 0.5)", "seed=range(2)", "--steps", "3", "--keep-best", "1", *NARROW]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder / "studies")
        for name, value in VARIABLES.items():
            patched.setenv(name, value)
        assert main(["run", "own.py:mine", *words, "--out", "../run"]) == 0
    return folder


@pytest.fixture
def finished(place, capsys):
    """A copy of that run, and of the file with its study, in the present folder."""
    shutil.copytree(place, ".", dirs_exist_ok=True)
    capsys.readouterr()
    return "run"


def test_a_finished_run_is_resumed_replayed_exported_and_its_status_said(finished, capsys):
    assert main(["status", finished]) == 0
    said = capsys.readouterr().out
    assert "mine, 4 members x 3 steps" in said and "4 done" in said and "resume" not in said
    best = sweeps.load(finished).best()
    alpha = f"alpha={best.config['alpha']:.4g}"
    assert f"best so far         test/accuracy {best.mean:.4g} at step 3, mean of 2 seeds: {alpha}" in said
    assert main(["resume", finished, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "is best (" in said and f"written to {finished}/" in said
    assert main(["replay", finished, "3", "--quiet"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["step", "test/accuracy", "test/loss", "train/loss"]
    assert said[-1] == "member 3: every bit is the same"
    assert main(["report", finished, "--figures", "--out", "mailed.html"]) == 0
    assert "mailed.html" in capsys.readouterr().out and Path("mailed.html").stat().st_size > 5e4
    assert Path("learning-curves.pdf").read_bytes()[:4] == b"%PDF"
    for format, name in (("csv", "members.csv"), ("netcdf", "results.nc")):
        assert main(["export", finished, "--to", format, "--out", "files"]) == 0
        assert f"files/{name}" in capsys.readouterr().out and Path("files", name).stat().st_size > 100
    assert [path.name for path in Path(finished, "kept").iterdir()] != []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resume", "nothing"], '"nothing" is no run directory: there is no manifest.json in it.'),
        (["status", "nothing"], "is no run directory"),
        (["resume", "run", "alpha=grid(0, 0.4)"], r"space.alpha: grid\(0, 0.5\), now grid\(0, 0.4\)"),
        (["resume", "run", "--steps", "4"], "steps: 3, now 4"),
        (["resume", "run", "--root-seed", "1"], "root_seed: 0, now 1"),
        (["replay", "run", "4"], "0 <= member < 4` must hold, but got 4"),
        (["export", "run", "--to", "netdcf"], 'Unknown format "netdcf". Did you mean "netcdf"?'),
        (["run", "studies/own.py:mine", "--out", "run"], "holds a run; name another, or `sweeps resume run`"),
        (["run", "studies/own.py:mine", "--confirm", "-1"], "0 <= confirm` must hold"),
        (["run", "studies/own.py:mine", "--checkpoint-minutes", "0"], "0 < checkpoint_minutes"),
    ],
)
def test_what_cannot_be_done_with_a_run_is_one_message(finished, words, message, capsys):
    before = Path(finished, "manifest.json").read_text()
    assert main(words) == 2
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if not line.startswith("this run's study is ")]
    assert captured.out == "" and len(said) == 1
    assert re.search(message, captured.err), captured.err
    assert Path(finished, "manifest.json").read_text() == before


@pytest.mark.filterwarnings("always")
def test_what_is_damaged_is_said_without_a_line_of_code(finished, capsys):
    shutil.copytree(finished, "hurt one")
    Path("hurt one", "manifest.json").write_text("{")
    assert main(["report", "hurt one", "--out", "report.html"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert any(line.startswith("sweeps report: ") and "`sweeps resume 'hurt one'`" in line for line in said)
    assert not any("Warning" in line for line in said)


def test_a_run_from_python_is_resumed_from_python(capsys):
    sweeps.run(plain.study(), out="run", members_per_chunk=4, progress=False)
    assert main(["resume", "run"]) == 2
    assert "call sweeps.resume(directory, study)" in capsys.readouterr().err


def test_a_storage_shows_what_is_finished(finished, capsys):
    optuna = pytest.importorskip("optuna")
    assert main(["export", finished, "--to", "optuna", "--out", "files"]) == 0
    words = ["studies/own.py:mine", "alpha=linspace(0, 0.5, 6)", "seed=range(2)", "--steps", "9", *NARROW]
    words += ["--storage", "sqlite:///live.db"]
    assert main(["run", *words, "--schedule", "halving(min_steps=3)", "--out", "thinned"]) == 0
    for url, members, steps in (("sqlite:///files/optuna.db", 4, 3), ("sqlite:///live.db", 12, 9)):
        with connected(url) as opened:
            trials = optuna.load_study(study_name="mine", storage=opened).get_trials()
        assert sorted(trial.user_attrs["member"] for trial in trials) == list(range(members))
        done = [trial for trial in trials if trial.user_attrs["status"] == "done"]
        assert done and all(trial.intermediate_values[steps] == trial.value for trial in done)
    assert {trial.user_attrs["status"] for trial in trials} == {"done", "stopped"}
    assert main(["run", *words[:-2], "--storage", "nonsense", "--out", "other"]) == 2
    assert "storage is the URL of a database" in capsys.readouterr().err and not Path("other").exists()


def test_a_replay_that_differs_is_exit_status_1(finished, capsys):
    (chunk,) = Path(finished, "chunks").iterdir()
    rows = pq.read_table(chunk / "metrics.parquet")
    place = rows.column_names.index("test/loss")
    other = rows["test/loss"].to_numpy() + np.float32(1e-3)
    pq.write_table(rows.set_column(place, "test/loss", pa.array(other)), chunk / "metrics.parquet")
    checksums.write(chunk)  # otherwise it is damaged, and not another member's numbers
    assert main(["replay", finished, "0", "--quiet"]) == 1
    said = capsys.readouterr().out
    assert ", now " in said and "member 0: not the same" in said


@pytest.mark.durable
def test_folds_in_toml_and_on_the_command_line(capsys):
    code = "from tests.sweeps.plain import study as make\nmine = make(steps=2, space={})\n"
    Path("own.py").write_text(code)
    Path("own.toml").write_text(
        'study = "own.py:mine"\nmetric = "validation/loss"\nmode = "min"\n[space]\nfold = "folds(5)"\n'
    )
    assert main(["run", "own.toml", "alpha=grid(0, 0.5)", *NARROW, "--out", "whole"]) == 0
    printed = capsys.readouterr().out
    assert "Picked on the same folds it is scored on, so slightly too good" in printed
    assert "over 5 folds, corrected for what folds share (Nadeau and Bengio, 2003)" in printed
    assert "paired t-tests over folds at 5 %" in printed
    results = sweeps.load("whole")
    assert results.members["fold"].to_pylist() == [0, 1, 2, 3, 4] * 2
    assert main(["run", "own.py:mine", "fold=folds(5)", "alpha=grid(0, 0.5)", *NARROW, "--out", "again"]) == 0
    assert sweeps.load("again").metrics.equals(results.metrics)
    page = Path("whole/report.html").read_text()
    assert "5 folds" in page and "corrected for what folds share (Nadeau and Bengio, 2003)" in page
    assert main(["plan", "own.py:mine", "fold=folds(5)", "seed=range(2)"]) == 0
    assert "10: 1 configurations x 2 seeds x 5 folds" in capsys.readouterr().out


def test_a_study_from_a_file_a_module_and_toml(capsys, monkeypatch):
    code = "from tests.sweeps.plain import study as make\nmine = make(steps=2, space={})\n"
    Path("own_study.py").write_text(code)
    monkeypatch.syspath_prepend(".")
    Path("own.toml").write_text(
        'study = "own_study.py:mine"\nsteps = 3\nsamples = 2\n[space]\nalpha = "uniform(0, 1)"\n'
    )
    for reference, steps, members in (
        ("own_study.py:mine", 2, 1),
        ("own_study:mine", 2, 1),
        ("own.toml", 3, 2),
    ):
        out = f"out-{reference.replace(':', '-')}"
        assert main(["run", reference, *NARROW, "--out", out]) == 0
        results = sweeps.load(out)
        assert (results.manifest["steps"], len(results.members)) == (steps, members)
    capsys.readouterr()


def test_plan_says_how_it_would_run_and_trains_nothing(capsys):
    space = '{"alpha": "linspace(0, 0.5, 96)", "seed": range(10)}'
    Path("own.py").write_text(f"from tests.sweeps import plain\nstudy = plain.study(space={space})\n")
    assert main(["plan", "own.py:study", "--steps", "30"]) == 0
    printed = dict(
        line.split(None, 1) for line in capsys.readouterr().out.replace(" per ", "-per-").splitlines()
    )
    assert printed["members"] == "960: 96 configurations x 10 seeds"
    assert printed["static"].split()[1] == "1," and printed["devices"].startswith("2 x ")
    assert printed["members-per-chunk"].endswith("chunks") and printed["member-steps"] == "28,800"
    assert float(printed["memory-per-member"].split()[0]) > 0 and "predicted" in printed
    assert {path.name for path in Path().iterdir()} <= {"own.py", "__pycache__"}


def test_list_names_every_ready_study(capsys):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    for path in Path(sweeps.__file__).parent.glob("studies/[a-z]*.py"):
        assert path.stem.replace("_", "-") in listed
    assert "Test accuracy against α" in listed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits-mpl"], r'Unknown study "digits-mpl"\. Did you mean "digits-mlp"\?'),
        (["no_such_module:study"], "No module named 'no_such_module'. Write file.py:study for a file."),
        (["nothing.py:study"], 'There is no file "nothing.py".'),
        (["five.py"], r"run: Add the study's name: five\.py:study\.$"),
        (["five"], r'Unknown study "five"\. `sweeps list` shows .* file\.py:object or a \.toml file\.$'),
        (["sweeps.studies.digits_mlp:studdy"], 'has no study "studdy". Did you mean "study"?'),
        (["sweeps.studies.digits_mlp:Config"], "is a sweeps.Study` must hold, but got a type"),
        (
            ["sweeps.studies.digits_mlp:make"],
            "got a function; give what it returns a name there, and ask",
        ),
        (["missing.toml"], "`missing.toml can be read` must hold"),
        (["digits-mlp", "alhpa=1"], 'Config has no field "alhpa". Did you mean "alpha"?'),
        (["digits-mlp", "alpha"], 'Say what values "alpha" takes, such as alpha=\'linspace'),
        (["digits-mlp", "alpha=linspace(0, 1"], r'field `alpha`: Missing "\)" in "linspace\(0, 1"\.'),
        (["digits-mlp", "alpha=steep"], "alpha takes a number, but got 'steep'."),
        (["digits-mlp", "alpha=uniform(0, 1)"], "Say how many points are drawn of .*--samples 16"),
        (["digits-mlp", "seed=range(-2, 2)"], "seed is a whole number from 0.*-2"),
        (["digits-mlp", "--steps", "0"], "`1 <= steps` must hold.*steps=0"),
        (["digits-mlp", "--out", "occupied"], "a new or empty folder.*something else"),
        (["digits-mlp", "--out", "occupied/file.txt"], "which is a file"),
        (["digits-mlp", "--out", "occupied/file.txt/run"], "`out can be written` must hold"),
    ],
)
def test_wrong_input_is_exit_status_2_and_one_message(words, message, capsys):
    Path("occupied").mkdir()
    Path("occupied/file.txt").write_text("mine")
    assert main(["run", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert re.search(message, captured.err), captured.err
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(
    "words", [[], ["rnu"], ["run"], ["run", "digits-mlp", "--stpes", "3"], ["list", "x"]]
)
def test_a_wrong_command_line_is_exit_status_2_and_one_message(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and "--help" in captured.err


def test_a_damaged_study_file_is_said(capsys):
    for text, message in (
        ("study = ", "is TOML` must hold"),
        ("steps = 3", 'names no study. Add a line such as study = "digits-mlp".'),
        ('study = "digits-mlp"\nstpes = 3', 'has the unknown key "stpes". Did you mean "steps"?'),
        ('study = "digits-mlp"\nspace = 3', "`space is a table` must hold in own.toml, but got 3"),
    ):
        Path("own.toml").write_text(text)
        assert main(["run", "own.toml"]) == 2
        assert re.search(message, capsys.readouterr().err)


def test_what_nobody_reads_and_what_a_terminal_cannot_show_is_no_trace():
    code = "import sys; from sweeps.cli.main import main; sys.exit(main(['list']))"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    environment, pipe = os.environ | ascii_only, subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, env=environment) as unread:
        assert unread.stdout is not None and unread.stderr is not None
        unread.stdout.close()
        assert unread.stderr.read() == b"" and unread.wait(60) == 141
    Path("own.toml").write_text('study = "digits-mlp"\nalhpa = "σ"\n', encoding="utf-8")
    code = code.replace("main(['list'])", "main(['list']) + main(['run', 'own.toml'])")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert shown.returncode == 2 and b"Test accuracy against \\u03b1" in shown.stdout
    (refused,) = shown.stderr.splitlines()
    assert b'own.toml has the unknown key "alhpa"' in refused


def test_a_full_device_is_one_message():
    code = "import sys; from sweeps.cli.main import main; sys.exit(main(['list']))"
    for unbuffered in ("", "1"):
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-c", code]
            said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, check=False)
        assert said.returncode == 1
        (line,) = said.stderr.decode().splitlines()
        assert line.startswith("sweeps list: `what is printed has room where it goes` must hold, but got: No")


def test_where_nobody_reads_on_there_is_a_report_and_no_other_status():
    code = "import sys; from sweeps.cli.main import main; sys.exit(main(sys.argv[1:]))"
    for words in (["run", "digits-mlp", *SMALL, "--out", "here"], ["replay", "here", "3"]):
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-c", code, *words], stdout=pipe, stderr=pipe) as unread:
            assert unread.stdout is not None and unread.stderr is not None
            unread.stdout.close()
            assert b"Traceback" not in unread.stderr.read() and unread.wait(60) == 141
        assert Path("here/report.html").exists() and Path("here/learning-curves.png").exists()


OWN = """import dataclasses
from tests.sweeps import plain

@dataclasses.dataclass(frozen=True)
class Config(plain.Config):
    größe: str = "mäßig"

space = {"größe": ("mäßig", "groß"), "seed": range(2)}
mine = plain.study(trial=plain.trial._replace(config=Config), space=space)
"""
COMMANDS = """import os, signal, sys
from sweeps.cli.main import main
from sweeps.host.progress import Display
shown = Display.chunk
def chunk(*words):
    shown(*words)
    os.kill(os.getpid(), signal.SIGINT)
Display.chunk = chunk
found = [main(["run", "own.py:mine", "--out", "run", "--members-per-chunk", "2"])]
Display.chunk = shown
for words in (["resume"], ["status"], ["report", "--figures"], ["export", "--to", "csv"]):
    found.append(main([words[0], "run", *words[1:]]))
print(sys.getfilesystemencoding(), found)
"""


@pytest.mark.durable
def test_a_run_a_resume_and_a_report_in_the_locale_c(tmp_path):
    Path("own.py").write_text(OWN, encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    places = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla"), "MPLBACKEND": "Agg"}
    places["PYTHONPATH"] = str(Path(plain.__file__).parents[2])
    environment = os.environ | locale | places
    done = subprocess.run([sys.executable, "-c", COMMANDS], env=environment, capture_output=True, check=False)
    last = done.stdout.splitlines()[-1]
    assert last == b"ascii [130, 0, 0, 0, 0]" and b"Traceback" not in done.stderr, done.stderr
    results = sweeps.load("run")
    assert set(results.members["größe"].to_pylist()) == {"mäßig", "groß"}
    assert set(results.members["status"].to_pylist()) == {"done"}
    for name in ("report.html", "members.csv"):
        assert "größe" in Path("run", name).read_text(encoding="utf-8")


@pytest.mark.parametrize("number", cases([signal.SIGINT, signal.SIGHUP], [signal.SIGINT], "durable"))
def test_ctrl_c_and_a_closed_terminal_end_it_and_keep_what_was_finished(number, tmp_path):
    Path("own.py").write_text("from tests.sweeps.plain import study as make\nmine = make()\n")
    words = ["run", "own.py:mine", "seed=range(40)", "--steps", "4000", "--members-per-chunk", "2"]
    words += ["--out", "run"]
    code = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores\n"
    code += "from sweeps.cli.main import main; sys.exit(main(sys.argv[1:]))"
    root = Path(plain.__file__).parents[2]  # where the file's own import is found
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla"), "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, env=environment, start_new_session=True
    )
    chunks = tmp_path / "run" / "chunks"
    until = time.monotonic() + 120
    while not (chunks.exists() and [path for path in chunks.iterdir() if path.name[0] != "."]):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number and b"stopped; go on with: sweeps resume" in error
    assert b"Traceback" not in error and not (tmp_path / "run" / "lock").exists()
    status = pq.read_table(tmp_path / "run" / "members.parquet")["status"].to_pylist()
    assert len(status) == 120 and {"done", "pending"} == set(status)
    assert sweeps.load(tmp_path / "run").members["status"].to_pylist() == status
