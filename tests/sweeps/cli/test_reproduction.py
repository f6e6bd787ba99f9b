import dataclasses
import importlib.metadata
import re
import shutil
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import sweeps
from sweeps.claims.effects import NO_MORE, OPEN, effect_of, size_of
from sweeps.claims.page import HEAD, Outcome, document, markdown
from sweeps.claims.verdicts import FAILS, HOLDS, Claim, Finding, corrected_interval, judge
from sweeps.cli import main as cli
from sweeps.cli import reproduction
from sweeps.cli.main import main
from sweeps.data.named import PACKAGED
from sweeps.errors import StudyError
from tests.sweeps import plain

NASTY = "Slopes <script>alert(1)</script> | help & heal"


@pytest.fixture(autouse=True)
def as_a_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept by the session")


def fake(name, text="A slope of 0.5 beats 0.", **attributes):
    """A module of a ready study: eight members, three steps, four chunks."""
    module = ModuleType(name, f"What {name} is <about>.\n\nMore of it.")
    space = {"alpha": sweeps.grid(0.0, 0.5), "seed": range(4)}
    study = plain.study(steps=3, metric="test/loss", space=space)
    claim = Claim(text, "Somebody, 2013")

    def findings(results):
        values = results.final().reshape(2, 4)
        effect = corrected_interval(values[0] - values[1], 3)
        return (Finding(claim, judge(effect), f"{effect.mean:+.4f} in all.", 3),)

    def picture(results):
        return Figure(figsize=(1, 1))

    vars(module).update(
        study=study, CLAIMS=(claim,), OPTIONS={"members_per_chunk": 2}, findings=findings, picture=picture
    )
    vars(module).update(attributes)
    return module


def broken(results):
    raise ZeroDivisionError("no <b>such</b> thing")


@pytest.fixture
def two(monkeypatch):
    modules = {"first": fake("first"), "second": fake("second", NASTY)}

    def claiming(only=()):
        return {name: module for name, module in modules.items() if not only or name in only}

    monkeypatch.setattr(cli, "claiming", claiming)
    return modules


