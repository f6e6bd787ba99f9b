"""Wrong command lines: every one ends in exit status 2 and one message, and nothing is written.

They are made of a few lists: every flag with values that it cannot have, every word of the grammar with
arguments that it does not take, and what else STUDY, FIELD=DOMAIN, DIR and a study file must not be. A third
of them is tried by default; `pytest -m durable` tries all.
"""

import itertools
import sys
from pathlib import Path

import pytest

from sweeps.cli.main import main

TAKEN = ("random", "numpy", "json", "__main__")  # modules whose names study files have
HUGE, LONGER = "9" * 400, "9" * 5000  # more than an int64; more than Python reads as a number
NUL, LONG = "a\0b", "a" * 300
RUN = ["run", "own.py:mine", "--out", "new", "--quiet"]
WHOLE = ["", "x", "1.5", "1e3", "nan", "-1", HUGE, LONGER]
FLAGS = {
    "--steps": [*WHOLE, "0"],
    "--samples": [*WHOLE, "0", "7"],
    "--root-seed": [*WHOLE, "4294967296"],
    "--members-per-chunk": [*WHOLE, "0"],
    "--points-per-batch": [*WHOLE, "0", "7"],
    "--confirm": [*WHOLE, "4294967296"],
    "--keep-best": WHOLE,
    "--devices": [*WHOLE, "0", "3"],
    "--worker-cpus": [*WHOLE, "0", "1"],
    "--worker-gpus": [*WHOLE, "0", "1"],
    "--checkpoint-minutes": ["", "x", "nan", "0", "-1", "-inf", "inf", HUGE, "1e999"],
    "--search": ["", "x", "gird", "tpe", "sobol()", "[1]", NUL, LONG, "~" * 1000 + "1"],
    "--schedule": [
        "", "x", "3", "halving(", "halvign", "halving(3)", "halving(eta=1)", "halving(eta=x)",
        "halving(rate=3)", "halving(eta=3, eta=3)", "halving(eta=" + HUGE + ")",
        "halving(eta=" + "~" * 1000 + "1)", "halving(eta=" + "-" * 1000 + "1)",
        "halving(eta=" + "+1" * 1000 + ")", "halving(**{})", "halving(*x)", "halving(min_steps=" + HUGE + ")",
        "halving(min_steps=0)", "halving(min_steps=5)", "hyperband(eta=2.5)", "a.b", "a" + ".b" * 1000,
        "pbt(every=0)", "pbt(every=" + HUGE + ")", "pbt(fraction=2)", "pbt(fraction=" + HUGE + ")",
        "pbt(factors=3)", "pbt(factors=(1, 2, 3))", "pbt(factors=(0.5, 1e999))",
        "pbt(factors=(((1)), 'x'))", "pbt(factors=(" + HUGE + ", 0.5))", "pbt", NUL, "[" * 1000,
        "(" * 150 + ")" * 150,
    ],
    "--executor": ["", "x", "prosesses", NUL, LONG],
    "--address": ["", "auto", "localhost"],
    "--storage": [
        "", "x", "sqlite:///", "sqlite://", "sqlite:///no/such/folder/a.db", "nowhere://x", "://", "a.db",
        "sqlite:///" + LONG, "sqlite:///" + NUL, "postgresql://u:p@[", "mysql://", "redis://x:99999",
        "sqlite:////", "sqlite:///.",
    ],
    "--warm-start": ["", "nothing", "own.py", "empty", NUL, LONG],
    "--data": [
        "", "x", "mnist", "=", "mnist=", "=x", "mnits=x", "mnist=nothing", "mnist=" + NUL, "mnist=" + LONG,
        "mnist=~no-such-user/x", "cifar10=empty",
    ],
    "--out": ["own.py", "own.py/new", "full", "dangling/new", NUL, LONG, "new/" + LONG, "/proc/new",
              "/dev/null"],
}  # fmt: skip
CALLS = {
    "grid": ["", "nan", "1, 1", "1, 1.0", "x=1", "*x", "**x", "{1}", "{1: 2}", "1 + 1", "f(1)", "b'x'", "1j",
             "...", "~1", "not 1", "'x' 'y' 1", "f'{x}'", "lambda: 1", "x[0]", "x.y", "(nan,)", "1, 'x'",
             "()", "1e999, -x"],
    "linspace": ["", "0", "0, 1", "0, 1, 0", "0, 1, -1", "0, 1, 2.5", "0, 1, true", "0, 1, x", "0, x, 3",
                 "x, 1, 3", "0, inf, 3", "nan, 1, 3", "0, 1e999, 3", f"0, 1, {HUGE}", f"0, {HUGE}, 3",
                 f"-{HUGE}, 1, 3", "-1.7e308, 1.7e308, 3", "0, 1, num=3, num=3", "0, 1, 3, 4", "0, 1, nmu=3",
                 "0, 1, 3, num=3", "0, 1, 99999999", "(0, 1), 1, 3", "none, 1, 3", "'0', 1, 3", "0, 1, [3]",
                 f"0, 1, {LONGER}", "*x"],
    "logspace": ["", "1, 2", "0, 1, 3", "-1, 1, 3", "-4, -1, 3", "1, 2, 0", "1, inf, 3", f"1, {HUGE}, 3",
                 f"1, 2, {HUGE}", "1, 2, num=3, num=4", f"-{HUGE}, 1, 3", "1, 2, 3, 4", "'a', 2, 3",
                 "-4, -1, x"],
    "range": ["", "0", "-1", "1.5", "x", "1, 5, 0", "5, 1", "1, 2, 3, 4", "stop=3", HUGE, f"{HUGE}, {HUGE}",
              "true", "99999999", f"0, {HUGE}, {HUGE}", f"-{HUGE}", "none", "(1,)", LONGER],
    "uniform": ["", "0", "0, 1", "1, 0", "1, 1", "0, inf", "-inf, 0", "0, nan", f"0, {HUGE}", f"-{HUGE}, 0",
                "0, x", "-1.7e308, 1.7e308", "low=0", "0, 1, 2", "low=0, low=1, high=2", "true, 2",
                "none, 1"],
    "log_uniform": ["", "0, 1", "-1, 1", "1, 1", "2, 1", f"1, {HUGE}", "1, inf", "x, 1", "1", "1, 2, 3",
                    "-2, -1"],
    "int_uniform": ["", "0", "1, 0", "1, 1", "0, 1.5", "0, inf", "nan, 1", f"0, {HUGE}", "0, x", "low=0",
                    "0, 1, 2", "true, 2", "none, 1", f"0, {2**60}"],
    "int_log_uniform": ["", "0, 4", "-1, 1", "1, 1", "2, 1", "1, 2.5", f"1, {HUGE}", "x, 1", "1"],
    "normal": ["", "0", "0, 0", "0, -1", "0, inf", "nan, 1", f"{HUGE}, 1", f"0, {HUGE}", "x, 1", "0, 1, 2",
               "0, 1", "std=1", "1.7e308, 1.7e308"],
    "choice": ["", "nan", "1, 1", "x=1", "1 + 1", "f(1)", "0, 1", "none, none"],
    "folds": ["", "1", "5", "x", "num=5, num=5"],  # which a field does not take
}  # fmt: skip
DEEP = [
    "~",
    "-",
    "not ",
    "+",
    "(",
    "[",
    "grid(",
    "x.",
    "1+",
    "1,(",
    "lambda:",
    "await ",
    "{",
    "f(",
    "x[",
    "*",
    "-~",
]
DOMAINS = [
    "", " ", "(", ")", "]", "[]", "()", "{}", "1 2", "=", "=1", "1 if 1 else 2", "x := 1", "#", "\\", "'",
    '"', "'''", "\n", "1\n2", "\t1\n x", NUL, "\ud800", "é(", "١", "0x", "1_", "08", "1e", HUGE, "-" + HUGE,
    LONGER, "nan", "[nan]", "[1, 1]", "steep", "none", "true", "'a'", "[[1]]", "[0, [1]]", "__import__('os')",
    "grid", "linspace", "a.b(1)", "f()()", "lnispace(0, 1, 3)", "(lambda: 1)()", "linspace(0, 1, 3)(1)",
    "'\\d'", "b'1'", "1j", "0.1.2", "import os", "x; y", "yield", "await x", "f'{1}'", "print(1)", "1if 1",
    *(word * 1000 + "1" for word in DEEP), *(word * 90 + "1" for word in DEEP), "(" * 150 + ")" * 150,
]  # fmt: skip
FIELDS = ["", "=", "alpha", "=1", "alhpa=1", " alpha=1", "alpha =1", "seed", "sede=1", "step=1", "alpha==1",
NUL,
          "α=1", "a" * 300 + "=1", "__class__=1", "alpha:1", "alpha=1=1"]  # fmt: skip
