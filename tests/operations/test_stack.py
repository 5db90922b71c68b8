"""A team's whole platform as real processes: up, one part restarted, stopped, nothing left and nothing told."""

import re
import signal

import httpx
import pytest

pytestmark = [
    pytest.mark.servers,
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.xdist_group("ports"),
]
PARTS = ["postgres", "s3", "mlflow", "prefect", "worker", "service"]


def test_a_stack_comes_up_is_restarted_in_part_and_leaves_nothing_behind(make_stack, project, tmp_path):
    checkout = project(tmp_path / "checkout").folder
    stack = make_stack(tmp_path / "state", checkout=checkout, repository=checkout)
    stack.start()
    assert re.findall(r"^(\w+) .* up", stack.vizecg("stack", "status").stdout, flags=re.MULTILINE) == PARTS
    assert "all is well" in stack.run("vizecg", "doctor")
    guessed = stack.run("env", "PREFECT_API_AUTH_STRING=vizecg:guessed", "vizecg", "doctor", check=False)
    assert re.search(r"^BAD  Prefect: \S+ refuses the login; see PREFECT_API_AUTH_STRING$", guessed, flags=re.MULTILINE)
    page = {"content": b"no picture", "headers": {"Authorization": f"Bearer {stack.secret('api_key')}"}}
    predict = f"{stack.url('service')}/v1/predict"
    # With the key it gets as far as there being no model; without it, no further than the door.
    assert httpx.post(predict, **page).status_code == 503
    assert httpx.post(predict, content=b"no picture").status_code == 401
    assert httpx.get(f"{stack.url('mlflow')}/api/2.0/mlflow/experiments/get?experiment_id=0").status_code == 401
    assert httpx.get(f"{stack.url('prefect')}/api/flows/count").status_code in (401, 405)
    for part in ("postgres", "mlflow"):
        assert f"{part} is up again" in stack.vizecg("stack", "restart", part, "--away", "1").stdout
    # PostgreSQL was asked to stop and did; were it killed it would have to recover.
    assert "not properly shut down" not in stack.log("postgres")
    assert "all is well" in stack.run("vizecg", "doctor")
    assert stack.vizecg("stack", "up", check=False).returncode == 4
    nobody_is_told_a_secret(stack)
    assert len(stack.processes()) >= len(PARTS)
    assert stack.stop(with_signal=signal.SIGINT) == 0
    assert stack.processes() == []
    status = stack.vizecg("stack", "status", check=False)
    assert (status.returncode, status.stdout.count("not running")) == (1, len(PARTS))


def nobody_is_told_a_secret(stack):
    told = {path.name: path.read_text(errors="replace") for path in (stack.folder / "logs").iterdir()}
    told |= {"what it printed": stack.said.read_text(), "command lines": "\n".join(stack.processes())}
    for path in (stack.folder / "secrets").glob("[!.]*"):
        if path.suffix != ".json":
            assert [name for name, text in told.items() if path.read_text() in text] == [], path.name
