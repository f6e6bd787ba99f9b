import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import sweeps
from tests.cases import cases

SCRIPT = "import sys\nfrom sweeps.cli.command import command\n{before}\nsys.exit(command())\n"
# Ctrl-C as a module begins to be imported; NumPy and JAX import it from C too, or make another error of one.
AT = """import os, signal
def watch(event, arguments):
    if event == "import" and arguments[0] == {name!r}:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(watch)"""


def interrupted(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 130 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.endswith(": stopped\n") and done.stdout == ""
    return done


EARLY = ["sweeps.cli.main", "numpy", "jaxlib._jax", "jax", "jax._src.api", "pyarrow.lib", "argparse"]


@pytest.mark.parametrize("name", cases(EARLY, EARLY[:3], "durable"))  # each begins a process
def test_ctrl_c_while_modules_are_imported_is_exit_status_130_and_no_trace(name):
    interrupted(SCRIPT.format(before=AT.format(name=name)), "list")


@pytest.mark.parametrize("name", cases(["make_parser", "ready_studies"], ["make_parser"], "durable"))
def test_ctrl_c_afterwards_is_too(name):
    raising = "def stop(): raise KeyboardInterrupt\nimport sweeps.cli.main as main\nmain.{} = stop"
    code = SCRIPT.format(before=raising.format(name))
    done = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 130 and "Traceback" not in done.stderr


def test_ctrl_c_in_a_callback_of_the_garbage_collector_is_heard_after_it():
    code = """import gc, os, signal, sys, time
from sweeps.cli import command
import sweeps.cli.main as module
def collected(phase, info):
    if phase == "start" and not sent:
        sent.append(phase)
        os.kill(os.getpid(), signal.SIGINT)
        len(sent)
def main():
    try:
        gc.collect()
        for _ in range(3000):
            time.sleep(0.01)  # one long sleep would hear nothing before its end
    except KeyboardInterrupt:
        print("heard")
        return 130
sent, module.main = [], main
gc.callbacks.append(collected)
sys.exit(command.command())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "heard\n", "")


@pytest.mark.parametrize("seconds", cases([0.0, 0.1, 0.3, 0.8, 2.0], [0.0, 0.8], "durable"))
def test_ctrl_c_some_time_after_the_command_began(seconds, tmp_path):
    began = AT.format(name="sweeps.cli.main").replace(
        "os.kill(os.getpid(), signal.SIGINT)", "os.write(1, b'.')"
    )
    # What a fast machine does not end before it is interrupted.
    words = ["run", "digits-mlp", "--steps", "1000000", "--out", str(tmp_path / "run"), "--quiet"]
    command = [sys.executable, "-c", SCRIPT.format(before=began), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(1) == b"."
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in said and b": stopped" in said


def test_the_command_begins_before_jax_is_there():
    code = "import sys, sweeps.cli.command; print('jax' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False False\n", done.stderr
    project = tomllib.loads((Path(sweeps.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"sweeps": "sweeps.cli.command:command"}
