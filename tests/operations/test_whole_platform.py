"""From records in a bucket to an answer, and back to the model before: everything deployed, nothing in this process."""

import json
import os
import sys
import time

import pytest
import yaml

from vizecg.simulate import write_database

pytestmark = [
    pytest.mark.servers,
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.xdist_group("ports"),
]
RECORDS = "s3://vizecg/incoming/ptb-xl"
UPLOAD = """\
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import boto3
folder, s3 = Path(sys.argv[1]), boto3.client("s3")
def put(path):
    s3.upload_file(str(path), "vizecg", f"incoming/ptb-xl/{path.relative_to(folder)}")
with ThreadPoolExecutor(8) as pool:
    list(pool.map(put, [path for path in folder.rglob("*") if path.is_file()]))
"""
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
HISTORY = """\
import json
from vizecg.promotion import history
from vizecg.settings import Settings
print(json.dumps([[entry.action, entry.version, entry.state, entry.reason] for entry in history(Settings())]))
"""
# Both models are as good as two epochs make them; these tests are about moving them.
ANYTHING_GOES = ["promote.macro_auroc_margin=1", "promote.class_auroc_margin=1"]
SMALLEST_COMPARISON = ["compare.folds=[9, 10]", "compare.min_scored=1", "train.epochs=1"]


@pytest.fixture(scope="module")
def platform(make_stack, project, small, tmp_path_factory):
    """A stack whose workers clone a small pipeline of this project, which reads its records from the stack's bucket."""
    folder = tmp_path_factory.mktemp("platform")
    checkout = project(folder / "checkout")
    checkout.override(*small, *ANYTHING_GOES)
    switch_on_the_trigger(checkout.folder / "prefect.yaml")
    write_database(folder / "ptb-xl", records=200, seed=7, both_rates=False)
    stack = make_stack(folder / "state", checkout=checkout.folder, repository=checkout.folder)
    stack.start()
    stack.run(sys.executable, "-c", UPLOAD, str(folder / "ptb-xl"))
    stack.run("vizecg", "source", "pin", "--set", f"ingest.source={RECORDS}", "--set", "ingest.s3.signed=true")
    checkout.dvc("remote", "add", "--default", "team", "s3://vizecg/dvc")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "a"]):
        checkout.git(*command)
    return stack


def switch_on_the_trigger(prefect_yaml):
    """On new data, as docs/monitoring.md says."""
    content = yaml.safe_load(prefect_yaml.read_text())
    (deployment,) = (one for one in content["deployments"] if one["entrypoint"].endswith(":retraining"))
    deployment["triggers"][0]["enabled"] = True
    prefect_yaml.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def page(platform, tmp_path_factory):
    """A page of one of the records, as a file."""
    folder = tmp_path_factory.mktemp("page")
    record = platform.folder.parent.parent / "ptb-xl" / "records100" / "00000" / "00001_lr"
    platform.vizecg("page", os.fspath(record), os.fspath(folder / "page.png"))
    return folder / "page.png"


def ended_well(stack):
    (flow, state, message) = stack.runs()[-1]
    assert state == "Completed", f"{flow}: {message}\n{stack.log('worker')[-4000:]}"
    return message


def answering_version(stack, page):
    """Of the model that the running service answers with."""
    key = ["--key-file", os.fspath(stack.folder / "secrets" / "api_key")]
    said = stack.vizecg("predict", os.fspath(page), "--url", stack.url("service"), *key).stdout
    answer = json.loads(said)
    assert answer["decision"] in ("ok", "abstain", "reject"), said
    return answer["model"]["version"]


def answers_with(stack, page, version):
    """Whether the service comes to answer with a version, which it looks for every three seconds."""
    deadline_s = time.monotonic() + 120
    while (now := answering_version(stack, page)) != version and time.monotonic() < deadline_s:
        time.sleep(1)
    return now == version


