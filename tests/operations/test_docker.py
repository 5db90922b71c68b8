"""Dockerfiles, compose file, alerts and dashboard: what can be held without a container engine."""

import copy
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from serving.metrics import Metrics
from serving.settings import ServingSettings
from vizecg import keys
from vizecg.environment import house_environment
from vizecg.errors import InputError
from vizecg.monitoring import MonitorSettings, files
from vizecg.settings import Settings
from vizecg.stack import layout as stack_layout
from vizecg.stack.layout import BUCKET, DATABASES, PREFERRED_PORTS, Layout
from vizecg.stack.parts import MLFLOW_AUTH, parts_of
from vizecg.stack.postgres import programs

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
ALERTS = yaml.safe_load((DOCKER / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "vizecg.json").read_text())
EXPRESSIONS = [rule["expr"] for rule in ALERTS]
EXPRESSIONS += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
OURS = {"vizecg-pipeline:0.1.0", "vizecg-serving:0.1.0"}


def exposed():
    """Every series of the service and of the monitor, as Prometheus gets it."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    families = Metrics().registry.collect()
    of_monitor = set(re.findall(r'"(vizecg_\w+)"', Path(files.__file__).read_text()))
    return of_monitor | {f"{family.name}{suffix}" for family in families for suffix in suffixes.get(family.type, ("",))}


def names_in(expression):
    return set(re.findall(r"\bvizecg_\w+", re.sub(r'"[^"]*"', "", expression)))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_of_alerts_and_dashboard_is_one_that_the_service_has(expression):
    assert names_in(expression) <= exposed()
    assert names_in(expression) or expression.startswith("up{")


def test_every_alert_is_explained_and_says_how_urgent_it_is():
    explained = (ROOT / "docs" / "operating.md").read_text()
    for rule in ALERTS:
        assert f"| {rule['alert']} |" in explained
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert [*rule["annotations"]] == ["summary"]


def test_a_monitor_that_never_looked_is_silent_too():
    """Of a series that is not there a comparison finds nothing, so no alert comes of it."""
    (expression,) = [rule["expr"] for rule in ALERTS if rule["alert"] == "MonitorSilent"]
    late, _, never = expression.partition(" or ")
    assert never == f"absent({names_in(late).pop()})"


@pytest.mark.parametrize("name", ["serving", "pipeline"])
def test_a_dockerfile_installs_extras_that_exist_runs_as_nobody_special_and_copies_what_is_there(name):
    written = (DOCKER / f"{name}.Dockerfile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"'\.\[([\w,]+)\]'", written)
    assert set(installed.split(",")) <= set(extras)
    if name == "serving":
        assert installed == "serve"
    assert re.findall(r"^USER (.*)$", written, flags=re.MULTILINE) == ["10001:10001"]
    assert re.search(r"^HEALTHCHECK ", written, flags=re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?:--chmod=\d+ )?((?:[\w./-]+ )+)[\w./-]+$", written, flags=re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, f"{source} is not sent to the engine"


def test_hadolint_has_nothing_to_say():
    program = Path(sys.executable).parent / "hadolint"
    files = sorted(map(str, DOCKER.glob("*.Dockerfile")))
    done = subprocess.run([program, *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_run_in_a_container_of_its_own_is_told_what_the_worker_is():
    properties = json.loads((DOCKER / "work-pool.json").read_text())["variables"]["properties"]
    default = {name: entry["default"] for name, entry in properties.items() if "default" in entry}
    worker, project = SERVICES["worker"], COMPOSE["name"]
    own = {"VIZECG_CHECKOUT": "/app", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30", "VIZECG_REPOSITORY": "@REPOSITORY@"}
    own["VIZECG_STAGE_TIMEOUT_H"] = ""
    assert default["env"] == worker["environment"] | own
    assert house_environment(Settings())["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert "WORKDIR /app" in (DOCKER / "pipeline.Dockerfile").read_text()
    assert default["image"] == worker["image"]
    assert default["networks"] == [f"{project}_{name}" for name in worker["networks"]]
    assert default["volumes"] == [*(f"{project}_{volume}" for volume in worker["volumes"]), "@SECRETS@:/run/secrets:ro"]


def held_against_the_specification(file):
    """As `make check` does; a copy of the specification's schema comes with the checker."""
    checker = Path(sys.executable).parent / "check-jsonschema"
    command = [checker, "--builtin-schema", "vendor.compose-spec", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_compose_file_is_as_the_specification_wants_it():
    done = held_against_the_specification(DOCKER / "compose.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("services.worker", {"depend_on": ["mlflow"]}),
        ("services.worker.restart", {"restart": True}),
        ("services.worker.healthcheck", {"healthcheck": {"test": "x", "every": "5s"}}),
        ("services.worker.volumes[0]", {"volumes": [{"source": "worker"}]}),
    ],
)
def test_a_key_that_the_specification_does_not_know_is_found(tmp_path, where, change):
    changed = copy.deepcopy(COMPOSE)
    changed["services"]["worker"].update(change)
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(changed))
    done = held_against_the_specification(tmp_path / "compose.yaml")
    assert done.returncode == 1
    assert f"$.{where}: " in done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_compose_names_only_what_is_there(name):
    service = SERVICES[name]
    tag = service["image"].rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+", tag), f"{service['image']} is not pinned"
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert set(service.get("depends_on", [])) <= set(SERVICES)
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        assert (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    for path in re.findall(r"/run/secrets/([\w.]+)", json.dumps([service.get("environment"), service.get("command")])):
        assert path in service["secrets"], f"{name} reads a secret it is not given: {path}"
    if service["image"] in OURS:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


@pytest.fixture(scope="module")
def secrets_made(tmp_path_factory):
    """What docker/make-secrets makes, by name."""
    folder = tmp_path_factory.mktemp("docker")
    (folder / "make-secrets").write_bytes((DOCKER / "make-secrets").read_bytes())
    subprocess.run(["sh", str(folder / "make-secrets")], check=True, capture_output=True)
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


@pytest.fixture(scope="module")
def same_stack(secrets_made, tmp_path_factory):
    """A stack without containers that has the compose file's passwords, on the ports it would like best."""
    known = {name: secrets_made[name] for name in stack_layout.SECRET_NAMES if name in secrets_made}
    known["prefect_password"] = secrets_made["prefect_auth"].partition(":")[2]
    folder = tmp_path_factory.mktemp("stack")
    return Layout(folder=folder, checkout=ROOT, repository="repository", ports=PREFERRED_PORTS, secrets=known)


# Of the compose file alone, or of the stack alone, and why.
ONLY_THERE = {
    "MLFLOW_TRACKING_URI": "for MLflow's own commands, which nobody types in a container",
    "AWS_EC2_METADATA_DISABLED": "a container of compose has no way to that address",
    "MLFLOW_AUTH_ADMIN_USERNAME": "stands in docker/mlflow-auth.ini",
}


def told_by_compose(name, secrets_made):
    """What a service's programs find in their environment, with what is on loopback where the stack has it."""
    environment = dict(SERVICES[name]["environment"])
    for variable in [variable for variable in environment if variable.endswith("_FILE")]:
        path = environment[variable]
        if path.startswith("/run/secrets/"):
            environment[variable.removesuffix("_FILE")] = secrets_made[path.rpartition("/")[2]]
            del environment[variable]
    hosts = r"(?<=[/@])(" + "|".join(SERVICES) + r"):(?=\d)"
    return {variable: re.sub(hosts, "127.0.0.1:", value) for variable, value in environment.items()}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("worker", stack_layout.client_environment),
        ("service", stack_layout.service_environment),
        ("mlflow", stack_layout.mlflow_environment),
        ("prefect", stack_layout.prefect_environment),
    ],
)
def test_a_program_is_told_the_same_by_compose_and_by_the_stack(name, told, secrets_made, same_stack):
    compose, stack = told_by_compose(name, secrets_made), told(same_stack)
    # Every program of ours has these from the image, or sets them itself.
    house = {*house_environment(Settings(state_dir=same_stack.folder)), "VIZECG_STATE_DIR"}
    of_both = {"VIZECG_TRACKING_URI", "VIZECG_LEDGER_URL", "VIZECG_REPOSITORY"}
    stack = {
        variable: value
        for variable, value in stack.items()
        if variable.startswith(("AWS_", "MLFLOW_", "PREFECT_", "VIZECG_"))
        and variable not in house - of_both - {*compose}
    }
    assert {*compose} ^ {*stack} <= {*ONLY_THERE}
    for variable in compose.keys() & stack.keys():
        if not compose[variable].startswith(("/", "${")):  # a path of the container, or what whoever starts it says
            assert compose[variable] == stack[variable], variable


