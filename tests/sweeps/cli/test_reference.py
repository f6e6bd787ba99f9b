import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeps.cli.arguments import make_parser
from sweeps.cli.main import main
from sweeps.cli.places import executor
from sweeps.cli.reference import rebuild, resolve
from sweeps.errors import StudyError
from sweeps.members.request import make_request
from sweeps.members.sampling import Sampling
from sweeps.results.results import load
from sweeps.schedules import schedule as schedules


def test_another_metric_in_a_file_says_by_itself_which_is_better(tmp_path):
    path = Path(tmp_path) / "own.toml"
    for metric, mode in (("test/loss", "min"), ("train/accuracy", "max")):
        path.write_text(f'study = "digits-mlp"\nmetric = "{metric}"\n')
        assert resolve(str(path)).study.mode == mode
    path.write_text('study = "digits-mlp"\nmetric = "test/loss"\nmode = "max"\n')
    assert resolve(str(path)).study.mode == "max"
    path.write_text('study = "digits-mlp"\nmetric = "dead"\n')
    with pytest.raises(StudyError, match="mode is given, or metric ends in.*'dead' and no mode"):
        resolve(str(path))


def test_what_a_run_names_is_said_before_it_is_imported_and_refused_inside_the_run(tmp_path, capsys):
    inside = tmp_path / "run" / "evil.py"
    inside.parent.mkdir()
    inside.write_text("from sweeps.studies.digits_mlp import study\nprint('imported')\n")
    reference = {"study": f"{inside}:study", "folder": str(tmp_path), "space": {}, "steps": 7}
    changes = {"space": {}, "steps": None}
    with pytest.raises(StudyError, match=r"a study outside of the run directory.*evil.py.*--trust runs it"):
        rebuild(tmp_path / "run", {"reference": reference}, **changes)
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"this run's study is {inside}:study, imported from {tmp_path}\n"
    assert rebuild(tmp_path / "run", {"reference": reference}, trust=True, **changes).steps == 7
    assert capsys.readouterr().out == "imported\n"


def test_a_module_found_from_inside_the_run_is_refused_too(tmp_path):
    reference = {"study": "some_module:study", "folder": str(tmp_path / "run"), "space": {}, "steps": None}
    with pytest.raises(StudyError, match="some_module:study in .*run, code that came with the run"):
        rebuild(tmp_path / "run", {"reference": reference}, space={}, steps=None)


