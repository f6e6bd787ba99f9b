"""`sweeps watch` in headless Chromium, through a run of half a minute; one to two minutes on two cores.

It takes what `test_in_a_browser` takes. Set REPORT_SCREENSHOTS to a folder to keep the screenshots, and look
at them.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sweeps.report.test_in_a_browser import new_browser, run, until

pytestmark = pytest.mark.browser
CODE = "import sys; from sweeps.cli.main import main; sys.exit(main())"
STUDY = ["digits-mlp", "alpha=linspace(0, 0.3, 4)", "learning_rate=grid(0.001, 0.01, 1e30)", "seed=range(4)"]


def command(*words, **more):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def seen(browser):
    """What a person sees: the heading, the counts, and how many points the figures have."""
    script = """
        const points = (id) => (PANELS[id]().traces || [])
            .reduce((sum, trace) => sum + trace.y.filter((value) => value !== null).length, 0);
        const text = (where) => document.querySelector(where).textContent;
        return {
            heading: text("#heading"), best: text("#best"), counts: text("#counts .legend"),
            sofar: points("sofar"), curves: points("curves"),
        };
    """
    return run(browser, script)


def picture(browser, folder, name):
    for width in (1280, 400):
        for theme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": theme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            time.sleep(0.5)
            until(browser, "return document.documentElement.scrollWidth <= arguments[0]", width, seconds=15)
            ground = run(browser, "return getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(255, 255, 255)") == (theme == "light")
            height = run(browser, "return document.documentElement.scrollHeight")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            taken = browser.execute_cdp_cmd(
                "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
            )
            path = folder / f"watch-{name}-{width}-{theme}.png"
            path.write_bytes(base64.b64decode(taken["data"]))
            assert path.stat().st_size > 10_000


def check_quiet(browser, address):
    """No error on the console, and no request but of this server and of what the page itself holds."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        each["params"]["request"]["url"] for each in asked if each["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_run_is_watched_from_its_plan_to_its_end(tmp_path, executor):
    folder = Path(os.environ.get("REPORT_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    out = tmp_path / "run"
    words = ["--members-per-chunk", "8", "--steps", "3000", "--executor", executor, "--out", str(out)]
    browser = new_browser(", EXCLUDE 127.0.0.1")  # first: where there is none, nothing is left behind
    training = command("run", *STUDY, *words, "--quiet")
    watching = None
    try:
        end = time.monotonic() + 60
        while not (out / "manifest.json").exists():
            assert time.monotonic() < end and training.poll() is None
            time.sleep(0.1)
        watching = command("watch", str(out))
        assert watching.stdout is not None
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/\S+/", watching.stdout.readline())
        browser.get(address)
        until(browser, "return document.getElementById('heading').dataset.state === 'running'")
        first = seen(browser)
        assert first["curves"] == 0 and "pending" in first["counts"]  # before the first chunk is committed
        looks = []
        while training.poll() is None:
            looks.append(seen(browser))
            if len(looks) == 1 or (looks[-1]["curves"] and not any(look["curves"] for look in looks[:-1])):
                picture(browser, folder, f"{executor}-{len(looks)}")
            time.sleep(1)
        assert training.returncode == 0
        until(browser, "return document.getElementById('heading').dataset.state === 'ended'", seconds=30)
        last = seen(browser)
        picture(browser, folder, f"{executor}-end")
        # It grew while it was looked at, and nothing went back.
        for what in ("sofar", "curves"):
            numbers = [look[what] for look in [first, *looks, last]]
            assert len(set(numbers)) > 3 and numbers[0] == 0, numbers
        assert any(re.search(r"\d+ %, \d+:\d\d left", look["heading"]) for look in looks)
        assert any("running" in look["counts"] and "done" in look["counts"] for look in looks)
        assert last["heading"] == "The run has ended." and "diverged" in last["counts"]
        assert last["best"].startswith("Best: 9")
        # What is chosen stays chosen, and each member can be seen.
        before = run(browser, "return PANELS.curves().traces.length")
        browser.find_element("id", "curve-members").click()
        assert run(browser, "return PANELS.curves().traces.length") > before
        check_quiet(browser, address)
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=30)
        assert watching.returncode == 130 and err.strip() == "sweeps watch: stopped"
        until(browser, "return document.getElementById('heading').dataset.state === 'away'", seconds=30)
        assert "Nothing is heard" in browser.find_element("id", "heard").text
    finally:
        browser.quit()
        for process in (training, watching):
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.communicate()