TYPED = {  # what the fields' types refuse
    "alpha": ["steep", "true", "'1'", "none", "grid(1, x)", HUGE],
    "width": ["1.5", "x", "true", "none", "inf", "linspace(1, 2, 3)", HUGE, "-" + HUGE, "uniform(1, 2)", "0",
              "-1"],
    "rule": ["sdg", "1", "none", "true", "range(2)", "(1,)", "''", "'\\x00'", LONG],
    "shape": ["1", "x", "(1, x)", "(1, 2, 3)", "()", "none", "(1.5, 1)", "range(2)", "(true, 1)"],
    "seed": ["-1", "1.5", "x", "none", "true", "uniform(0, 1)", "range(-2, 2)", "4294967296", HUGE,
             "linspace(0, 1, 3)", "choice(1, 2)", "inf", "grid(0, -1)"],
    "fold": ["1", "range(5)", "folds", "folds()", "folds(1)", "folds(0)", "folds(-2)", "folds(1.5)",
             "folds(x)", "folds(true)", f"folds({HUGE})", "folds(99999)", "folds(2, 3)", "uniform(0, 1)",
             "folds(2, groups='x')", "folds(2, groups=(1, 2, 3))", "folds(2, groups=3)",
             "folds(num=2, num=2)"],
}  # fmt: skip
STUDIES = [
    "", " ", ":", ":study", ":mine", "own.py", "own.py:", "own.py:mien", "own.py:Config", "own.py:__class__",
    "own.py:mine.trial", "own.py:mine:mine", "own:mien", "own.py :mine", ".py:study", "nothing.py:study",
    "nothing:study", "folder.py:study", "a.b.c:study", ".own:mine", "..:mine", "..own:mine", "own.:mine",
    "own..x:mine", "/:mine", "./own:mine", "folder/:mine", "syntax.py:study", "raises.py:study",
    "raises:study", "leaves.py:study", "leaves:study", "bytes.py:study", "null.py:study", "missing.py:study",
    "missing:study", "recursive.py:study", "lazy.py:study", "lazy:study", "refuses.py:study",
    "random.py:study", "numpy.py:study", "__main__.py:study", "json.py:study", "digits-mpl", "digits_mlp",
    "Digits-MLP", "list", "study", NUL, NUL + ":mine", NUL + ".py:mine", LONG, LONG + ":mine",
    LONG + ".py:mine", "own.py:" + LONG, "a" + ".a" * 2000 + ":mine", "\ud800", "\ud800:mine", "sys:path",
    "os:mine", "builtins:print", "sweeps:run", "é:mine", "1:2", "*:*", "~:mine", "~nobody/x.py:mine",
    "own.py;mine", "http://x.y/z.py:mine", "own.pyc:mine", "own.PY:mine", "none.py:study",
]  # fmt: skip
FILES = [
    "", "study", "study = ", "study = 3", "study = []", 'study = ""', 'study = "x"', 'study = "file.toml"',
    'study = "./file.toml"', 'study = "other.toml"', 'study = "nothing.toml"', 'study = "raises.py:study"',
    'study = "a\\u0000b"', 'study = "a\\u0000b.toml"', "steps = 3", "[study]", "\x00", "\x01", "a" * 300,
    "[" * 300, "x = " + "[" * 5000, "x = " + "{a=" * 2000, "a" + ".a" * 3000 + " = 1",
    'study = "own.py:mine"\nstudy = "x"',
]  # fmt: skip
KEYS = {
    "stpes": ["3"],
    "steps": ['"x"', "0", "-1", "1.5", "true", "[3]", "{}", "nan", "1979-05-27", HUGE, LONGER, "{a = 1}",
              "[[]]"],
    "metric": ["3", "[]", '"dead"', '""', "{}", "true", '"test/lsso"', "1979-05-27", '"\\u0000"'],
    "mode": ["3", '"mix"', "[]", '["max"]', "{}", '""', "true", "1.5"],
    "evaluate_every": ["0", "-1", "1.5", '"x"', "[]", "true", HUGE, "nan"],
    "batches": ["3", '"own"', "[]", "{}", "true", '""'],
    "samples": ["0", "-1", "1.5", '"x"', "[3]", "true", "{}", HUGE, "nan", "7"],
    "search": ["3", "[1]", '"x"', "{}", "true", '""', "1.5", "[]", '"tpe"', "1979-05-27"],
    "schedule": ["3", "[1]", '"x"', "{}", "true", '""', '"halving(eta=1)"', '["halving"]', "1.5"],
    "space": ["3", '"x"', "[]", "true", "[[]]", "1979-05-27", "{alhpa = 1}", "{alpha = {}}",
              "{alpha = {a = 1}}", "{alpha = []}", "{alpha = nan}", "{alpha = [nan]}", "{alpha = [1, 1]}",
              "{alpha = 1979-05-27}", "{alpha = [1979-05-27]}", '{alpha = "("}', "{alpha = [{}]}",
              '{alpha = "steep"}', "{alpha = true}", "{seed = -1}", "{seed = 1.5}",
              '{seed = "uniform(0, 1)"}', f"{{seed = {HUGE}}}", "{alpha.b = 1}", f"{{alpha = {HUGE}}}",
              f"{{width = {HUGE}}}", "{width = [1.5]}", "{shape = [[1]]}", "{shape = 1}", '{"" = 1}',
              '{"a b" = 1}', "{alpha = " + "[" * 80 + "]" * 80 + "}", "{alpha = 12:30:00}",
              "{fold = 5}", '{fold = "folds(1)"}', '{alpha = "folds(5)"}'],
}  # fmt: skip
DIRECTORIES = ["", "nothing", "own.py", "own.py/x", "empty", "dangling", "not-json", "other-json",
"list-json",
               "later", "folder-json", NUL, LONG, "/proc", "\ud800", "~nobody"]  # fmt: skip