STUDY = "from sweeps.studies.digits_mlp import study\nprint('imported')\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a run directory in it that has code beside its files, and no module of it left behind."""
    monkeypatch.chdir(tmp_path)
    # Other tests run files of this name, whose folders Python then looks into first.
    places = [place for place in sys.path if place and not Path(place, "mine.py").exists()]
    monkeypatch.setattr(sys, "path", places)
    for name in ("run/evil.py", "run/package/evil.py", "mine.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(STUDY)
    _forget_modules()  # of other tests
    yield tmp_path
    _forget_modules()


def _forget_modules():
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("run", "evil", "mine", "outside", "neighbour", "package"):
            del sys.modules[name]


@pytest.mark.parametrize("word", ["run.evil", "run.package.evil"])
@pytest.mark.parametrize("package", [False, True])
def test_a_dotted_name_for_code_inside_the_run_is_refused(word, package, here, capsys):
    if package:  # a package's own file is not even run to find the module
        (here / "run" / "__init__.py").write_text("print('imported')\n")
    manifest = {"reference": {"study": f"{word}:study", "folder": str(here), "space": {}, "steps": None}}
    with pytest.raises(StudyError, match=rf"a study outside of the run directory.*got {word}:study in"):
        rebuild(here / "run", manifest, space={}, steps=None)
    assert capsys.readouterr().out == "" and not {"run", word} & {*sys.modules}
    rebuild(here / "run", manifest, trust=True, space={}, steps=None)
    assert "imported" in capsys.readouterr().out


def test_code_that_a_link_or_the_folder_of_the_process_takes_from_the_run_is_refused(here, monkeypatch):
    (here / "outside").symlink_to(here / "run" / "package")
    for word, cwd in (("outside.evil", here), ("evil", here / "run")):
        monkeypatch.chdir(cwd)
        manifest = {"reference": {"study": f"{word}:study", "folder": str(here), "space": {}, "steps": None}}
        with pytest.raises(StudyError, match="a study outside of the run directory"):
            rebuild(here / "run", manifest, space={}, steps=None)


def test_from_inside_the_run_what_a_study_imports_is_not_taken_from_there(here, monkeypatch, capsys):
    (here / "run" / "neighbour.py").write_text("print('not this one')\n")
    (here / "neighbour.py").write_text("print('its own')\n")
    (here / "mine.py").write_text(f"import neighbour\n{STUDY}")
    monkeypatch.chdir(here / "run")
    manifest = {"reference": {"study": "mine:study", "folder": str(here), "space": {}, "steps": 7}}
    assert rebuild(here / "run", manifest, space={}, steps=None).steps == 7
    assert capsys.readouterr().out == "its own\nimported\n" and Path.cwd() == here / "run"


def test_a_file_that_names_itself_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.toml").write_text('study = "two.toml"\n')
    Path("two.toml").write_text('study = "./one.toml"\n')
    with pytest.raises(StudyError, match=r"\.toml names itself as its study\. Name another"):
        resolve("one.toml")


def test_a_file_may_change_what_another_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("first.toml").write_text('study = "digits-mlp"\nsamples = 3\nsearch = "random"\nsteps = 7\n')
    Path("second.toml").write_text('study = "first.toml"\nsearch = "sobol"\n')
    found = resolve("second.toml")
    assert found.options == {"search": "sobol"} and (found.study.samples, found.study.steps) == (3, 7)


def test_a_study_file_says_where_it_is_trained_unless_the_command_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('study = "digits-mlp"\nexecutor = "inline"\n')
    said = resolve("mine.toml").options["executor"]
    parse = make_parser().parse_args
    assert executor(parse(["run", "mine.toml"]), said) == "inline"
    assert executor(parse(["run", "mine.toml", "--executor", "inline"]), "ray") == "inline"
    assert executor(parse(["run", "digits-mlp"])) is None
    with pytest.raises(StudyError, match='Unknown executor "inlin". Did you mean "inline"'):
        executor(parse(["run", "mine.toml"]), "inlin")


def test_a_study_file_is_utf_8_and_its_errors_name_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text('study = "digits-mlp"\nmetric = "α/loss"\n', encoding="utf-8")
    assert resolve("own.toml").study.metric == "α/loss"
    Path("own.toml").write_text('study = "digits-mlp"\nsteps = 0\n')
    with pytest.raises(StudyError, match=r"in own\.toml: `1 <= steps` must hold"):
        resolve("own.toml")
    Path("own.toml").write_bytes(b'study = "\xff"\n')
    with pytest.raises(StudyError, match=r"`own\.toml is TOML` must hold"):
        resolve("own.toml")


TOML_WORDS = [
    "study", "space", "steps", "metric", "mode", "batches", "samples", "search", "schedule", "alpha", "seed",
    " = ", "=", "\n", '"', "'", '"""', "[", "]", "{", "}", "[[", "]]", "(", ")", ".", ",", "#", "\\",
    "\\u0000", "\\uD800", "é", "0", "1", "-1", "1e999", "nan", "inf", "9" * 400, "9" * 5000, "1979-05-27",
    "12:30:00", "true", '"tpe"', '"halving"', '"min"', '"linspace(0, 1, 3)"', '"uniform(0, 1)"',
    '"test/loss"', "[1, 2]", "[" * 500, "{a=" * 500, "a." * 500,
]  # fmt: skip
KEYS = [
    "study",
    "space",
    "steps",
    "metric",
    "mode",
    "evaluate_every",
    "batches",
    "samples",
    "search",
    "schedule",
]
toml_values = st.one_of(
    st.sampled_from(TOML_WORDS), st.lists(st.sampled_from(TOML_WORDS), max_size=4).map("".join),
    st.lists(st.sampled_from(TOML_WORDS), max_size=3).map(lambda words: f"[{', '.join(words)}]"),
    st.sampled_from(['alpha = "uniform(0, 1)"', "alpha = 1", "seed = [0, 1]", "alpha = [nan]",
    "beta = 1"]).map("{{{}}}".format),
)  # fmt: skip
toml_texts = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(TOML_WORDS), max_size=12).map("".join),
    st.dictionaries(st.sampled_from(KEYS[1:]), toml_values, max_size=4).map(
        lambda table: "\n".join(
            ['study = "own_generated:mine"', *(f"{key} = {value}" for key, value in table.items())]
        )
    ),
)