def test_every_study_is_run_and_the_page_says_what_was_found(two, capsys):
    assert main(["reproduce", "--quiet"]) == 0
    said = capsys.readouterr()
    folder = Path("runs/reproduction")
    assert "1/2 first: " in said.out and "2/2 second: " in said.out and "reproduction.html" in said.out
    page = (folder / "reproduction.html").read_text()
    results = sweeps.load(folder / "second")
    assert results.manifest["study"] == "second" and len(results.members) == 8
    (finding,) = two["second"].findings(results)
    assert finding.verdict in page and finding.measured in page and "Somebody, 2013" in page
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; | help &amp; heal" in page
    assert page.count("data:image/png;base64,iVBOR") == 2
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "2 claims: " in page and "6 over all claims" in page
    assert (folder / "first.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    text = (folder / "reproduction.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4 and all(len(re.findall(r"(?<!\\)\|", line)) == 6 for line in table)
    assert text.startswith(HEAD) and "jax " in text and "2 claims: " in text
    assert f"**{finding.verdict}**" in table[3]


def test_what_is_finished_is_read_and_what_is_not_is_gone_on_with(two, capsys, monkeypatch):
    assert main(["reproduce", "--quiet", "--out", "here"]) == 0
    page = Path("here/reproduction.html").read_text()
    before = sweeps.load("here/second").metrics
    chunks = sorted(Path("here/second/chunks").iterdir())
    shutil.rmtree(chunks[1])
    for kind in ("members", "metrics"):
        Path(f"here/second/{kind}.parquet").unlink()
    Path("here/reproduction.html").unlink()
    resumed = []

    def resume(directory, study, **options):
        resumed.append(directory.name)
        return sweeps.resume(directory, study, **options)

    monkeypatch.setattr(reproduction, "resume", resume)
    monkeypatch.setattr(reproduction, "run_as", broken)
    assert main(["reproduce", "--quiet", "--out", "here"]) == 0
    assert resumed == ["second"] and chunks[1].exists()
    assert sweeps.load("here/second").metrics.equals(before)
    assert Path("here/reproduction.html").read_text() == page
    capsys.readouterr()


def test_a_run_is_not_done_before_its_fresh_seeds_are(two, capsys):
    two["first"].OPTIONS = {"confirm": 2}  # pyright: ignore[reportAttributeAccessIssue]
    words = ["reproduce", "--quiet", "--out", "here", "--only", "first"]
    assert main(words) == 0
    fresh = sweeps.load("here/first").confirmation
    assert fresh is not None
    before = fresh.metrics
    shutil.rmtree("here/first/confirmation")
    assert main(words) == 0
    again = sweeps.load("here/first").confirmation
    assert again is not None and again.metrics.equals(before)
    assert "2 fresh seeds" in Path("here/reproduction.html").read_text()
    capsys.readouterr()


def test_a_study_that_fails_is_named_and_stops_no_other(two, capsys):
    two["first"].findings = broken  # pyright: ignore[reportAttributeAccessIssue]
    assert main(["reproduce", "--quiet"]) == 1
    said = capsys.readouterr()
    assert "failed: first" in said.err and "2/2 second: " in said.out
    page = Path("runs/reproduction/reproduction.html").read_text()
    assert "ZeroDivisionError: no &lt;b&gt;such&lt;/b&gt; thing (test_reproduction.py:" in page
    assert "1 not measured" in page and "A slope of 0.5 beats 0." in page
    assert "not measured" in Path("runs/reproduction/reproduction.md").read_text()


def test_a_study_that_has_changed_is_not_mixed_with_its_earlier_run(two, capsys):
    assert main(["reproduce", "--quiet", "--only", "first"]) == 0
    two["first"].study = dataclasses.replace(two["first"].study, steps=4)  # pyright: ignore
    assert main(["reproduce", "--quiet", "--only", "first"]) == 1
    assert "steps: 3, now 4" in capsys.readouterr().out


def test_ctrl_c_is_exit_status_130_and_running_it_again_goes_on(two, capsys):
    def stop(results):
        raise KeyboardInterrupt

    whole = two["second"].findings
    two["second"].findings = stop  # pyright: ignore[reportAttributeAccessIssue]
    assert main(["reproduce", "--quiet"]) == 130
    assert "run it again to go on" in capsys.readouterr().err
    assert not Path("runs/reproduction/reproduction.html").exists()
    two["second"].findings = whole  # pyright: ignore[reportAttributeAccessIssue]
    assert main(["reproduce", "--quiet"]) == 0
    capsys.readouterr()


def test_a_study_that_is_unknown_or_claims_nothing_is_one_message(capsys):
    assert main(["reproduce", "--only", "digits-mpl"]) == 2
    said = capsys.readouterr().err
    assert "no ready study with claims" in said and 'Did you mean "digits-mlp"?' in said
    assert set(reproduction.claiming()) >= {"digits-mlp", "digits-cnn", "activations"}


def idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path):
    """A folder with forty random images in MNIST's format."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for prefix, count in (("train", 40), ("t10k", 20)):
        idx(folder / f"{prefix}-images-idx3-ubyte", random.integers(0, 256, (count, 9, 9)))
        idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 3)
    return folder


OWN = """
from tests.sweeps import plain

def six(data):
    return data[0].reshape(-1, 81)[:, :6], data[1] * 1.0

def make(data=None):
    def step(config, state, batch, key):
        return plain.step(config, state, six(batch), key)

    def evaluate(config, state, data):
        return plain.evaluate(config, state, six(data))

    return plain.study(trial=plain.trial._replace(data=data, step=step, evaluate=evaluate))

