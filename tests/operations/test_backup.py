"""A team's state copied while everything runs, and a new stack made from it: the same champion, ledger and files."""

import json
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.servers,
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.xdist_group("ports"),
]
ROOT = Path(__file__).parent.parent.parent
# Three small bundles; the first two are promoted, then the second is taken back.
FILL = """\
import importlib.util, sys
from pathlib import Path
def helpers(name):
    path = Path({root!r}) / "tests" / "promotion" / f"{{name}}.py"
    spec = importlib.util.spec_from_file_location(f"promotion_{{name}}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
from vizecg import tracking
from vizecg.promotion import rollback
from vizecg.settings import Settings
bundles, promoting, settings = helpers("conftest"), helpers("test_promotion"), Settings()
for seed in (0, 1, 2):
    tracking.ensure_registered(bundles.write_bundle(Path({folder!r}) / str(seed), seed=seed), settings=settings)
promoting.please(settings, version="1", reason="first")
promoting.please(settings, version="2", reason="better")
rollback(settings, actor="anna", reason="was not")
"""
TELL = """\
import json
import boto3
from prefect.client.orchestration import get_client
from vizecg import tracking
from vizecg.promotion import history
from vizecg.registry import Registry
from vizecg.settings import CHAMPION, Settings
settings = Settings()
champion = Registry(settings).resolve(CHAMPION)
Registry(settings).fetch(champion)
pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket="vizecg")
with get_client(sync_client=True) as client:
    runs = sorted((str(run.id), run.state_name) for run in client.read_flow_runs())
    deployments = sorted(str(one.id) for one in client.read_deployments())
print(json.dumps({
    "champion": [champion.version, champion.bundle_digest, champion.run_id],
    "ledger": [[e.sequence, e.action, e.version, e.bundle_digest, e.state, e.actor, e.reason, str(e.created_at)]
               for e in history(settings)],
    "versions": [[v.version, v.source, sorted(v.tags.items())] for v in tracking.all_versions(settings)],
    "store": sorted([entry["Key"], entry["Size"]] for page in pages for entry in page.get("Contents", ())),
    "runs": runs,
    "deployments": deployments,
}))
"""


def state_of(stack):
    return json.loads(stack.python(TELL).strip().splitlines()[-1])


def test_a_new_stack_from_a_backup_has_the_same_champion_ledger_files_and_runs(make_stack, project, tmp_path):
    checkout = project(tmp_path / "checkout").folder
    first = make_stack(tmp_path / "first", checkout=checkout, repository=checkout)
    first.start()
    first.python(FILL.format(root=str(ROOT), folder=str(tmp_path / "bundles")))
    before = state_of(first)
    assert [(entry[1], entry[2], entry[4]) for entry in before["ledger"]] == [
        ("promote", "1", "committed"),
        ("promote", "2", "committed"),
        ("rollback", "1", "committed"),
    ]
    backup = tmp_path / "backup"
    said = first.vizecg("stack", "backup", str(backup)).stdout
    assert said.endswith(f"prefect, and {len(before['store'])} objects of the store\n")
    secrets = [path.read_text() for path in (first.folder / "secrets").glob("[!.]*") if path.suffix != ".json"]
    copied = [path.read_bytes() for path in backup.rglob("*") if path.is_file()]
    assert not [secret for secret in secrets for content in copied if secret.encode() in content]
    first.stop()
    refused = first.vizecg("stack", "up", "--restore", str(backup), check=False)
    assert (refused.returncode, "holds a stack's state already" in refused.stderr) == (2, True)

    new = make_stack(tmp_path / "new", checkout=checkout, repository=checkout)
    new.start("--restore", str(backup))
    assert state_of(new) == before
    assert "all is well" in new.run("vizecg", "doctor")
    assert new.secret("postgres_password") not in secrets

    (backup / "ledger.dump").write_bytes(b"cut off")
    third = make_stack(tmp_path / "third", checkout=checkout, repository=checkout)
    damaged = third.vizecg("stack", "up", "--restore", str(backup), check=False)
    assert (damaged.returncode, "ledger.dump is damaged" in damaged.stderr) == (2, True)
    assert not third.folder.exists()