def read_or_refused(text: str) -> None:
    """Only a StudyError comes out of reading a study file, and of asking for its members."""
    Path("own.toml").write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        found = resolve("own.toml")
        options = {"search": "grid", "schedule": None, "samples": None} | found.options
        schedule = None if options["schedule"] is None else schedules.parse(options["schedule"])
        make_request(
            found.study, Sampling(options["search"], options["samples"], 0), schedule, name=found.name
        )
    except StudyError as error:
        said = str(error)
        assert said.endswith((".", "?")) or ("must" in said and "but" in said)
        assert len(said) < 2000


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("generated"))
        patch.setattr(sys, "path", [*sys.path])
        code = "import dataclasses\nfrom tests.sweeps.tiny_networks import study as make\n"
        code += "mine = dataclasses.replace(make(10), steps=9, space={})\n"
        Path("own_generated.py").write_text(code)
        yield
        sys.modules.pop("own_generated", None)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=toml_texts)
def test_any_study_file_is_a_study_or_one_message(generated, text):
    read_or_refused(text)


@pytest.mark.durable
@settings(max_examples=15_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=toml_texts)
def test_every_one_of_many_study_files_is_a_study_or_one_message(generated, text):
    read_or_refused(text)


NESTED = """
import dataclasses
from collections.abc import Callable
import jax, sweeps

@dataclasses.dataclass(frozen=True)
class Sgd:
    rate: float = 0.1
    momentum: float = 0.0

@dataclasses.dataclass(frozen=True)
class Adam:
    rate: float = 1e-3
    steps: int = 1

@dataclasses.dataclass(frozen=True)
class Net:
    width: int = 8
    activation: Callable = jax.nn.relu

@dataclasses.dataclass(frozen=True)
class Config:
    net: Net = Net()
    optimizer: Sgd | Adam = Sgd()

trial = sweeps.function(lambda config, key: {"loss": config.optimizer.rate}, config=Config)
mine = sweeps.Study(trial, steps=1, metric="loss")
"""
NESTED_TOML = """
study = "nested_one.py:mine"
[space]
optimizer = "grid(Sgd, Adam)"
"optimizer.momentum" = "linspace(0, 0.9, 3)"
"optimizer.steps" = "range(1, 3)"
[space.net]
width = "int_uniform(8, 16)"
activation = "grid(jax.nn.gelu, tanh)"
"""


@pytest.mark.models
def test_nested_fields_and_classes_are_asked_for_in_a_file_and_on_the_command_line(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("nested_one.py").write_text(NESTED)
    Path("asked.toml").write_text(NESTED_TOML.replace("tanh", "jax.numpy.tanh"))
    words = ["asked.toml", "optimizer.rate=log_uniform(1e-3, 1)", "net.width=8", "--samples", "2", "--quiet"]
    assert main(["run", *words, "--out", "run"]) == 0
    found = load("run")
    assert len(found.members) == 2 * 2 * (3 + 2)
    assert found.swept == (
        "optimizer", "optimizer.momentum", "optimizer.steps", "net.width", "net.activation", "optimizer.rate",
    )  # fmt: skip
    assert "optimizer = " in capsys.readouterr().out.partition(" is best")[0].splitlines()[-1]
    assert main(["resume", "run", "--quiet"]) == main(["replay", "run", "19", "--quiet"]) == 0
    wrong = {
        "optimizer=Adma": 'Did you mean "Adam"?',
        "optimizer=Sgd": "`some member has optimizer.steps` must hold, which Adam alone has",
        "optimizer.momentun=0": 'Did you mean "optimizer.momentum"?',
        "net.activation=jax.nn.glu_": "`field net.activation is a function`",
    }
    for word, message in wrong.items():
        assert main(["run", "asked.toml", word, "--samples", "2", "--out", "new"]) == 2
        assert message in capsys.readouterr().err and not Path("new").exists()