study = plain.study()
"""


@pytest.mark.studies
def test_a_study_is_run_on_other_images_and_resumed_on_them(mnist, capsys, monkeypatch, tmp_path):
    Path("own.py").write_text(OWN)
    words = ["run", str(tmp_path / "own.py:study"), "alpha=grid(0, 0.3)", "seed=range(2)", "--steps", "2"]
    words += ["--members-per-chunk", "2", "--quiet"]
    assert main([*words, "--data", "fashion-mnist=images", "--out", "run"]) == 0
    recorded = sweeps.load("run").manifest["reference"]["data"]
    assert recorded == f"fashion-mnist={mnist.resolve()}"
    before = sweeps.load("run").metrics
    shutil.rmtree(sorted(Path("run/chunks").iterdir())[0])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["resume", "../run", "--quiet"]) == 0
    assert sweeps.load("../run").metrics.equals(before)
    assert main(["replay", "../run", "1", "--quiet"]) == 0
    assert main(["plan", *words[1:-1], "--data", f"mnist={mnist}"]) == 0
    assert f"--data fashion-mnist={mnist}" in Path("../run/report.html").read_text()
    capsys.readouterr()


def test_the_page_names_the_data_that_a_study_takes():
    for name, module in reproduction.claiming().items():
        if hasattr(module, "make"):
            study = module.make()
            taken = reproduction.Task(name, module, study, None).taken
            own, named = study.trial.data.train[1], PACKAGED[taken]().train[1]
            np.testing.assert_array_equal(own, named, err_msg=name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "regression", "--data", "mnist=images"], "a study with make.data.` must hold for --data"),
        (["plan", "digits-mlp", "--data", "minst=images"], 'Unknown data "minst". Did you mean "mnist"?'),
        (
            ["run", "digits-mlp", "--data", "mnist"],
            'Add the folder of its files to "mnist": mnist=path/to/mnist.',
        ),
        (["run", "digits-mlp", "--data", "mnist=nowhere"], "must exist in nowhere"),
        (["run", "digits-mlp", "--data", "cifar10=images"], "`data_batch_1.bin` must exist in images"),
        (["reproduce", "--data", "mnist=nowhere"], "must exist in nowhere"),
    ],
)
def test_wrong_data_is_one_message(mnist, words, message, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert re.search(message, captured.err), captured.err
    assert not Path("runs").exists()


def test_reproducing_on_other_images_leaves_studies_without_images_as_they_are(mnist, two):
    seen = []

    def make(data: Any = None):
        seen.append(data.train[0].shape)
        return two["first"].study

    two["first"].make = make  # pyright: ignore[reportAttributeAccessIssue]
    outcomes = reproduction.reproduce("here", two, data="mnist=images", progress=False, say=len)
    assert seen == [(40, 9, 9, 1)] and [outcome.error for outcome in outcomes] == [None, None]
    recorded = [sweeps.load(f"here/{name}").manifest["reference"].get("data") for name in two]
    assert recorded == [f"mnist={mnist.resolve()}", None]
    (first, second) = reproduction.reproduce("here", two, progress=False, say=len)
    assert first.error is not None and "but got digits; name another --out" in first.error
    assert second.error is None
    with pytest.raises(StudyError, match="must exist in nowhere"):
        reproduction.reproduce("here", two, data="mnist=nowhere", progress=False, say=len)


def measured(results):
    """That 0.5 raises the loss by less than a quarter, which four seeds cannot tell and some more can."""
    losses = [results.filter(alpha=alpha).final() for alpha in (0.0, 0.5)]
    effect = effect_of(0.25 + losses[0] - losses[1], 0.03)
    claim = Claim("A slope of 0.5 raises the loss by less than a quarter.", "Somebody, 2013")
    return (Finding(claim, effect.verdict, f"{effect.interval.mean:+.4f} in all.", 1, (effect,)),)


@pytest.fixture
def untold(two):
    two["first"].findings = measured  # pyright: ignore[reportAttributeAccessIssue]
    return two


def test_claims_that_cannot_be_told_are_with_the_minutes_that_it_takes(untold, capsys):
    assert main(["reproduce", "--quiet", "--out", "here"]) == 0
    said = capsys.readouterr().out
    (finding,) = measured(sweeps.load("here/first"))
    (effect,), needed = finding.effects, finding.effects[0].needed
    assert finding.verdict == OPEN and needed is not None and needed > 4
    assert f"1/2 first: {OPEN}; needs {needed} seeds, about 1 minute, for the claim that 4 seeds" in said
    assert "more seeds tell more of first: sweeps reproduce --minutes" in said
    page, words = Path("here/reproduction.html").read_text(), size_of([effect])
    assert words in page and words in Path("here/reproduction.md").read_text()
    assert "needs" in page and page.count("data:image/svg+xml") == 2
    assert {path.name for path in Path("here").glob("forest*")} >= {"forest.png", "forest.svg"}

    assert main(["reproduce", "--quiet", "--out", "here", "--minutes", "5"]) == 0
    assert f"larger first: {(told := measured(sweeps.load(f'here/first-{needed}-seeds')))[0].verdict}" in (
        capsys.readouterr().out
    )
    assert told[0].effects[0].seeds == needed and told[0].verdict != OPEN
    whole = sweeps.load(f"here/first-{needed}-seeds").filter(seed=range(4))
    assert whole.metrics.equals(sweeps.load("here/first").metrics)
    assert f"{needed} seeds each" in (page := Path("here/reproduction.html").read_text())
    assert main(["reproduce", "--quiet", "--out", "here"]) == 0  # what is there is read
    assert Path("here/reproduction.html").read_text() == page
    assert [path.name for path in Path("here").glob("first-*")] == [f"first-{needed}-seeds"]
    capsys.readouterr()


@pytest.mark.studies
def test_a_larger_run_that_is_stopped_is_gone_on_with_and_until_then_the_pilot_counts(
    untold, capsys, monkeypatch
):
    words = ["reproduce", "--quiet", "--out", "here", "--only", "first"]
    assert main(words) == 0
    extend = reproduction.extend

    def cut(directory, study, **options):
        results = extend(directory, study, **options)
        shutil.rmtree(sorted((directory / "chunks").iterdir())[-1])
        for kind in ("members", "metrics"):
            (directory / f"{kind}.parquet").unlink()
        return results

    monkeypatch.setattr(reproduction, "extend", cut)
    monkeypatch.setattr(reproduction, "run_as", broken)  # the pilot's seeds are not trained again
    assert main([*words, "--minutes", "5"]) == 0
    assert "larger" not in (said := capsys.readouterr().out) and f"first: {OPEN}" in said
    assert list(Path("here").glob("first-*"))
    (larger,) = Path("here").glob("first-*")
    assert main(words) == 0 and "larger" not in capsys.readouterr().out  # no minutes, no training
    assert main([*words, "--minutes", "5"]) == 0
    assert "larger first" in capsys.readouterr().out
    whole = sweeps.load(larger).metrics
    shutil.rmtree(larger)
    shutil.copytree("here/first", larger)  # killed before the copy of the pilot was extended
    assert main(words) == 0 and "larger" not in capsys.readouterr().out
    monkeypatch.setattr(reproduction, "extend", extend)
    assert main([*words, "--minutes", "5"]) == 0 and sweeps.load(larger).metrics.equals(whole)
    assert set(sweeps.load(larger).members["status"].to_pylist()) == {"done"}


def test_ctrl_c_in_a_larger_run_leaves_the_page_of_the_pilots(untold, capsys, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    words = ["reproduce", "--quiet", "--out", "here", "--only", "first", "--minutes", "5"]
    with monkeypatch.context() as patched:
        patched.setattr(reproduction, "extend", stop)
        assert main(words) == 130
    said = capsys.readouterr()
    assert "run it again to go on" in said.err and "larger" not in said.out
    assert "4 seeds each" in Path("here/reproduction.html").read_text()
    assert main(words) == 0 and "larger first" in capsys.readouterr().out


@pytest.mark.studies
def test_a_run_is_as_large_as_the_minutes_allow_and_a_larger_one_extends_it(untold, capsys, monkeypatch):
    def both(results):
        (close,) = measured(results)
        loose = close.effects[0]._replace(margin=0.04)
        return (close, close._replace(verdict=loose.verdict, effects=(loose,)))

    claim = untold["first"].CLAIMS[0]
    untold["first"].findings, untold["first"].CLAIMS = both, (claim, claim)  # pyright: ignore
    words = ["reproduce", "--quiet", "--out", "here", "--only", "first"]
    assert main(words) == 0
    close, loose = (found.effects[0].needed or 0 for found in both(sweeps.load("here/first")))
    assert 4 < loose < close
    seconds = 60 / (loose / 4 - 1)  # a minute for the smaller one
    Path("here/first/seconds.txt").write_text(f"{seconds}\n")
    assert main([*words, "--minutes", "1.5"]) == 0
    assert [path.name for path in Path("here").glob("first-*")] == [f"first-{loose}-seeds"]
    said = capsys.readouterr().out
    assert f"needs {close} seeds" in said or OPEN not in said.partition("larger")[2]
    monkeypatch.setattr(reproduction, "run_as", broken)
    assert main([*words, "--minutes", "60"]) == 0
    larger = sweeps.load(f"here/first-{close}-seeds")
    assert [part["members"] for part in larger.manifest["earlier"]] == [8, 2 * loose]
    assert set(larger.members["status"].to_pylist()) == {"done"} and len(larger.members) == 2 * close
    assert "larger first" in capsys.readouterr().out


@pytest.mark.studies
def test_a_larger_run_takes_more_fresh_seeds_and_fails_alone(untold, capsys):
    untold["first"].OPTIONS = {"confirm": 2}  # pyright: ignore[reportAttributeAccessIssue]
    reproduction.reproduce("here", untold, minutes=5, progress=False, say=len)
    (larger,) = Path("here").glob("first-*")
    results = sweeps.load(larger)
    seeds = len(results.members["seed"].unique())
    assert results.confirmation is not None
    fresh = results.confirmation.members["seed"].unique().to_pylist()
    assert len(fresh) == -(-2 * seeds // 4) and min(fresh) == seeds
    manifest = larger / "manifest.json"
    for name in (manifest, larger / ".manifest.json"):
        name.write_text("{")
    first, second = reproduction.reproduce("here", untold, minutes=5, progress=False, say=len)
    assert first.error is not None and "manifest" in first.error and second.error is None


def test_too_few_minutes_make_no_larger_run(untold, capsys):
    assert main(["reproduce", "--quiet", "--out", "here"]) == 0
    Path("here/first/seconds.txt").write_text("1e6\n")
    assert main(["reproduce", "--quiet", "--out", "here", "--minutes", "5"]) == 0
    assert re.search(r"first: .*; needs [\d,]+ seeds, about [\d,]+ hours", capsys.readouterr().out)
    assert not list(Path("here").glob("first-*"))


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "x"])
def test_minutes_that_are_none_are_one_message(minutes, two, capsys):
    try:
        assert main(["reproduce", "--minutes", minutes]) == 2
    except SystemExit as stopped:
        assert stopped.code == 2
    said = capsys.readouterr()
    assert not said.out and "minutes" in said.err and not Path("runs").exists()


def test_the_readme_of_the_studies_is_what_is_written():
    readme = Path(sweeps.__file__).parent / "studies" / "README.md"
    assert readme.read_text(encoding="utf-8").startswith(HEAD)


def test_no_verdict_is_open_without_a_word_on_what_could_be_told():
    claim = Claim("It is so.", "Somebody, 2013")
    wide = effect_of(np.array([1.0, -3.0, 2.0, 0.5]), 0.5, unit="points")
    between = effect_of(np.tile([0.2, 0.22, 0.18], 2), 0.21, claimed=NO_MORE)
    for effects, words in (
        ((wide,), "4 seeds tell a difference of "),
        ((wide, wide._replace(seeds=1)), "0.5, the smallest that matters, takes "),
        ((between,), "If it is as measured, between none and that, "),
        ((wide._replace(seeds=1),), "Too few runs have a value"),
        ((), "The study states no effect"),
    ):
        assert all(effect.verdict == OPEN for effect in effects)
        found = (Finding(claim, OPEN, "So much.", 1, effects),)
        outcomes = [Outcome("good", "It is.", (claim,), found, "8 runs.", None, None)]
        assert document(outcomes).count(words) == 2 and words in markdown(outcomes), words


def test_the_page_cites_and_can_be_cited():
    claims = (Claim("one", "Maas, Hannun and Ng, 2013"), Claim("two", "common advice; Xu et al., 2015, say"))
    effect = effect_of(np.array([0.1, 0.3, 0.2, 0.1]), 0.5, 2, label="a <b>", unit="points", scale=100)
    found = tuple(Finding(claim, effect.verdict, "So much.", 2, (effect,)) for claim in claims)
    facts = (("data", "digits"), ("seeds", "0 to 3"), ("versions", "jax 0.10.2"))
    page = document([Outcome("good", "It is.", claims, found, "8 runs.", None, None, facts, "needs more")])
    assert (
        "@software{lrelu_jax," in page and f"version = {{{importlib.metadata.version('lrelu-jax')}}}" in page
    )
    for said in ("Rectifier nonlinearities improve", "arXiv:1505.00853", "jax 0.10.2", "needs more"):
        assert said in page, said
    assert "Clevert" not in page and "a &lt;b&gt;" in page
    assert page.count("1 effect in numbers") == 2 and "+17.50 points (" in page


def test_verdicts_are_counted_and_comparisons_stated():
    claims = (Claim("one", "A"), Claim("two", "B"), Claim("three", "C"))
    found = tuple(
        Finding(claim, verdict, "+1 (0 to 2).", comparisons)
        for claim, verdict, comparisons in zip(claims[:2], (HOLDS, FAILS), (1, 5), strict=True)
    )
    outcomes = [
        Outcome("good", "What it is.", claims[:2], found, "8 runs.", None, None),
        Outcome("bad", "What it is.", claims[2:], (), "", None, "it broke"),
    ]
    page = document(outcomes)
    assert "3 claims: 1 holds, 1 does not hold here, 1 not measured." in page
    assert page.count("The interval holds together with 4 others.") == 1
    assert "It failed: it broke" in page and page.count('<tr><td data-heading="claim">') == 3
    assert "| three | C | it broke (`bad`) |  | **not measured** |" in markdown(outcomes)
    assert "No claim was examined." in document([])