def test_records_in_a_bucket_become_an_answer_a_better_one_and_the_first_again(platform, page):
    platform.deployed("retraining/vizecg", promote_it=False)
    assert "ingest ran" in ended_well(platform)
    platform.deployed("promotion/vizecg", version="1", reason="the first")
    ended_well(platform)
    assert answers_with(platform, page, "1")
    platform.deployed("retraining/vizecg", overrides=["train.seed=8"])
    # The records were not fetched a second time, nor pages drawn: DVC knew them.
    assert "ingest restored from cache, render restored from cache" in ended_well(platform)
    assert answers_with(platform, page, "2")
    platform.deployed("rollback/vizecg", reason="worse on paper")
    ended_well(platform)
    assert answers_with(platform, page, "1")
    history = json.loads(platform.python(HISTORY).strip().splitlines()[-1])
    assert history == [
        ["promote", "1", "committed", "the first"],
        ["promote", "2", "committed", "retrain"],
        ["rollback", "1", "committed", "worse on paper"],
    ]
    assert "all is well" in platform.run("vizecg", "doctor")


def test_the_deployed_comparison_ends_with_a_table_in_mlflow(platform):
    platform.deployed("comparison/vizecg", overrides=SMALLEST_COMPARISON, contenders=["vizecgnet", "late fusion"])
    assert ended_well(platform) == "2 contenders compared"
    told = platform.python(
        "import json\n"
        "from vizecg import tracking\n"
        "from vizecg.settings import Settings\n"
        "mlflow = tracking.client(Settings())\n"
        "experiment = mlflow.get_experiment_by_name('vizecg')\n"
        "runs = mlflow.search_runs([experiment.experiment_id])\n"
        "print(json.dumps(sorted(r.info.run_name for r in runs if 'comparison_digest' in r.data.tags)))\n"
    )
    names = json.loads(told.strip().splitlines()[-1])
    assert names[1:] == ["late fusion", "vizecgnet"]
    assert names[0].startswith("compare ")


def versions_promoted(stack):
    """Of every line of the ledger, the oldest first."""
    history = json.loads(stack.python(HISTORY).strip().splitlines()[-1])
    return [version for _, version, _, _ in history]


@pytest.fixture
def champion(platform, page):
    """The version that answers; where no test before has made one, the first is made and asked."""
    if not versions_promoted(platform):
        platform.deployed("retraining/vizecg")
        ended_well(platform)
    version = versions_promoted(platform)[-1]
    assert answers_with(platform, page, version)
    return version


def test_records_that_are_added_to_the_bucket_are_found_and_trained_on_by_themselves(
    platform, page, champion, tmp_path
):
    known = set(versions_promoted(platform))
    write_database(tmp_path / "ptb-xl", records=220, seed=7, both_rates=False)
    platform.run(sys.executable, "-c", UPLOAD, str(tmp_path / "ptb-xl"))
    before = len(platform.runs())
    platform.deployed("monitoring/vizecg")
    deadline_s = time.monotonic() + 1800
    while len(runs := platform.runs()[before:]) < 2 or runs[1][1] not in ENDED:
        assert time.monotonic() < deadline_s, platform.log("worker")[-4000:]
        time.sleep(2)
    (_, *looked), (flow, state, message) = runs
    assert looked == ["Completed", "somebody should look: data"]
    assert (flow, state) == ("retraining", "Completed"), message + platform.log("worker")[-4000:]
    assert "ingest ran" in message
    newest = str(len(known) + 1)
    assert message.endswith(f"vizecgnet version {newest} is champion now instead of version {champion}")
    assert answers_with(platform, page, newest)
    # What the service wrote down the worker has read: the pictures of this model that were answered until now.
    report = json.loads((platform.folder / "worker" / "reports" / "monitor" / "monitor.json").read_text())
    assert report["model"]["version"] == champion
    assert report["window"]["pictures"] == 1
    assert (report["window"]["other_models"] > 0) == (known != {champion})