def test_what_the_service_writes_the_worker_reads_and_cannot_change(same_stack):
    written = {f"VIZECG_{name}_DIR" for name in ("AUDIT", "FEEDBACK", "SHADOW")}
    ours = [SERVICES[name]["environment"] for name in ("service", "worker")]
    mounted = [dict(volume.split(":", 1) for volume in SERVICES[name]["volumes"]) for name in ("service", "worker")]
    (shared,) = mounted[0].keys() & mounted[1].keys()
    assert (mounted[0][shared], mounted[1][shared]) == ("/trail", "/trail:ro")
    for variable in written:
        assert ours[0][variable] == ours[1][variable]
        assert ours[0][variable].startswith("/trail/")
    # Both images make the folder, or Docker makes it root's; the files are for their writer alone to read.
    for name in ("serving", "pipeline"):
        made = re.search(r"install -d -o vizecg -g vizecg (.*)", (DOCKER / f"{name}.Dockerfile").read_text())
        assert {"/state", "/trail"} <= set(made[1].split())
    # The same in a stack without containers; and these are the names that service, monitor and gates go by.
    stack = stack_layout.client_environment(same_stack)
    assert {name: stack[name] for name in written} == {
        name: stack_layout.service_environment(same_stack)[name] for name in written
    }
    of_service, of_monitor = (
        {f"VIZECG_{name.upper()}" for name in settings.model_fields} for settings in (ServingSettings, MonitorSettings)
    )
    assert written <= of_service & of_monitor


