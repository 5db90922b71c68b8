"""Where a stack keeps its ports, secrets and state, and what each of its programs is told by its environment."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vizecg import keys
from vizecg.environment import house_environment
from vizecg.errors import InputError
from vizecg.publish import to_json, write_atomically
from vizecg.servers import LOOPBACK, MLFLOW_PORT, PREFECT_PORT, SERVICE_PORT, free_port, reserved
from vizecg.settings import Settings

PREFERRED_PORTS: Final[Mapping[str, int]] = {
    "postgres": 5432,
    "s3": 8333,
    "mlflow": MLFLOW_PORT,
    "prefect": PREFECT_PORT,
    "service": SERVICE_PORT,
}
USER: Final = "vizecg"
BUCKET: Final = "vizecg"
DATABASES: Final = ("mlflow", "ledger", "prefect")
SECRET_NAMES: Final = (
    "postgres_password",
    "s3_access_key",
    "s3_secret_key",
    "mlflow_password",
    "mlflow_secret_key",
    "prefect_password",
)
API_KEY: Final = "api_key"
_SECRET_BYTES: Final = 24
_STACK_FILE: Final = "stack.json"
_STAGE_TIMEOUT: Final = "VIZECG_STAGE_TIMEOUT_H"
# What the shell has set for another platform must not reach this one.
_OF_ANOTHER: Final = ("AWS_", "MLFLOW_", "PREFECT_", "VIZECG_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One stack: its folder, what its workers clone, its ports, its secrets."""

    folder: Path
    checkout: Path
    repository: str
    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)

    def url(self, part: str) -> str:
        """Where a part with a port answers."""
        return f"http://{LOOPBACK}:{self.ports[part]}"

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.folder / "logs"

    def log(self, part: str) -> Path:
        """What a part prints."""
        return self.logs / f"{part}.log"

    def secret_file(self, name: str) -> Path:
        """Where a secret lies; nobody else may read it."""
        return self.folder / "secrets" / name

    def database_url(self, database: str, *, driver: str = "pg8000") -> str:
        """SQLAlchemy's address of a database, with the password."""
        password = self.secrets["postgres_password"]
        return f"postgresql+{driver}://{USER}:{password}@{LOOPBACK}:{self.ports['postgres']}/{database}"


def folder_of(settings: Settings) -> Path:
    """Where the stack of this checkout lies."""
    return settings.state_dir / "stack"