READING = [["status"], ["resume"], ["report"], ["export", "--to", "csv"], ["replay"]]
OTHERS = [
    [*RUN, "alpha=1", "alpha=2"], [*RUN, "seed=1", "alpha=2", "seed=1"], [], [""], ["rnu"], ["run"], ["plan"],
    ["status"], ["resume"], ["replay"], ["replay", "empty"], ["export", "empty"], ["list", "x"], ["list",
    "--quiet"], ["run", "own.py:mine", "--stpes", "3"], ["run", "own.py:mine", "--steps"], ["run",
    "own.py:mine", "--", "--steps"], ["run", "--quiet"], ["run", "own.py:mine", "--quiet=3"], ["--steps",
    "3"], ["status", "empty", "x"], ["status", "empty", "--x"], ["export", "empty", "--to", "netdcf"],
    ["replay", "empty", "x"], ["replay", "empty", "-1"], ["replay", "empty", HUGE], ["replay", "empty",
    "1.5"], ["replay", "empty", LONGER], ["reproduce", "--only"], ["reproduce", "x"], ["run", "own.py:mine",
    "--trust"], ["run", "own.py:mine", "alpha=linspace(0, 1, 10000000)", "seed=range(16)", "--out", "new"],
    ["run", "own.py:mine", "alpha=linspace(0, 1, 10000000)", "width=range(1, 10000000)", "--out", "new"],
    ["plan", "own.py:mine", "alpha=linspace(0, 1, 10000000)", "seed=range(16)"], ["run", "own.py:mine",
    "alpha=uniform(0, 1)", "--samples", "9" * 4000, "seed=range(10000000)", "--out", "new"], ["run",
    "own.py:mine", "seed=grid(4294967290)", "--confirm", "9", "--out", "new"], ["run", "own.py:mine",
    "alpha=linspace(0, 1, 10000000)", "width=range(1, 9)", "--search", "random", "--out", "new"], ["run",
    "own.py:mine", "alpha=linspace(0, 1, 4)", "--search", "tpe", "--samples", "3", "--points-per-batch", "0"],
    ["run", "own.py:mine", "--keep-best", "1", "--out", "own.py"], ["run", "own.py:mine", "--schedule", "pbt",
    "--out", "new"],
]  # fmt: skip
SLOW = [  # which import the ready studies, or trace them
    ["reproduce", "--only", "x"], ["reproduce", "--only", "digits-mpl"], ["reproduce", "--data", "x", "--out",
    "new"], ["reproduce", "--out", "own.py", "--only", "activations"], ["reproduce", "--out", NUL, "--only",
    "activations"], ["reproduce", "--out", LONG, "--only", "activations"], ["reproduce", "--data",
    "mnist=nothing", "--out", "new"], ["run", "digits-mlp", "width=0", "--out", "new"], ["run", "digits-mlp",
    "width=-1", "--out", "new"], ["plan", "digits-mlp", "width=0"],
]  # fmt: skip

