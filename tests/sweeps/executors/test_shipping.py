import importlib
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

import sweeps
from sweeps.executors import ray_cluster, shipping
from tests.cases import cases
from tests.sweeps import tiny_networks


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a study, what it imports, and what is nobody else's business."""
    source = Path(tiny_networks.__file__).read_text()
    (tmp_path / "my_study.py").write_text(f"import my_helper\n{source}")
    (tmp_path / "my_helper.py").write_text("")
    (tmp_path / "other.py").write_text("")
    for name in (".env", ".ssh/id_rsa", "keys/server.pem", "letters/secret plans.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("hush")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("my_study", "my_helper"):
        sys.modules.pop(name, None)


def shipment():
    found = shipping.shipment(importlib.import_module("my_study").study(10))
    assert found is not None
    return found


def test_what_the_study_imports_is_shipped_and_nothing_else(home, tmp_path):
    found = shipment()
    assert [str(path) for path in found.files] == ["my_helper.py", "my_study.py"] and found.left_out == []
    place = tmp_path / "packed"
    place.mkdir()
    said = shipping.pack(found, place)
    assert sorted(path.name for path in place.iterdir()) == ["my_helper.py", "my_study.py"]
    assert said.startswith(f"2 files of {home} (") and said.endswith("KiB) go to the workers")


def test_of_what_git_tracks_secrets_stay(home):
    for command in (["init", "-q"], ["add", "-f", "other.py", ".env", ".ssh", "keys", "letters"]):
        subprocess.run(["git", "-C", str(home), *command], check=True)
    found = shipment()
    assert [str(path) for path in found.files] == ["my_helper.py", "my_study.py", "other.py"]
    assert {str(path) for path in found.left_out} == {
        ".env", ".ssh/id_rsa", "keys/server.pem", "letters/secret plans.txt"
    }  # fmt: skip


SECRET = """
    prod.env prod.env.local service_account.json my-service-account-key.json release.jks putty.ppk tls.p12
    terraform.tfstate terraform.tfstate.backup prod.tfvars credentials.py aws_secrets.py password.py
    id_ed25519 config/secrets/db.json Credentials.JSON kubeconfig.yaml apikey.txt api_key.json htpasswd
    private_key.txt .aws/config deep/.env deep/er/AuthKey.p8 backup.gpg token
""".split()
OPEN = "token.py environment.yml keys.py secretary/model.py data.npz secrets_test/__init__.py".split()


@pytest.mark.parametrize("name", SECRET)
def test_what_looks_like_a_secret_is_one(name):
    assert shipping._secret(Path(name))


@pytest.mark.parametrize("name", OPEN)
def test_what_does_not_travels(name):
    assert not shipping._secret(Path(name))


def test_no_secret_is_in_what_ray_is_given(home, tmp_path, monkeypatch):
    for name in [*SECRET, *OPEN]:
        (home / name).parent.mkdir(exist_ok=True, parents=True)
        (home / name).write_text("hush" if name in SECRET else "")
    for words in (["init", "-q"], ["add", "-f", "."]):
        subprocess.run(["git", "-C", str(home), *words], check=True)
    archive, said = tmp_path.parent / "archive.zip", []

    def init(runtime_env, **options):  # Ray makes an archive of the working directory, and sends that
        shutil.make_archive(str(archive.with_suffix("")), "zip", runtime_env["working_dir"])

    nothing = lambda: None  # noqa: E731
    fake = SimpleNamespace(init=init, is_initialized=nothing, shutdown=nothing)
    monkeypatch.setitem(sys.modules, "ray", fake)
    study = importlib.import_module("my_study").study(10)
    with ray_cluster.connected(sweeps.ray(), study, said.append):
        pass
    with zipfile.ZipFile(archive) as packed:
        names = [name for name in packed.namelist() if not name.endswith("/")]
        assert set(names) == {"my_study.py", "my_helper.py", "other.py", *OPEN}
        assert not [name for name in names if b"hush" in packed.read(name)]
    assert f"{len(names)} files of {home}" in said[0] and "may be secret and stay" in said[0]


def test_too_much_is_refused(home, monkeypatch):
    monkeypatch.setattr(shipping, "MOST_BYTES", 10)
    with pytest.raises(
        sweeps.StudyError, match=r"are sent to the workers` must hold, but got 0 MiB .*runtime_env"
    ):
        shipment()


def test_what_is_installed_is_not_shipped():
    study = tiny_networks.study(10)
    object.__setattr__(study, "trial", study.trial._replace(config=Console))
    assert shipping.shipment(study) is None


def test_a_cluster_that_does_not_answer_is_said_at_once():
    with pytest.raises(
        sweeps.StudyError, match=r"`a Ray cluster at 127.0.0.1:1` must be there, but got: .*refused"
    ):
        ray_cluster._check_reachable("127.0.0.1:1")


@pytest.mark.parametrize("address", cases(["{}", "auto"], ["{}"], "durable"))
def test_a_listener_that_never_answers_is_no_cluster(address, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'lrelu-jax[ray]'")
    monkeypatch.setattr(ray_cluster, "ANSWER_SECONDS", 2.0)
    with socket.create_server(("", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", where)  # what `auto` finds
        executor = sweeps.ray(address.format(where), runtime_env={})
        with pytest.raises(
            sweeps.StudyError, match="`a Ray cluster at .*must be there, but got no answer in 2"
        ):
            sweeps.run(tiny_networks.study(10), out=tmp_path / "run", executor=executor, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.cluster
def test_it_is_said_within_seconds():
    with socket.create_server(("", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(sweeps.StudyError, match="no answer in 15 s; `ray status --address"):
            ray_cluster._check_answers(f"127.0.0.1:{listener.getsockname()[1]}")
    assert time.monotonic() - began < 60  # Ray itself waits for minutes
