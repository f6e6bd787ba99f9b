"""Times whole sweeps against what one would run instead: `python -m tests.benchmarks.populations --out DIR`.

Contenders run in turn, each in a process of its own that is warm: imports, tracing, compiling and planning
are over for all of them. A ratio is the median of the ratios within each round. `--only` chooses rows,
`--out` is a folder for `populations.md` and `populations.json`; without it the Markdown is printed.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.contenders import ROOT, Contender, Timing, alternate, cores, ratios

ENGINE, TORCH = "sweeps", "PyTorch, one process per core"
WORKERS = "sweeps, one worker per core"  # what `--executor processes` comes to
LIMIT = "its products"  # alone, a process per core: less than their time no contender takes
# Multiply-adds of the matrix products of one step of the MLP: forward, gradients of the weights, and
# gradients of the hidden layers' inputs.
MLP_FLOPS = 2 * 128 * (2 * (64 * 128 + 128 * 128 + 128 * 10) + 128 * 128 + 128 * 10)
STEPS = {"mlp": 300, "cnn": 50, "gru": 100}
TARGETS = {
    "mlp": {TORCH: 5.0, "JAX, one member at a time": 5.0, "JAX, jit(vmap(train))": 2.5},
    "cnn": {TORCH: 2.5},
    "gru": {TORCH: 4.0},
    "tiny": {"Optuna over a jitted function": 50.0},
}
TITLES = {
    "mlp": "MLP 64-128-128-10, 300 steps, 64 members",
    "cnn": "CNN of two 3x3 convolutions of 16, 50 steps, 16 members",
    "gru": "GRU of 64 over the rows, 100 steps, 64 members",
    "tiny": "10,000 members of a 2-16-1 network, 20 steps",
}


class Section(NamedTuple):
    """One part of the report."""

    title: str
    lines: list[str]
    data: dict[str, Any]


def contenders(name: str, digits: Path) -> list[Contender]:
    """Who runs a row; the engine first."""
    if name == "tiny":
        return [
            Contender(ENGINE, ("tiny_contender.py", "engine"), 10_000),
            Contender("Optuna over a jitted function", ("tiny_contender.py", "optuna"), 500),
            Contender("Optuna with its default sampler", ("tiny_contender.py", "tpe"), 500),
            Contender("Ray Tune, 100 members", ("tiny_contender.py", "ray"), 100, rounds=1),
        ]
    members, few = (16, 3) if name == "cnn" else (64, 4)

    def torch(label: str, mode: str) -> Contender:
        return Contender(label, ("torch_contender.py", name, str(digits), mode), few, len(cores()))

    vmapped = Contender("JAX, jit(vmap(train))", ("jax_contender.py", name, "vmap"), members, rounds=3)
    if name == "cnn":  # whose grouped convolutions take seconds a step inside a loop, so it makes few
        arguments = (*vmapped.arguments, "2")
        vmapped = Contender("JAX, jit(vmap(train)), 2 steps scaled", arguments, members, rounds=2, scale=25)
    found = [
        Contender(ENGINE, ("engine_contender.py", name), members),
        Contender(WORKERS, ("engine_contender.py", name), members, len(cores())),
        torch(TORCH, "adam"),
        torch("PyTorch, the same with fused Adam", "fused"),
        torch("Optuna driving PyTorch", "optuna"),
        Contender(
            "JAX, one member at a time", ("jax_contender.py", name, "once"), 1 if name == "cnn" else few
        ),
        Contender("JAX, one member and step at a time", ("jax_contender.py", name, "steps"), few),
        vmapped,
        Contender(LIMIT, ("products_contender.py", name), members, len(cores())),
    ]
    return found + [Contender("matrix products", ("matmul_contender.py",), 20)] * (name == "mlp")


def race(name: str, rounds: int, digits: Path) -> Section:
    """One row: every contender's time per member, and how many times the engine's that is."""
    timings = alternate(contenders(name, digits), rounds)
    products, limit = timings.pop("matrix products", None), timings.pop(LIMIT, None)
    mine = timings[ENGINE]
    lines = [
        "| contender | s per member: median (least to most) | times sweeps | target | test loss | accuracy |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for contender, timing in timings.items():
        median, least, most = ratios(mine, timing)
        target = TARGETS[name].get(contender)
        last = timing.answers[0]
        times = "1" if contender == ENGINE else f"{median:.2f} ({least:.2f} to {most:.2f})"
        cells = [contender, seconds(timing), times,
                 verdict(median, target) if target else "", f"{last['loss']:.3f}",
                 f"{last['accuracy']:.3f}" if "accuracy" in last else ""]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    if WORKERS in timings and TORCH in timings:
        median, least, most = ratios(timings[WORKERS], timings[TORCH])
        lines += ["", f"PyTorch's time over the workers': {median:.2f} ({least:.2f} to {most:.2f})."]
    if limit is not None:
        lines += ["", limited(limit, {who: timings[who] for who in (ENGINE, WORKERS, TORCH)})]
    if "plan" in mine.answers[0]:
        lines += ["", f"Chosen by measuring: {mine.answers[0]['plan']}."]
    if products is not None:
        rate = float(products.answers[0]["gflops"])
        reached = MLP_FLOPS * STEPS["mlp"] / float(np.median(mine.seconds)) / 1e9
        lines.append(
            f"Matrix products of 2048 x 2048 float32, one per core: {rate:.0f} GFLOP/s; the MLP reaches "
            f"{reached:.0f}, {100 * reached / rate:.0f} % ({verdict(100 * reached / rate, 75)})."
        )
    apart = {"large products": products, LIMIT: limit}
    measured = timings | {each: timing for each, timing in apart.items() if timing is not None}
    return Section(
        TITLES[name], lines, {contender: timing._asdict() for contender, timing in measured.items()}
    )


def limited(limit: Timing, timings: dict[str, Timing]) -> str:
    """The limit, and what each contender takes times that."""
    over = []
    for contender, timing in timings.items():
        median, least, most = ratios(limit, timing)
        over.append(f"{contender} {median:.2f} ({least:.2f} to {most:.2f})")
    return (
        f"The limit is what the matrix products of its steps take alone, each in its fastest form, on all "
        f"cores: {seconds(limit)} s per member. Times that: {'; '.join(over)}."
    )


def seconds(timing: Timing) -> str:
    """Median and spread."""
    least, most = min(timing.seconds), max(timing.seconds)
    return f"{np.median(timing.seconds):.3g} ({least:.3g} to {most:.3g})"


def verdict(found: float, target: float, at_most: bool = False, unit: str = "") -> str:
    """A target, and whether it is met."""
    met = found <= target if at_most else found >= target
    return f"{'≤' if at_most else '≥'} {target:g}{unit}: {'met' if met else 'missed'}"


def child(script: str, *arguments: str) -> dict[str, Any]:
    """What a script beside this one prints as its last line."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *arguments],
        stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def curve(rounds: int, digits: Path) -> Section:
    """The cost per member at each number of members."""
    found = child("costs.py", "curve", str(rounds))
    points = {point["members"]: point for point in found["points"]}
    times = {members: np.asarray(point["seconds_per_member"]) for members, point in points.items()}
    lines = [
        "| members | at once | ms per member | of the first | of the one before |",
        "|---|---|---|---|---|",
    ]
    worst, before = 0.0, times[1]
    for members, each in times.items():
        step = float(np.median(each / before))
        worst, before = max(worst, step), each
        lines.append(
            f"| {members} | {points[members]['width']} | {1e3 * np.median(each):.2f} | "
            f"{np.median(each / times[1]):.2f} | {step:.2f} |"
        )
    lines += ["", f"Steepest step {worst:.2f} ({verdict(worst, 1.1, at_most=True)})."]
    title = f"Cost per member of the MLP, {found['steps']} steps: medians of {rounds} rounds"
    return Section(title, lines, found)