OF_A_RUN = [  # which is finished, in the folder `run`
    *(["report", "run", "--out", out] for out in ("", ".", LONG, NUL, "full", "own.py/x", "full/" + LONG,
    "no/x")), *(["report", "run", "--figures", "--out", out] for out in ("", LONG, "full", "own.py/x",
    "/proc/x")), *(
        ["export", "run", "--to", kind, "--out", out]
        for kind in ("csv", "netcdf", "optuna") for out in (LONG, NUL, "own.py", "own.py/x", "/proc/x")
    ),
    *(["export", "run", "--to", kind] for kind in ("", "x", "CSV", NUL, LONG)),
    *(["resume", "run", "--steps", steps] for steps in ("0", "4", HUGE)),
    *(["resume", "run", "--samples", samples] for samples in ("0", "3", HUGE)),
    *(["resume", "run", "--root-seed", seed] for seed in ("-1", "1", "4294967296", HUGE)),
    *(["resume", "run", "--devices", devices] for devices in ("0", "99", HUGE)),
    *(["resume", "run", "--executor", executor] for executor in ("", "x", "prosesses")),
    *(["resume", "run", "--storage", storage] for storage in ("", "sqlite:///", "x://u:p@h", "a.db")),
    *(["resume", "run", word] for word in ("alpha", "beta=1", "alpha=" + "~" * 1000 + "1", "alpha=grid(0, 2)",
                                           "seed=range(3)", "width=0", "seed=range(10000000)")),
    ["resume", "run", "--address", "x"], ["resume", "run", "--worker-cpus", "0"],
    *(["replay", "run", member] for member in ("", "-1", "4", "x", HUGE)),
    ["status", "run", "x"], ["status", "run/chunks"], ["status", "run/manifest.json"], ["report",
    "run/chunks"], [*RUN, "--warm-start", "run"], [*RUN, "--warm-start", "run/chunks", "--search", "tpe"],
    [*RUN, "--warm-start", "run", "--search", "tpe", "--samples", "3", "alpha=uniform(5, 6)"],
]  # fmt: skip