def new_layout(folder: Path, *, checkout: Path, repository: str, ports: Mapping[str, int]) -> Layout:
    """Choose ports, make the secrets that are not there yet, and write down what other commands need.

    Args:
        folder: of the stack; what it held before is kept, and needs the secrets it was made with.
        checkout: whose prefect.yaml is deployed.
        repository: what deployed flows clone.
        ports: of parts that shall listen on these; the others take their usual one, or the next that is free.

    Raises:
        InputError: a port that was asked for is taken, or none is free.
    """
    chosen = {name: _port(name, asked=ports.get(name)) for name in PREFERRED_PORTS}
    for name in ("logs", "secrets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o700)
    made = {name: _secret(folder / "secrets" / name) for name in SECRET_NAMES}
    _ensure_api_key(folder / "secrets")
    known = {"checkout": str(checkout), "repository": repository, "ports": chosen}
    write_atomically(folder / _STACK_FILE, to_json(known))
    return Layout(folder=folder, checkout=checkout, repository=repository, ports=chosen, secrets=made)


def read_layout(folder: Path) -> Layout:
    """Read what the last start of a stack wrote down.

    Raises:
        InputError: none was started here.
    """
    try:
        known = json.loads((folder / _STACK_FILE).read_text(encoding="utf-8"))
        made = {name: (folder / "secrets" / name).read_text(encoding="utf-8") for name in SECRET_NAMES}
    except OSError:
        raise InputError(f"{folder} holds no stack; `vizecg stack up` makes one") from None
    return Layout(
        folder=folder,
        checkout=Path(known["checkout"]),
        repository=known["repository"],
        ports=known["ports"],
        secrets=made,
    )


def client_environment(layout: Layout) -> dict[str, str]:
    """What a worker, or a person at this machine, needs to work with the stack."""
    settings = Settings(
        state_dir=layout.folder / "worker",
        tracking_uri=layout.url("mlflow"),
        ledger_url=layout.database_url("ledger"),
        repository=layout.repository,
    )
    return {
        **_shell(),
        **house_environment(settings),
        **_trail(layout),
        _STAGE_TIMEOUT: os.environ.get(_STAGE_TIMEOUT, ""),  # of this machine, whichever platform it works for
        **_store_keys(layout),
        "AWS_ENDPOINT_URL_S3": layout.url("s3"),
        "MLFLOW_TRACKING_URI": layout.url("mlflow"),  # for MLflow's own commands
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": layout.secrets["mlflow_password"],
        "PREFECT_API_URL": f"{layout.url('prefect')}/api",
        "PREFECT_API_AUTH_STRING": prefect_login(layout),
    }


def service_environment(layout: Layout) -> dict[str, str]:
    """What the service needs: the registry and who may ask; no database, no store, no Prefect."""
    settings = Settings(state_dir=layout.folder / "service", tracking_uri=layout.url("mlflow"), ledger_url="")
    return {
        **_shell(),
        **_without_ours(house_environment(settings)),
        "VIZECG_STATE_DIR": str(settings.state_dir),
        "VIZECG_TRACKING_URI": settings.tracking_uri,
        **_trail(layout),
        "VIZECG_API_KEYS_FILE": str(layout.secret_file("keys.json")),
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": layout.secrets["mlflow_password"],
    }


def mlflow_environment(layout: Layout) -> dict[str, str]:
    """What MLflow's server needs: its database, the store, and who may ask."""
    return {
        **server_environment(layout, "mlflow"),
        **_store_keys(layout),
        "MLFLOW_S3_ENDPOINT_URL": layout.url("s3"),
        "MLFLOW_BACKEND_STORE_URI": layout.database_url("mlflow"),
        "MLFLOW_AUTH_CONFIG_PATH": str(layout.folder / "mlflow" / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": layout.secrets["mlflow_password"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": layout.secrets["mlflow_secret_key"],
    }


def prefect_environment(layout: Layout) -> dict[str, str]:
    """What Prefect's server needs: its database and who may ask."""
    return {
        **server_environment(layout, "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": layout.database_url("prefect", driver="asyncpg"),
        "PREFECT_SERVER_API_AUTH_STRING": prefect_login(layout),
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def server_environment(layout: Layout, part: str) -> dict[str, str]:
    """What a program that knows nothing of us needs: a home in the stack, and to report nothing."""
    return {**_shell(), **_without_ours(house_environment(Settings(state_dir=layout.folder / part)))}


def store_environment(layout: Layout) -> dict[str, str]:
    """What the S3 server needs: its one pair of keys, which a command line would show to everybody."""
    pair = f"{layout.secrets['s3_access_key']},{layout.secrets['s3_secret_key']}"
    # Quoted, for rclone reads the variable as a list with commas, of which this is one entry.
    return {**server_environment(layout, "s3"), "RCLONE_AUTH_KEY": f'"{pair}"'}


def prefect_login(layout: Layout) -> str:
    """User name and password, as Prefect's server and its clients take them."""
    return f"{USER}:{layout.secrets['prefect_password']}"


def _store_keys(layout: Layout) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": layout.secrets["s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": layout.secrets["s3_secret_key"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _trail(layout: Layout) -> dict[str, str]:
    """What the service writes, and monitor and gates read."""
    place = layout.folder / "service"
    return {f"VIZECG_{name.upper()}_DIR": str(place / name) for name in ("audit", "feedback", "shadow")}


def _shell() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_ANOTHER)}


def _without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("VIZECG_")}


def _port(name: str, *, asked: int | None) -> int:
    port = free_port(PREFERRED_PORTS[name] if asked is None else asked)
    if asked is not None and port != asked:
        raise InputError(f"--port {name}={asked}: that port is taken; name another, or none")
    while asked is None and not _can_be_held(port):  # one that another stack holds, or has just left
        port = free_port(port + 1)
    return port


def _can_be_held(port: int) -> bool:
    try:
        reserved(port).close()
    except InputError:
        return False
    return True


def _secret(path: Path) -> str:
    if not path.exists():
        _write_secret(path, secrets.token_hex(_SECRET_BYTES))
    return path.read_text(encoding="utf-8")


def _ensure_api_key(folder: Path) -> None:
    """One key that may do everything, to begin with; `vizecg keys new` adds others."""
    if (folder / API_KEY).exists():
        return
    (folder / "keys.json").unlink(missing_ok=True)  # of a start that was cut off in between
    issued = keys.issue(folder / "keys.json", scopes=list(keys.Scope), now=datetime.now(UTC), key_id="stack")
    (folder / "keys.json").chmod(0o600)
    _write_secret(folder / API_KEY, issued.secret)


def _write_secret(path: Path, content: str) -> None:
    """No moment at which others may read it, and never a part of it."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(content)
    part.rename(path)