def test_what_the_monitor_finds_reaches_prometheus():
    """The deployed flow writes below the state folder; the exporter reads the very folder of it."""
    worker, exporter = SERVICES["worker"], SERVICES["monitor-metrics"]
    assert "monitor:/state/reports" in worker["volumes"]
    assert exporter["volumes"] == ["monitor:/reports:ro"]
    assert "--collector.textfile.directory=/reports/monitor" in exporter["command"]
    assert "/state/reports" in (DOCKER / "pipeline.Dockerfile").read_text()
    assert 'state_dir / "reports" / "monitor"' in (ROOT / "flows" / "deployed.py").read_text()
    scraped = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    assert {"job_name": "monitor", "static_configs": [{"targets": ["monitor-metrics:9100"]}]} in scraped


def test_servers_databases_and_bucket_are_the_same_in_compose_and_in_the_stack(same_stack):
    try:
        programs()
    except InputError as error:
        pytest.skip(str(error))
    parts = parts_of(same_stack)
    assert {*parts} <= {*SERVICES}
    made = re.findall(r"CREATE DATABASE (\w+);", (DOCKER / "databases.sql").read_text())
    assert sorted(made) == sorted(DATABASES)
    assert f'Bucket="{BUCKET}"' in SERVICES["bucket"]["command"][-1]
    # Where a server listens, how many processes it has and which names of hosts it takes are each place's own.
    own = r"--(host|port|workers|allowed-hosts) \S+"
    for name in ("mlflow", "prefect"):
        command = SERVICES[name]["command"]
        compose = command if isinstance(command, str) else " ".join(command)
        stack = " ".join(parts[name].command).partition(" -m ")[2]
        assert re.sub(own, "", compose).split() == re.sub(own, "", stack).split()
    assert SERVICES["worker"]["command"][-1] == "vizecg deploy && exec vizecg worker"
    assert re.sub(r"\S+ -m vizecg", "vizecg", parts["worker"].command[-1]) == SERVICES["worker"]["command"][-1]
    for part, port in (("mlflow", 5000), ("prefect", 4200), ("s3", 8333), ("service", 8000)):
        assert PREFERRED_PORTS[part] == port
        assert f":{port}" in json.dumps(COMPOSE) + (DOCKER / "Caddyfile").read_text()
    names = [
        dict(re.findall(r"(?m)^(\w+) = (.*)$", text))
        for text in (MLFLOW_AUTH, (DOCKER / "mlflow-auth.ini").read_text())
    ]
    assert {*names[1]} - {*names[0]} == {"admin_username"}
    for name in names[0].keys() - {"database_uri"}:
        assert names[0][name] == names[1][name]


def test_only_the_proxy_can_be_reached_from_elsewhere_and_only_when_somebody_says_so():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or (name == "proxy" and ":-127.0.0.1:" in port)


def test_the_proxy_answers_under_any_name_until_somebody_names_it():
    """Caddy goes by the Host of a request where its site has a name; the service is documented by its address."""
    written = (DOCKER / "Caddyfile").read_text()
    (site,) = re.findall(r"^\{\$VIZECG_SITE:(.*)\} \{$", written, flags=re.MULTILINE)
    published = SERVICES["proxy"]["ports"][0].rpartition(":")[2]
    assert site == f":{published}"
    assert SERVICES["proxy"]["environment"]["VIZECG_SITE"] == f"${{VIZECG_SITE:-{site}}}"
    assert "import /tls/*.caddy" in written