HEAD = """import dataclasses, typing
import jax.numpy as jnp
import sweeps

@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.5
    width: int = 2
    rule: typing.Literal["sgd", "adam"] = "sgd"
    shape: tuple[int, int] = (1, 1)

def init(config, key):
    if config.width < 1:
        raise ZeroDivisionError("a layer without units")
    return jnp.zeros(config.width)

def step(config, state, batch, key):
    return state + config.alpha, {"train/loss": state.mean()}

trial = sweeps.Trial(Config, None, init, step, lambda config, state, data: {"test/loss": state.mean()})
mine = sweeps.Study(trial, steps=5, metric="test/loss")
"""
SOURCES = {
    "own.py": HEAD,
    "syntax.py": "study = (\n",
    "raises.py": "import math\n\n\nstudy = math.sqrt(-1)\n",
    "leaves.py": "import argparse\nargparse.ArgumentParser().parse_args(['--wrong'])\n",
    "null.py": "study = 1\x00\n",
    "missing.py": "import no_such_module_at_all\n",
    "recursive.py": "def f():\n    f()\nf()\n",
    "lazy.py": "def __getattr__(name):\n    raise RuntimeError('not now')\n",
    "refuses.py": "import sweeps\nstudy = sweeps.Study(None, steps=0, metric='test/loss')\n",
    "none.py": "study = None\n",
    "other.toml": 'study = "file.toml"\n',
    **dict.fromkeys([f"{name}.py" for name in TAKEN], HEAD.replace("mine =", "study =")),
    "not-json/manifest.json": "{",
    "other-json/manifest.json": "{}",
    "list-json/manifest.json": "[1]",
    "later/manifest.json": '{"format_version": 99}',
    "full/mine.txt": "mine",
}


