"""Where state lives and which servers to talk to: environment variables with prefix `VIZECG_`.

Numbers that change a result are parameters (params.yaml), never settings.
"""

import re
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from vizecg.errors import InputError

MODEL_NAME: Final = "vizecgnet"
EXPERIMENT_NAME: Final = "vizecg"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
# The largest file that is taken for a picture: by the service as a body, by the command line from a disk.
LARGEST_PICTURE_BYTES: Final = 20_000_000
# Where `dvc exp run --temp` and DVC's queue work, below the repository.
_DVC_COPIES: Final = Path(".dvc") / "tmp" / "exps"
# Up to the last @ of the authority, for a password may hold one that nobody has encoded.
_USER_INFO: Final = re.compile(r"://[^/\s]*@")


def shown(uri: str) -> str:
    """Mask user names and passwords in an address, or in a text with addresses: for everything people read."""
    return _USER_INFO.sub("://***@", uri)


def repository_root(start: Path | None = None) -> Path:
    """Find the nearest folder at or above `start` that holds params.yaml; without one, `start` itself."""
    here = (start or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), here)


def _state_dir() -> Path:
    """`.state` of the checkout, also for what DVC runs in a copy of it that it throws away afterwards."""
    root = repository_root()
    copied_from = (folder for folder in root.parents if root.is_relative_to(folder / _DVC_COPIES))
    return next(copied_from, root) / ".state"


class Settings(BaseSettings):
    """Read once, by whoever starts a program; handed on as an argument.

    Raises:
        InputError: a value is not allowed.
    """

    model_config = SettingsConfigDict(env_prefix="VIZECG_", frozen=True, extra="ignore")

    state_dir: Path = Field(default_factory=_state_dir)
    tracking_uri: str = Field(
        default_factory=lambda data: f"sqlite:///{data['state_dir'] / 'mlflow.db'}",
        description="MLflow: an http(s) address, or a database of this machine",
    )
    ledger_url: str = Field(
        default_factory=lambda data: f"sqlite:///{data['state_dir'] / 'ledger.db'}",
        description="SQLAlchemy address of the promotion ledger",
    )
    repository: str = Field(
        default_factory=lambda: str(repository_root()),
        description="git address or folder that deployed flows clone",
    )
    patience_s: float = Field(
        default=0.0,
        ge=0,
        description="how long a registration or promotion asks again when MLflow does not answer; deployed flows: 300",
    )
    stage_timeout_h: str = Field(
        default="", description="hours after which a stage of a retraining is stopped: `render=100 train=300`"
    )
    actor: str = Field(
        default="", description="who asks for a promotion or rollback, for the ledger; the account if not"
    )
    bundle: Path | None = Field(default=None, description="a bundle folder to use instead of the champion")
    shadow_dir: Path | None = Field(
        default=None, description="what champion and challenger said of the same pictures; none: in the state folder"
    )

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 (whatever a field takes)
        try:
            super().__init__(**given)
        except ValidationError as error:
            fault = error.errors()[0]
            name = "_".join(map(str, fault["loc"])).upper()
            raise InputError(f"VIZECG_{name} is {fault['input']!r}: {fault['msg'].lower()}") from None

    @property
    def shadow_folder(self) -> Path:
        """Written by services, read by whoever promotes: see `vizecg.shadow`."""
        return self.shadow_dir or self.state_dir / "shadow"

    @property
    def artifact_root(self) -> Path:
        """Where the embedded MLflow keeps files; a server of a team keeps them elsewhere."""
        return self.state_dir / "artifacts"

    @property
    def cache_dir(self) -> Path:
        """Verified copies of registered bundles, named by digest."""
        return self.state_dir / "cache"