def overhead(rounds: int, digits: Path) -> Section:
    """The engine's own cost."""
    found = child("costs.py", "overhead", str(min(rounds, 3)))
    loop, bare = (
        100 * float(np.median([each["run"] / each[other] - 1 for each in found["rounds"]]))
        for other in ("loop", "bare")
    )
    seen = "; ".join(
        f"{each['run']:.1f}, {each['loop']:.1f} and {each['bare']:.1f} s" for each in found["rounds"]
    )
    line = (
        f"64 MLPs, {found['steps']} steps: `sweeps.run` with a folder and progress, its compiled loop, and "
        f"a bare loop that does not watch for divergence, all tracing and reading the compilation cache: "
        f"{seen}. Planning, metrics, Parquet and progress cost {loop:.1f} % "
        f"({verdict(loop, 5, at_most=True, unit=' %')}), with the watching {bare:.1f} %."
    )
    return Section("The engine's own cost", [line], found)


def memory(rounds: int, digits: Path) -> Section:
    """Planned against used memory."""
    found = child("costs.py", "memory", "1")
    lines = [
        "| work | members per device | planned KiB per member | compiled | off by |",
        "|---|---|---|---|---|",
    ]
    for point in found["points"]:
        off = 100 * (point["planned"] / point["compiled"] - 1)
        lines.append(
            f"| {point['work']} | {point['per_device']} | {point['planned'] / 1024:.0f} | "
            f"{point['compiled'] / 1024:.0f} | {off:+.1f} % "
            f"({verdict(abs(off), 15, at_most=True, unit=' %')}) |"
        )
    return Section("Memory: the plan, extrapolated to four times its widest width", lines, found)