DOMAIN_WORDS = [
    *(f"alpha={domain}" for domain in [*(f"{name}({given})" for name in CALLS for given in CALLS[name]),
    *DOMAINS]), *(f"{field}={value}" for field, values in TYPED.items() for value in values),
    *FIELDS,
]  # fmt: skip
TABLES = [*FILES, *(f'study = "own.py:mine"\n{key} = {value}\n' for key in KEYS for value in KEYS[key])]
LINES = {
    "flags": [[*RUN, flag, value] for flag, values in FLAGS.items() for value in values],
    "domains": [[*RUN, word] for word in DOMAIN_WORDS],
    "studies of run": [["run", word] for word in STUDIES],
    "studies of plan": [["plan", word] for word in STUDIES],
    "files of run": [["run", "file.toml", text] for text in TABLES],
    "files of plan": [["plan", "file.toml", text] for text in TABLES],
    "directories": [
        [*words, directory, *(["0"] if words == ["replay"] else [])]
        for words, directory in itertools.product(READING, DIRECTORIES)
    ],
    "lines": OTHERS,
    "slow lines": SLOW,
    "of a run": OF_A_RUN,
}
QUICK = ["flags", "domains", "directories", "lines", "studies of run", "files of run"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with studies, right and wrong, and with what is no run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept by the session")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, text in SOURCES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    Path("bytes.py").write_bytes(b"x = '\xff\xfe'\n")
    for name in ("folder.py", "empty", "folder-json/manifest.json"):
        Path(name).mkdir(parents=True)
    Path("dangling").symlink_to("nowhere")
    yield tmp_path
    for name in map(Path, SOURCES):
        if name.suffix == ".py" and name.stem not in TAKEN:
            sys.modules.pop(name.stem, None)


def standing(folder: Path) -> set[tuple[str, int]]:
    """What is in a folder, besides what Python makes of what it imports."""
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {(str(path), 0 if path.is_dir() else path.lstat().st_mtime_ns) for path in paths}


def fault(words: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """What is wrong with how a wrong command line ends; None if nothing is."""
    modules = [sys.modules.get(name) for name in TAKEN]
    try:
        status = main(words)
    except SystemExit as ended:
        status = ended.code
    except BaseException as error:
        return f"a trace: {type(error).__name__}: {error}"
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if not line.startswith("this run's study is ")]
    if words[1:2] in (["leaves.py:study"], ["leaves:study"]):
        said = said[2:]  # what argparse says in that study
    if status != 2 or out or len(said) != 1 or not said[0].startswith("sweeps") or len(said[0]) > 1000:
        return f"status {status}, {out[:80]!r}, {err[:300]!r}"
    if [sys.modules.get(name) for name in TAKEN] != modules:
        return "it replaced a module"
    return None


@pytest.mark.parametrize(
    ("kind", "stride"),
    [(kind, 3) for kind in QUICK] + [pytest.param(kind, 1, marks=pytest.mark.durable) for kind in LINES],
)
def test_a_wrong_line_is_status_2_and_one_message_and_writes_nothing(folder, kind, stride, capsys):
    if kind == "of a run":
        words = ["alpha=grid(0, 1)", "seed=range(2)", "--steps", "3", "--out", "run", "--quiet"]
        assert main(["run", "own.py:mine", *words]) == 0
        capsys.readouterr()
    faults = {}
    for words in LINES[kind][::stride]:
        text = words[2:] if kind.startswith("files") else []
        if text:
            Path("file.toml").write_text(text[0], encoding="utf-8")
            words = words[:2]
        before = standing(folder)
        found = fault(words, capsys)
        if standing(folder) != before:
            found = f"{found or ''} it wrote {sorted(standing(folder) - before)[:3]}"
        if found:
            faults[tuple(word[:90] for word in (*words, *text))] = found
    assert not faults, faults


def test_there_are_many_of_them():
    assert sum(len(LINES[kind][::3]) for kind in QUICK) >= 250
    assert sum(len({tuple(words) for words in LINES[kind]}) for kind in LINES) >= 1000
