"""What an alias of a model means, asked of an MLflow server in plain HTTP.

MLflow's own client takes 2 s of CPU to be imported, which a service that has its files already would wait for. This
knows the ordinary way in alone: no credentials, a name and a password, or a token. Where anything else is set, or
anything but a version is answered, there is no answer here, and MLflow's client is to ask: it knows every way in, and
what it says went wrong is what counts.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

_PATH: Final = "/api/2.0/mlflow/registered-models/alias"
_TIMEOUT_S: Final = 5.0  # MLflow's client, which asks next, has more patience
_MOST_BYTES: Final = 1_000_000
_OTHER_WAYS_IN: Final = (
    *("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_INSECURE_TLS"),
    *("MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
    *("MLFLOW_ENABLE_WORKSPACES", "MLFLOW_WORKSPACE"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasedVersion:
    """A version as the server tells of it; names as those of MLflow's `ModelVersion`."""

    name: str
    version: str
    source: str
    run_id: str
    tags: dict[str, str]


def version_by_alias(tracking_uri: str, *, name: str, alias: str) -> AliasedVersion | None:
    """Ask once; None where MLflow's client is to ask.

    Args:
        tracking_uri: address of the server, or of what else MLflow keeps its models in.
        name: of the registered model.
        alias: of one of its versions.
    """
    address = urlsplit(tracking_uri)
    if address.scheme not in {"http", "https"} or "@" in address.netloc or any(map(os.environ.get, _OTHER_WAYS_IN)):
        return None
    request = Request(  # noqa: S310 (http or https)
        f"{tracking_uri.rstrip('/')}{_PATH}?{urlencode({'name': name, 'alias': alias})}"
    )
    for header, value in _credentials().items():
        request.add_unredirected_header(header, value)
    try:
        with build_opener(_StayHere).open(request, timeout=_TIMEOUT_S) as reply:
            return _read(json.loads(reply.read(_MOST_BYTES)))
    except HTTPError as error:
        error.close()
        return None
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return None


class _StayHere(HTTPRedirectHandler):
    """Where another address is named, MLflow's client decides whether to go there."""

    def redirect_request(self, *_: object) -> None:
        return None


def _credentials() -> dict[str, str]:
    """As MLflow's client sends them: a name with its password goes before a token."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{what}", "") for what in ("USERNAME", "PASSWORD"))
    if user and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _read(reply: Mapping[str, Any]) -> AliasedVersion:
    found = reply["model_version"]
    return AliasedVersion(
        name=str(found["name"]),
        version=str(found["version"]),
        source=str(found.get("source", "")),
        run_id=str(found.get("run_id", "")),
        tags={str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags", ())},
    )
