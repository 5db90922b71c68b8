"""The service without the training stack: in a process that cannot import it, and in an environment without it."""

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from vizecg.registry import QUICK_FAILURE

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 120
# As they are imported, and as they are installed.
NOT_IMPORTED = (
    *("alembic", "dvc", "flask", "great_expectations", "matplotlib", "numba", "onnx", "pandas", "prefect"),
    *("pyarrow", "scipy", "sklearn", "sqlalchemy", "torch", "wfdb"),
)
NOT_INSTALLED = {
    *("alembic", "dvc", "flask", "great-expectations", "matplotlib", "mlflow", "numba", "onnx", "pandas", "prefect"),
    *("pyarrow", "scikit-learn", "scipy", "sqlalchemy", "torch", "wfdb"),
}
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {refused!r} else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from vizecg.cli import main
main()
"""


@contextmanager
def serving(command: list[str], *, place: Path, **environment: str) -> Iterator[httpx.Client]:
    """`vizecg serve` as a process of its own, once a model answers; yields who asks it."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIZECG_"))}
    environment = {**quiet, **QUICK_FAILURE, "VIZECG_STATE_DIR": str(place / "state"), **environment}
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "serve"], cwd=place, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            url = process.stdout.readline().partition("http://")[2].partition(",")[0].partition(" ")[0]
            assert url, (place / "log").read_text()
            with httpx.Client(base_url=f"http://{url}", trust_env=False, timeout=PATIENCE_S) as client:
                deadline = time.monotonic() + PATIENCE_S
                while client.get("/ready").status_code != 200:
                    assert time.monotonic() < deadline, (place / "log").read_text()
                    time.sleep(0.1)
                yield client
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.mark.servers
def test_it_follows_a_registry_and_answers_on_every_route_where_nothing_of_the_training_stack_can_be_imported(
    mlflow_server, bundle, page_png, tmp_path, make
):
    assert any(map(find_spec, NOT_IMPORTED)), "where none is installed, refusing them shows nothing"
    mlflow_server.promote(mlflow_server.register(bundle))
    command = [sys.executable, "-c", WITHOUT.format(refused=NOT_IMPORTED)]
    environment = {"PYTHONPATH": str(ROOT), "VIZECG_TRACKING_URI": mlflow_server.settings.tracking_uri}
    with serving(command, place=tmp_path, **environment) as client:
        answer = client.post("/v1/predict", content=page_png).json()
        assert answer["decision"] == "ok"
        assert answer["model"]["bundle_digest"] == make.digest(bundle)
        assert client.post("/v1/explain", content=page_png).headers["content-type"] == "image/png"
        batch = client.post("/v1/predict/batch", files=[("file", page_png), ("file", page_png)]).json()
        assert batch["answered"] == 2
        for path in ("/", "/docs", "/openapi.json", "/metrics", "/v1/model", "/v2/models/vizecgnet"):
            assert client.get(path).status_code == 200, path


@pytest.fixture(scope="module")
def slim(tmp_path_factory) -> Path:
    """An environment of its own with `vizecg[serve]` and what that needs; its python."""
    place = tmp_path_factory.mktemp("slim")
    venv.create(place / "venv", with_pip=True)
    python = place / "venv" / "bin" / "python"
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--constraint", str(ROOT / "constraints.txt"), f"{ROOT}[serve]"]
    done = subprocess.run(command, cwd=place, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
@pytest.mark.servers
def test_an_environment_with_the_service_alone_has_no_training_stack_and_serves_the_champion(
    slim, mlflow_server, bundle, page_png, tmp_path, make
):
    listing = [slim, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    installed = {entry["name"].lower().replace("_", "-") for entry in json.loads(listed)}
    assert {"vizecg", "onnxruntime", "mlflow-skinny"} <= installed
    assert installed & NOT_INSTALLED == set()

    mlflow_server.promote(mlflow_server.register(bundle))
    command = [str(slim.parent / "vizecg")]
    for copy in ("fetched", "cached"):
        began = time.monotonic()
        with serving(command, place=tmp_path, VIZECG_TRACKING_URI=mlflow_server.settings.tracking_uri) as client:
            print(f"ready {time.monotonic() - began:.1f} s after it was started, with a {copy} bundle")
            answer = client.post("/v1/predict", content=page_png).json()
            assert answer["decision"] == "ok"
            assert answer["model"]["bundle_digest"] == make.digest(bundle)
