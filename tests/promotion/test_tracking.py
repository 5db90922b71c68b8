"""Runs and versions in a real MLflow, made from files and found again."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml

from vizecg import publish, servers, tracking
from vizecg.bundle import BUNDLE
from vizecg.environment import NOTHING_REPORTS_HOME
from vizecg.errors import InputError, Unavailable
from vizecg.labels import TASKS
from vizecg.registry import BrokenVersion, Registry
from vizecg.settings import CHAMPION, EXPERIMENT_NAME, MODEL_NAME, Settings
from vizecg.tracking import TrackingUnavailable, ensure_registered, ensure_run, live_run, versions
from vizecg.tracking.connection import asking

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy",  # MLflow 3.17 under SQLAlchemy 2.1
)

AWAY = "http://127.0.0.1:9"  # the discard port: nobody listens there


def what_a_run_says(settings: Settings, run_id: str) -> dict:
    """Everything an analyst sees of a run but what depends on the clock."""
    client = tracking.client(settings)
    run = client.get_run(run_id)
    hidden = {"mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.artifacts.size"}
    return {
        "params": run.data.params,
        "tags": {name: value for name, value in run.data.tags.items() if name not in hidden},
        "status": run.info.status,
        "history": {
            name: sorted((point.step, point.value) for point in client.get_metric_history(run_id, name))
            for name in run.data.metrics
        },
        "artifacts": sorted(
            file.path for place in ("model_run", "evaluation", "evaluation/figures")
            for file in client.list_artifacts(run_id, place)
        ),
        "data": sorted((entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs),
    }  # fmt: skip


def runs(settings: Settings) -> list:
    client = tracking.client(settings)
    experiment = client.get_experiment_by_name(EXPERIMENT_NAME)
    return client.search_runs([experiment.experiment_id])


def test_a_run_shows_params_curves_scores_with_their_intervals_figures_and_data(settings, model_run, evaluation):
    said = what_a_run_says(settings, ensure_run(settings, model_run=model_run, evaluation=evaluation))
    assert said["params"] == {"epochs": "3", "model.dim": "128", "seed": "1"}
    assert said["history"]["loss/total"] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    scores = {name: said["history"][name] for name in ("macro_auroc", "macro_auroc_low", "macro_auroc_high")}
    assert scores == {"macro_auroc": [(0, 0.9)], "macro_auroc_low": [(0, 0.85)], "macro_auroc_high": [(0, 0.94)]}
    assert said["history"]["classes/MI/auroc"] == [(0, 0.91)]
    assert said["history"]["age/90_/auroc"] == [(0, 0.8)]  # MLflow takes no plus sign
    # What is not defined is not shown, nor what is no score.
    assert not {"classes/MI/auprc", "schema_version", "fold", "simulated"} & set(said["history"])
    assert {"evaluation/figures/roc.png", "model_run/metrics.jsonl"} <= set(said["artifacts"])
    assert "model_run/model.safetensors" not in said["artifacts"]
    assert said["data"] == [("pages", "2" * 12), ("records", "1" * 12)]
    assert said["tags"]["simulated"] == "true"
    assert "simulated records: nothing here has a medical meaning" in said["tags"]["mlflow.note.content"]
    assert said["status"] == "FINISHED"


def test_codes_that_are_no_names_for_mlflow_are_shown_all_the_same(settings, model_run, make_evaluation):
    scores = {"LAO/LAE": {"auroc": 0.7}, "PRC(S)": {"auroc": 0.8}, "_AVB": {"auroc": 0.9}, "1AVB": {"auroc": 0.6}}
    run_id = ensure_run(settings, model_run=model_run, evaluation=make_evaluation("other", classes=scores))
    history = what_a_run_says(settings, run_id)["history"]
    assert {name: points[0][1] for name, points in history.items() if name.startswith("classes/")} == {
        "classes/LAO-LAE/auroc": 0.7,
        "classes/PRC-S/auroc": 0.8,
        "classes/_AVB/auroc": 0.9,
        "classes/1AVB/auroc": 0.6,
    }


def test_a_run_of_71_classes_is_shown_in_seconds(settings, make_evaluation, make_model_run):
    names = [f"{name}{end}" for name in ("auroc", "auprc", "f1", "recall") for end in ("", "_low", "_high")]
    classes = {code: dict.fromkeys(names, 0.5) for code in TASKS["all"].codes}
    evaluation = make_evaluation("many", classes=classes)
    model_run = make_model_run("many-run", epochs=18, codes=TASKS["all"].codes)
    began_s = time.monotonic()
    run_id = ensure_run(settings, model_run=model_run, evaluation=evaluation)
    assert time.monotonic() - began_s < 30
    shown = tracking.client(settings).get_run(run_id).data.metrics
    assert sum(name.startswith("classes/") for name in shown) == 71 * len(names)
    assert sum(name.startswith("fold9/auroc_") for name in shown) == 1 + 71


def test_the_same_files_are_the_same_run(settings, model_run, evaluation):
    first = ensure_run(settings, model_run=model_run, evaluation=evaluation)
    assert ensure_run(settings, model_run=model_run, evaluation=evaluation) == first
    assert len(runs(settings)) == 1


def test_another_evaluation_of_the_same_training_is_another_run(settings, model_run, evaluation, make_evaluation):
    first = ensure_run(settings, model_run=model_run, evaluation=evaluation)
    other = make_evaluation("other", macro_auroc=0.8)
    assert ensure_run(settings, model_run=model_run, evaluation=other) != first


def test_a_wiped_mlflow_ends_with_the_same_record(settings, model_run, evaluation, empty_mlflow, tmp_path):
    before = what_a_run_says(settings, ensure_run(settings, model_run=model_run, evaluation=evaluation))
    (tmp_path / "again").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "again" / "mlflow.db")
    wiped = Settings(state_dir=tmp_path / "again")
    assert what_a_run_says(wiped, ensure_run(wiped, model_run=model_run, evaluation=evaluation)) == before


def test_a_run_that_was_cut_off_half_way_is_completed(settings, model_run, evaluation):
    client = tracking.client(settings)
    run_id = ensure_run(settings, model_run=model_run, evaluation=evaluation)
    whole = what_a_run_says(settings, run_id)
    client.delete_run(run_id)
    (begun,) = [client.create_run(client.get_experiment_by_name(EXPERIMENT_NAME).experiment_id)]
    for tag in ("run_digest", "evaluation_digest"):
        client.set_tag(begun.info.run_id, tag, whole["tags"][tag])
    client.log_metric(begun.info.run_id, "loss/total", 1.0, step=1)
    assert ensure_run(settings, model_run=model_run, evaluation=evaluation) == begun.info.run_id
    assert what_a_run_says(settings, begun.info.run_id) == whole


def test_the_live_view_of_a_training_becomes_its_record(settings, model_run, evaluation):
    with live_run(settings, name="train", params={"epochs": 3}) as log:
        for epoch in (1, 2):
            log(epoch, {"loss/total": 1 / epoch, "fold9/auroc_image": 0.7 + epoch / 100})
    (live,) = runs(settings)
    assert live.data.tags["live"] == "true"
    assert live.data.params == {"epochs": "3"}
    run_id = ensure_run(settings, model_run=model_run, evaluation=evaluation)
    assert run_id == live.info.run_id
    said = what_a_run_says(settings, run_id)
    assert said["history"]["loss/total"] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert "live" not in said["tags"]


def test_two_live_views_of_one_resumed_training_end_as_one_run(settings, model_run, evaluation):
    for epochs in ((1,), (2, 3)):
        with live_run(settings, name="train") as log:
            for epoch in epochs:
                log(epoch, {"loss/total": 1 / epoch})
    run_id = ensure_run(settings, model_run=model_run, evaluation=evaluation)
    assert [run.info.run_id for run in runs(settings)] == [run_id]


def test_the_live_view_of_another_training_is_left_alone(settings, model_run, evaluation):
    with live_run(settings, name="train") as log:
        log(1, {"loss/total": 77.0})
    (other,) = runs(settings)
    run_id = ensure_run(settings, model_run=model_run, evaluation=evaluation)
    assert run_id != other.info.run_id
    assert {run.info.run_id for run in runs(settings)} == {run_id, other.info.run_id}


def test_a_training_that_fails_is_shown_as_failed(settings):
    with pytest.raises(RuntimeError, match="out of memory"), live_run(settings, name="train") as log:
        log(1, {"loss/total": 1.0})
        raise RuntimeError("out of memory")
    (live,) = runs(settings)
    assert live.info.status == "FAILED"


def test_training_goes_on_when_mlflow_is_away_and_says_so_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings(state_dir=tmp_path, tracking_uri=AWAY)
    with caplog.at_level(logging.WARNING, logger="vizecg.tracking.live"), live_run(settings, name="train") as log:
        for step in range(1000):
            log(step, {"loss/total": 1.0})
        deadline_s = time.monotonic() + 60
        while not caplog.records and time.monotonic() < deadline_s:
            time.sleep(0.02)
        log(1000, {"loss/total": 1.0})
    assert [record.message for record in caplog.records] == [
        f"no live view of the training: MLflow at {AWAY} does not answer; start it, or set VIZECG_TRACKING_URI to one "
        "that works. It goes on, and is recorded at the end"
    ]


def test_training_is_not_held_up_by_an_mlflow_that_never_answers(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("vizecg.tracking.live.PATIENCE_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = Settings(state_dir=tmp_path, tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        started_s = time.monotonic()
        with caplog.at_level(logging.WARNING, logger="vizecg.tracking.live"), live_run(settings, name="train") as log:
            log(1, {"loss/total": 1.0})
        assert time.monotonic() - started_s < 30
    assert "takes more than 0 s" in caplog.text
    for thread in threading.enumerate():  # its request ends with the socket
        if thread.name == "mlflow-live-view":
            thread.join(15)


def test_mlflow_down_is_one_sentence_with_the_address_and_what_to_do(tmp_path, model_run, evaluation, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings(state_dir=tmp_path, tracking_uri=AWAY)
    expected = f"MLflow at {AWAY} does not answer; start it, or set VIZECG_TRACKING_URI to one that works"
    with pytest.raises(TrackingUnavailable) as refused:
        ensure_run(settings, model_run=model_run, evaluation=evaluation)
    assert str(refused.value) == expected


def test_a_password_in_the_address_is_in_no_sentence(tmp_path, model_run, evaluation, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings(state_dir=tmp_path, tracking_uri="http://alice:s3cret@127.0.0.1:9")
    with pytest.raises(TrackingUnavailable, match=r"MLflow at http://\*\*\*@127\.0\.0\.1:9 does not") as refused:
        ensure_run(settings, model_run=model_run, evaluation=evaluation)
    with caplog.at_level(logging.WARNING, logger="vizecg.tracking.live"), live_run(settings, name="train"):
        pass
    assert "MLflow at http://***@127.0.0.1:9" in caplog.text
    assert "s3cret" not in str(refused.value) + caplog.text


def test_what_mlflow_says_of_an_address_is_said_without_its_password(tmp_path):
    settings = Settings(state_dir=tmp_path, tracking_uri=AWAY)
    with (
        pytest.raises(TrackingUnavailable, match=r"refuses \(no route to http://\*\*\*@host/x\); start it"),
        asking(settings),
    ):
        raise OSError("no route to http://alice:s3cret@host/x")


def test_a_file_that_is_no_database_is_refused_in_one_sentence(tmp_path, model_run, evaluation):
    (tmp_path / "mlflow.db").write_text("this is not a database, whatever its name says" * 100)
    with pytest.raises(TrackingUnavailable, match=r"MLflow at sqlite:.*mlflow\.db refuses \(.*not a database"):
        ensure_run(Settings(state_dir=tmp_path), model_run=model_run, evaluation=evaluation)


def test_a_line_of_the_history_that_is_no_epoch_is_named(settings, tmp_path, evaluation, model_run):
    broken = tmp_path / "broken"
    with publish.publishing(broken, kind="model-run", schema_version=2) as staging:
        shutil.copytree(model_run, staging, dirs_exist_ok=True)
        (staging / publish.MANIFEST_NAME).unlink()
        (staging / "metrics.jsonl").write_text('{"epoch": 1, "loss": 1}\n{"loss": 2}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl line 2 is not one epoch of a training; run train again"):
        ensure_run(settings, model_run=broken, evaluation=evaluation)


def test_an_empty_mlflow_and_a_bundle_end_registered_and_fetchable(settings, make_bundle, model_run, evaluation):
    bundle = make_bundle("bundle")
    tags = {"git_sha": "c0ffee", "dvc_lock": "d00d"}
    done = ensure_registered(bundle, settings=settings, model_run=model_run, evaluation=evaluation, tags=tags)
    assert (done.name, done.version, done.created) == (MODEL_NAME, "1", True)
    pinned = Registry(settings).version("1")
    assert pinned.run_id == done.run_id
    assert pinned.tags.items() >= {**tags, "macro_auroc": "0.9000", "simulated": "true"}.items()
    assert pinned.tags["data_source"] == "simulated://1000?seed=7"
    fetched = Registry(settings).fetch(pinned)
    assert publish.verify(fetched, kind=BUNDLE, schema_version=1) == publish.verify(
        bundle, kind=BUNDLE, schema_version=1
    )


def test_registering_twice_registers_once_and_adds_the_tags_it_lacks(settings, make_bundle, model_run, evaluation):
    bundle = make_bundle("bundle")
    first = ensure_registered(bundle, settings=settings, model_run=model_run, evaluation=evaluation)
    again = ensure_registered(
        bundle, settings=settings, model_run=model_run, evaluation=evaluation, tags={"git_sha": "1", "simulated": "no"}
    )
    assert (again.version, again.run_id, again.created) == (first.version, first.run_id, False)
    tags = Registry(settings).version("1").tags
    assert (tags["git_sha"], tags["simulated"]) == ("1", "true")
    assert len(tracking.all_versions(settings)) == 1


def test_two_bundles_of_one_training_are_two_versions_of_one_run_and_both_stay_whole(
    settings, make_bundle, model_run, evaluation
):
    bundles = [make_bundle(f"{seed}", seed=seed) for seed in (1, 2)]
    of_training = {"settings": settings, "model_run": model_run, "evaluation": evaluation}
    versions_made = [ensure_registered(bundle, **of_training) for bundle in bundles]
    assert versions_made[0].run_id == versions_made[1].run_id
    for made, bundle in zip(versions_made, bundles, strict=True):
        fetched = Registry(settings).fetch(Registry(settings).version(made.version))
        assert (fetched / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert [ensure_registered(bundle, **of_training).version for bundle in bundles] == ["1", "2"]


def test_a_bundle_without_its_training_is_registered_too(settings, make_bundle):
    bundle = make_bundle("bundle")
    first = ensure_registered(bundle, settings=settings)
    assert first.created
    assert ensure_registered(bundle, settings=settings).created is False
    assert len(runs(settings)) == 1


def test_analysts_see_signature_example_and_scores(settings, make_bundle):
    done = ensure_registered(make_bundle("bundle"), settings=settings)
    client = tracking.client(settings)
    version = client.get_model_version(MODEL_NAME, done.version)
    assert "Macro AUROC on fold 10: 0.900 (0.850 to 0.940), 130 records" in version.description
    assert "no medical meaning" in version.description
    source = Path(version.source.removeprefix("file://"))
    described = yaml.safe_load((source / "MLmodel").read_text())
    (image,) = json.loads(described["signature"]["inputs"])
    assert image["name"] == "image"
    assert image["tensor-spec"] == {"dtype": "float32", "shape": [-1, 1, 32, 48]}
    assert [output["name"] for output in json.loads(described["signature"]["outputs"])] == ["logits", "evidence"]
    assert (source / described["flavors"]["onnx"]["data"]).is_file()
    example = json.loads((source / "input_example.json").read_text())["inputs"]["image"]
    assert [len(example), len(example[0]), len(example[0][0]), len(example[0][0][0])] == [1, 1, 32, 48]
    assert not [path for path in source.rglob("*") if path.suffix in (".pkl", ".pt", ".pth")]


def test_a_truncated_upload_is_found_out_and_registers_nothing(settings, make_bundle, monkeypatch):
    upload = versions._upload

    def lose_half(mlflow, run_id, **given):
        upload(mlflow, run_id, **given)
        (stored,) = settings.artifact_root.rglob("model-*/bundle/model.onnx")
        os.truncate(stored, stored.stat().st_size // 2)

    monkeypatch.setattr(versions, "_upload", lose_half)
    with pytest.raises(
        tracking.BrokenUpload, match=r"gives back other files than bundle [0-9a-f]{12} from file:.*nothing was"
    ):
        ensure_registered(make_bundle("bundle"), settings=settings)
    assert tracking.all_versions(settings) == []


def test_a_store_that_is_away_is_one_sentence_and_may_be_asked_again(settings, make_bundle, monkeypatch):
    store = {"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    for name, value in {**store, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    tracking.client(settings).create_experiment(EXPERIMENT_NAME, artifact_location="s3://bucket/artifacts")
    with pytest.raises(Unavailable, match=r"MLflow at sqlite.* refuses \(.*http://127\.0\.0\.1:9/bucket/"):
        ensure_registered(make_bundle("bundle"), settings=settings)
    assert tracking.all_versions(settings) == []


def test_registered_files_that_were_damaged_since_are_mended_by_registering_again(settings, make_bundle):
    bundle = make_bundle("bundle")
    first = ensure_registered(bundle, settings=settings)
    (stored,) = settings.artifact_root.rglob("model-*/bundle/model.onnx")
    os.truncate(stored, 10)
    with pytest.raises(BrokenVersion):
        Registry(settings).fetch(Registry(settings).version("1"))
    again = ensure_registered(bundle, settings=settings)
    assert (again.version, again.created) == (first.version, False)
    Registry(settings).fetch(Registry(settings).version("1"))


def test_a_damaged_bundle_is_never_uploaded(settings, make_bundle):
    bundle = make_bundle("bundle")
    (bundle / "model.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match=r"model\.onnx is damaged"):
        ensure_registered(bundle, settings=settings)
    assert not settings.artifact_root.exists()


@pytest.mark.servers
def test_a_real_server_takes_a_run_a_version_and_an_alias(
    tmp_path, make_bundle, model_run, evaluation, empty_mlflow, own_port
):
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(empty_mlflow, state / "mlflow.db")
    port = own_port()
    command = servers.mlflow_command(
        port=port, database_url=f"sqlite:///{state / 'mlflow.db'}", artifact_root=state / "artifacts"
    )
    environment = {**os.environ, **NOTHING_REPORTS_HOME, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = state / "log"
    url = f"http://127.0.0.1:{port}"
    settings = Settings(state_dir=state, tracking_uri=url)
    with servers.started(
        "MLflow", command, url=url, health="/health", cwd=tmp_path, environment=environment, log=log
    ) as server:
        servers.wait_until_healthy(server, timeout_s=60)
        bundle = make_bundle("bundle")
        done = ensure_registered(bundle, settings=settings, model_run=model_run, evaluation=evaluation)
        assert ensure_registered(bundle, settings=settings, model_run=model_run, evaluation=evaluation).created is False
        pinned = Registry(settings).version(done.version)
        tracking.set_alias(settings, alias=CHAMPION, pinned=pinned)
        assert Registry(settings).fetch(Registry(settings).resolve(CHAMPION)).is_dir()
        with live_run(settings, name="train") as live:
            live(1, {"loss/total": 0.5})
        assert {run.info.status for run in runs(settings)} == {"FINISHED"}
        shown = httpx.get(f"{url}/model-versions/get-artifact?path=MLmodel&name={MODEL_NAME}&version={done.version}")
        assert "tensor-spec" in shown.text
    # The database is the same whether a server stands before it or not.
    embedded = Settings(state_dir=state)
    assert ensure_registered(bundle, settings=embedded, model_run=model_run, evaluation=evaluation).created is False


def test_importing_tracking_loads_nothing_heavy():
    code = "import sys, vizecg.tracking; print([name for name in ('mlflow', 'torch', 'pandas') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
