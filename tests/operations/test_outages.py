"""A server that goes away in the middle of a deployed run, and comes back: nothing is lost and nothing doubled.

The repository's one stage makes what registering needs, and waits until it is told to end; so
the test decides that the server is gone just when the run needs it. `--away 30` is `make test-stack`.
"""

import json
import threading
import time

import pytest

pytestmark = [
    pytest.mark.servers,
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.xdist_group("ports"),
]
WAIT = """\
gates = pathlib.Path({gates!r})
(gates / f"waiting-{{epochs}}").touch()
while not (gates / f"go-{{epochs}}").exists():
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def team(make_stack, project, one_stage, tmp_path_factory):
    """A stack whose workers clone a repository with a pipeline that waits, with its DVC remote in the stack's S3."""
    folder = tmp_path_factory.mktemp("outages")
    gates = folder / "gates"
    gates.mkdir()
    repository = one_stage(folder / "repository", remote="s3://vizecg/dvc", first=WAIT.format(gates=str(gates))).folder
    checkout = project(folder / "checkout").folder
    stack = make_stack(folder / "state", checkout=checkout, repository=repository)
    stack.start()
    return stack, gates


def wait_for(condition, *, seconds, told):
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, told()[-4000:]
        time.sleep(0.5)


def registered(stack):
    """Every version with the epochs it was made with and its files' state, and every MLflow run that is not deleted."""
    told = stack.python(
        "import json\n"
        "from vizecg import tracking\n"
        "from vizecg.registry import Registry\n"
        "from vizecg.settings import Settings\n"
        "settings = Settings()\n"
        "found = []\n"
        "for version in tracking.all_versions(settings):\n"
        "    Registry(settings).fetch(Registry(settings).version(str(version.version)))\n"
        "    found.append([version.tags['overrides'], version.tags['bundle_digest'], version.run_id])\n"
        "mlflow = tracking.client(settings)\n"
        "experiment = mlflow.get_experiment_by_name('vizecg')\n"
        "runs = [run.info.run_id for run in mlflow.search_runs([experiment.experiment_id])]\n"
        "print(json.dumps([found, runs]))\n"
    )
    versions, runs = json.loads(told.strip().splitlines()[-1])
    return versions, runs


@pytest.mark.parametrize(("part", "epochs"), [("mlflow", 41), ("prefect", 42), ("s3", 43)])
def test_a_run_ends_well_when_a_server_is_away_just_when_it_is_needed(team, part, epochs, away_s):
    stack, gates = team
    overrides = [f"train.epochs={epochs}"]
    parameters = json.dumps({"overrides": overrides, "promote_it": False})
    before, pushed_before = len(stack.runs()), pushed_runs(stack)
    stack.run("prefect", "deployment", "run", "retraining/vizecg", "--params", parameters)
    wait_for((gates / f"waiting-{epochs}").exists, seconds=900, told=lambda: stack.log("worker"))
    back = threading.Thread(target=stack.vizecg, args=("stack", "restart", part, "--away", str(away_s)))
    back.start()
    wait_for(lambda: f"{part} was stopped, as asked" in stack.said.read_text(), seconds=300, told=stack.said.read_text)
    (gates / f"go-{epochs}").touch()
    back.join()
    ended = ("Completed", "Failed", "Crashed", "Cancelled")
    wait_for(lambda: stack.runs()[before][1] in ended, seconds=900, told=lambda: stack.log("worker"))
    (_, state, message), *more = stack.runs()[before:]
    assert (state, message, more) == ("Completed", "register ran", []), stack.log("worker")[-4000:]
    versions, runs = registered(stack)
    assert [entry[0] for entry in versions].count(f"train.epochs={epochs}") == 1
    digests = [entry[1] for entry in versions]
    assert len(set(digests)) == len(digests)
    assert sorted(runs) == sorted(entry[2] for entry in versions)
    assert pushed_runs(stack) == pushed_before + 1


def pushed_runs(stack):
    """How many runs of the stage are in DVC's remote, for whoever wants their files."""
    told = stack.python(
        "import boto3\n"
        "pages = boto3.client('s3').get_paginator('list_objects_v2').paginate(Bucket='vizecg', Prefix='dvc/runs/')\n"
        "print(sum(len(page.get('Contents', [])) for page in pages))\n"
    )
    return int(told.strip().splitlines()[-1])
