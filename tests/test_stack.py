"""What a stack writes down before anything runs, and what it refuses."""

import socket
import sys
from types import SimpleNamespace

import pytest

from vizecg import keys
from vizecg.cli import main
from vizecg.errors import InputError
from vizecg.stack import backup, postgres
from vizecg.stack.layout import (
    API_KEY,
    SECRET_NAMES,
    client_environment,
    mlflow_environment,
    new_layout,
    prefect_environment,
    read_layout,
    service_environment,
)
from vizecg.stack.parts import parts_of
from vizecg.stack.postgres import programs

try:
    programs()
except InputError:
    HAS_POSTGRES = False
else:
    HAS_POSTGRES = True
needs_postgres = pytest.mark.skipif(not HAS_POSTGRES, reason="needs PostgreSQL")


def layout_in(folder, *, ports=None):
    return new_layout(folder / "stack", checkout=folder, repository=str(folder), ports=ports or {})


def vizecg(*arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vizecg", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


def test_secrets_are_made_anew_for_each_stack_and_nobody_else_may_read_them(tmp_path):
    one, other = layout_in(tmp_path / "a"), layout_in(tmp_path / "b")
    assert not set(one.secrets.values()) & set(other.secrets.values())
    assert len(set(one.secrets.values())) == len(SECRET_NAMES)
    for path in (tmp_path / "a" / "stack" / "secrets").glob("[!.]*"):
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert (tmp_path / "a" / "stack" / "secrets").stat().st_mode & 0o777 == 0o700
    assert not any(secret in repr(one) for secret in one.secrets.values())


def test_a_second_start_keeps_the_secrets_its_databases_were_made_with(tmp_path):
    first = layout_in(tmp_path)
    key = first.secret_file(API_KEY).read_text()
    again = layout_in(tmp_path)
    assert again.secrets == first.secrets
    assert again.secret_file(API_KEY).read_text() == key
    assert read_layout(tmp_path / "stack") == again


def test_the_key_that_comes_with_a_stack_opens_its_service(tmp_path):
    layout = layout_in(tmp_path)
    known = keys.read(layout.secret_file("keys.json"))
    assert known.holder_of(layout.secret_file(API_KEY).read_text()).scopes == tuple(keys.Scope)


@needs_postgres
def test_no_command_line_holds_a_secret(tmp_path):
    layout = layout_in(tmp_path)
    words = [word for part in parts_of(layout).values() for word in part.command]
    assert words
    assert not [word for word in words for secret in layout.secrets.values() if secret in word]


def test_settings_of_another_platform_do_not_reach_a_stack(tmp_path, monkeypatch):
    for name in ("VIZECG_BUNDLE", "MLFLOW_TRACKING_TOKEN", "PREFECT_API_KEY", "AWS_PROFILE"):
        monkeypatch.setenv(name, "of-the-hospital")
    monkeypatch.setenv("LANG", "C.UTF-8")
    layout = layout_in(tmp_path)
    for told in (client_environment, service_environment, mlflow_environment, prefect_environment):
        environment = told(layout)
        assert "of-the-hospital" not in environment.values(), told
        assert environment["LANG"] == "C.UTF-8"


def test_the_service_is_told_no_password_but_that_of_the_registry(tmp_path):
    layout = layout_in(tmp_path)
    told = " ".join(service_environment(layout).values())
    assert [name for name, secret in layout.secrets.items() if secret in told] == ["mlflow_password"]


def test_a_port_that_was_asked_for_and_is_taken_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port mlflow={port}: that port is taken; name another, or none"):
            layout_in(tmp_path, ports={"mlflow": port})


@pytest.mark.parametrize("given", ["mlflow", "grafana=3000", "mlflow=0", "mlflow=70000", "mlflow=many"])
def test_a_port_is_a_part_and_a_number(given, monkeypatch, capsys):
    code, said = vizecg("stack", "up", "--port", given, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert f"'{given}' is not PART=NUMBER with PART one of postgres, s3, mlflow, prefect, service" in said


@pytest.mark.parametrize("arguments", [("status",), ("restart", "mlflow"), ("run", "env")])
def test_where_no_stack_was_ever_started_there_is_one_sentence(arguments, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path))
    code, said = vizecg("stack", *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, said) == (2, f"vizecg: {tmp_path}/stack holds no stack; `vizecg stack up` makes one\n")


@needs_postgres
def test_a_part_is_not_restarted_where_no_stack_is_running(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path))
    layout_in(tmp_path)
    code, said = vizecg("stack", "restart", "mlflow", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, said) == (2, f"vizecg: no stack is running at {tmp_path}/stack; `vizecg stack up` starts it\n")
    code, said = vizecg("stack", "restart", "grafana", monkeypatch=monkeypatch, capsys=capsys)
    assert "the stack has no part 'grafana'; it has postgres, s3, mlflow, prefect, worker, service" in said
    assert not list((tmp_path / "stack" / "logs").iterdir())


def test_a_database_that_is_silent_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    (tmp_path / "pg_dump").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setattr(postgres, "programs", lambda: tmp_path)
    monkeypatch.setattr(backup, "_DUMP_TIMEOUT_S", 0.2)
    layout = SimpleNamespace(ports={"postgres": 9}, secrets={"postgres_password": "x"})
    with pytest.raises(InputError, match=r"^pg_dump did not end within 0\.2 s and was stopped; see whether PostgreSQL"):
        backup._run(layout, "pg_dump", ["ledger"])