def startup(rounds: int, digits: Path) -> Section:
    """Imports in fresh processes, and the second of two identical runs from the shell."""
    statements = {"flax.nnx": "from flax import nnx", "sweeps": "import sweeps"}
    times: dict[str, list[float]] = {name: [] for name in statements}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for number in range(max(rounds, 5) + 1):
        for name, statement in statements.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
            if number:
                times[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(each)) for name, each in times.items()}
    ratio = medians["sweeps"] / medians["flax.nnx"]
    lines = [
        f"`import sweeps` {medians['sweeps']:.2f} s, `from flax import nnx` {medians['flax.nnx']:.2f} s: "
        f"{ratio:.2f} times ({verdict(ratio, 1.3, at_most=True)})."
    ]
    starts = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            done = subprocess.run(
                [sys.executable, str(Path(__file__).with_name("first_step.py")), str(time.time()), "run",
                 "digits-mlp", "alpha=linspace(0, 0.5, 4)", "seed=range(4)", "--steps", "100", "--quiet",
                 "--out", str(Path(folder) / f"run-{number}")],
                env=environment | {"XDG_CACHE_HOME": folder}, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            line = next(line for line in done.stdout.splitlines() if line.startswith("first step: "))
            starts.append(float(line.removeprefix("first step: ")))
    later, again = min(starts[1:]), ", ".join(f"{each:.1f}" for each in starts[1:])
    lines.append(
        f"`sweeps run digits-mlp` from the shell: first step after {starts[0]:.1f} s, in identical later "
        f"runs after {again} s ({verdict(later, 5, at_most=True, unit=' s')})."
    )
    return Section("Start-up", lines, {"imports": times, "first_step": starts})


def store_digits(folder: Path) -> Path:
    """Digits as arrays on disk, for peers that know no JAX."""
    code = (
        "import sys, numpy as np, sweeps; train, test = sweeps.data.digits(); "
        "np.savez(sys.argv[1], train_x=train[0], train_y=train[1], test_x=test[0], test_y=test[1])"
    )
    path = folder / "digits.npz"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)
    return path


def machine() -> str:
    """The processor, and the versions of what ran."""
    versions = []
    for name in ("jax", "jaxlib", "flax", "optax", "torch", "optuna", "ray"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    try:
        with open("/proc/cpuinfo") as lines:
            processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return f"{processor}, {len(cores())} cores; Python {platform.python_version()}, {', '.join(versions)}"


SECTIONS = {name: lambda rounds, digits, name=name: race(name, rounds, digits) for name in TITLES}
SECTIONS |= {"curve": curve, "startup": startup, "overhead": overhead, "memory": memory}


def markdown(head: str, sections: dict[str, Section]) -> str:
    """The report."""
    return "\n\n".join(
        [head, *(f"### {each.title}\n\n" + "\n".join(each.lines) for each in sections.values())]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the rows asked for and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder for populations.md and populations.json")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if wrong := [name for name in names if name not in SECTIONS]:
        parser.error(
            f"`--only names rows` must hold, but got {', '.join(wrong)}; rows: {', '.join(SECTIONS)}"
        )
    load = os.getloadavg()[0]
    words = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m tests.benchmarks.populations", *words])
    head = f"{machine()}; load average before {load:.1f}. `{command}`"
    sections: dict[str, Section] = {}
    with tempfile.TemporaryDirectory() as folder:
        digits = store_digits(Path(folder))
        for name in names:  # what is done is written at once, should the rest be stopped
            sections[name] = SECTIONS[name](options.rounds, digits)
            text = markdown(head, sections)
            if options.out is not None:
                options.out.mkdir(parents=True, exist_ok=True)
                (options.out / "populations.md").write_text(text + "\n")
                found = {"machine": machine(), "command": command, "load": load}
                found |= {each: section.data for each, section in sections.items()}
                (options.out / "populations.json").write_text(json.dumps(found, indent=1) + "\n")
    if options.out is None:
        print(markdown(head, sections))


if __name__ == "__main__":
    main()
