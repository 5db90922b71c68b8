"""A typed client of the service."""

from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import ValidationError

from vizecg.answer import Answer
from vizecg.errors import InputError


class ServiceUnavailable(InputError):
    """Nobody answers at the address, or nobody who is a VizECG service."""


class RequestRefused(InputError):
    """The service answered with a problem; `problem` is its document, `status` its HTTP status."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(str(problem.get("detail", f"the service answered with status {status}")))


class Client:
    """Asks one service.

    ```python
    with Client("http://127.0.0.1:8000") as client:
        answer = client.predict(Path("ecg.png").read_bytes())
    ```
    """

    def __init__(self, base_url: str, *, timeout_s: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        # A proxy of the environment is for the world outside, and must not see a patient's picture.
        self._http = httpx.Client(base_url=self.base_url, timeout=timeout_s, trust_env=False)

    def predict(self, data: bytes, *, request_id: str | None = None) -> Answer:
        """Ask about the bytes of one picture.

        Raises:
            RequestRefused: the service cannot use them, or has no model yet.
            ServiceUnavailable: nobody answers.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if request_id is not None:
            headers["X-Request-ID"] = request_id
        content = self._ask("POST", "/v1/predict", content=data, headers=headers)
        try:
            return Answer.model_validate(content)
        except ValidationError:
            raise ServiceUnavailable(f"{self.base_url} answers, but not as this version of VizECG does") from None

    def ready(self) -> bool:
        """Whether a model answers."""
        try:
            return bool(self._ask("GET", "/ready")["ready"])
        except (RequestRefused, ServiceUnavailable, KeyError):
            return False

    def model(self) -> dict[str, Any]:
        """What the model is: identity, contract, model card; raises as `predict` does."""
        return self._ask("GET", "/v1/model")

    def close(self) -> None:
        """Give its connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, *, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceUnavailable(f"no service answers at {self.base_url} ({type(error).__name__})") from None
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ServiceUnavailable(f"{self.base_url} answers, but not as a VizECG service does")
        if response.is_error:
            raise RequestRefused(response.status_code, document)
        return document