def test_the_proxy_lets_through_what_the_service_takes_and_not_much_more():
    written = (DOCKER / "Caddyfile").read_text()
    limits = dict(re.findall(r"request_body @(\w+) \{\s+max_size (\d+)MB", written))
    paths = dict(re.findall(r"@(\w+) ((?:not )?path .*)", written))
    assert written.count("max_size ") == 2, "of two limits that are met the smaller one would count"
    assert paths["single"] == f"not {paths['several']}"
    assert paths["several"] == "path /v1/predict/batch /v2/*"
    of_service = {name: field.default for name, field in ServingSettings.model_fields.items()}
    for name, limit in (("single", of_service["max_body_bytes"]), ("several", of_service["max_batch_bytes"])):
        assert 1.01 <= int(limits[name]) * 1e6 / limit <= 1.05


def test_postgres_is_healthy_only_when_its_databases_are_made():
    """Its image runs databases.sql with a server that is on a socket alone."""
    assert "pg_isready -h 127.0.0.1 " in SERVICES["postgres"]["healthcheck"]["test"][1]


def test_no_password_stands_in_the_compose_file():
    environments = [service.get("environment", {}) for service in SERVICES.values()]
    for environment in environments:
        for variable in environment:
            if re.search(r"PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY|LEDGER_URL|CONNECTION_URL|STORE_URI", variable):
                assert variable.endswith("_FILE"), variable


def test_secrets_are_made_at_random_once_and_for_every_name(tmp_path):
    (tmp_path / "make-secrets").write_bytes((DOCKER / "make-secrets").read_bytes())
    run = ["sh", str(tmp_path / "make-secrets")]
    subprocess.run(run, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    assert len(set(made.values())) == len(made)
    assert json.loads(made["s3.json"])["identities"][0]["credentials"][0]["secretKey"] == made["s3_secret_key"]
    assert made["ledger_url"] == f"postgresql+pg8000://vizecg:{made['postgres_password']}@postgres:5432/ledger"
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    subprocess.run(run, check=True, capture_output=True)
    assert made == {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}


def test_prometheus_can_read_the_metrics_of_a_service_that_lets_in_nobody_else(tmp_path):
    (tmp_path / "make-secrets").write_bytes((DOCKER / "make-secrets").read_bytes())
    run = ["sh", str(tmp_path / "make-secrets")]
    subprocess.run(run, check=True, capture_output=True)
    known = keys.read(tmp_path / "keys" / "keys.json")
    key = known.holder_of((tmp_path / "secrets" / "metrics_key").read_text())
    assert [each.id for each in known.keys] == [key.id] == ["prometheus"]
    assert key.scopes == (keys.Scope.ADMIN,)
    assert key.state(datetime.now(UTC)) == "valid"
    added = keys.issue(tmp_path / "keys" / "keys.json", scopes=[keys.Scope.PREDICT], now=datetime.now(UTC))
    subprocess.run(run, check=True, capture_output=True)
    assert added.id in [each.id for each in keys.read(tmp_path / "keys" / "keys.json").keys], "who was let in stays"
    # Compose hands the service this file, and Prometheus this key.
    assert SERVICES["service"]["environment"]["VIZECG_API_KEYS_FILE"] == "/keys/keys.json"
    assert any(volume.startswith("./keys:/keys") for volume in SERVICES["service"]["volumes"])
    scraped, _ = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    assert scraped["job_name"] == "vizecg"
    assert scraped["authorization"]["credentials_file"] == "/run/secrets/metrics_key"
    assert "metrics_key" in SERVICES["prometheus"]["secrets"]


def test_a_secret_reaches_the_program_and_a_missing_one_is_named(tmp_path):
    (tmp_path / "word").write_text("a b'c")
    run = ["sh", str(DOCKER / "with-secrets"), "sh", "-c", 'printf %s "$THE_WORD${SSL_CERT:-}"']
    given = {"PATH": os.environ["PATH"], "SECRETS_DIR": str(tmp_path), "THE_WORD_FILE": str(tmp_path / "word")}
    given["SSL_CERT_FILE"] = str(DOCKER / "compose.yaml")  # no secret, and none of ours
    assert subprocess.run(run, env=given, capture_output=True, text=True, check=True).stdout == "a b'c"
    given["THE_WORD_FILE"] = str(tmp_path / "nowhere")
    done = subprocess.run(run, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"THE_WORD_FILE names {tmp_path}/nowhere, which is empty or not there" in done.stderr
