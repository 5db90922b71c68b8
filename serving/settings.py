"""What the service needs to know: environment variables with prefix `VIZECG_`, beside those of every program."""

from typing import Final

from pydantic import Field, ValidationError

from vizecg.errors import InputError
from vizecg.settings import CHAMPION, LARGEST_PICTURE_BYTES, Settings

DEFAULT_PORT: Final = 8000
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class ServingSettings(Settings):
    """Read once, by whoever starts the service; handed on as an argument."""

    host: str = Field(default="127.0.0.1", description="address to listen on; loopback by default")
    port: int | None = Field(default=None, ge=0, le=65535, description="none: 8000, or the next free one")
    alias: str = Field(default=CHAMPION, description="which alias of the registered model is served")
    poll_s: float = Field(default=3.0, gt=0, description="how often the registry is asked what the alias means")
    retry_limit_s: float = Field(default=60.0, gt=0, description="longest pause between attempts at a broken version")
    max_body_bytes: int = Field(default=LARGEST_PICTURE_BYTES, gt=0)
    predictions_at_once: int = Field(default=2, ge=1, description="pictures worked on at the same time")
    threads: int = Field(default=1, ge=1, description="threads of one inference")
    drain_s: int = Field(default=10, ge=0, description="how long accepted requests may take after SIGTERM")


def read_settings(**given: object) -> ServingSettings:
    """Settings from the environment, but for what is given and not None.

    Raises:
        InputError: a value is not allowed.
    """
    try:
        return ServingSettings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        name = "_".join(map(str, fault["loc"])).upper()
        raise InputError(f"VIZECG_{name} is {fault['input']!r}: {fault['msg'].lower()}") from None
