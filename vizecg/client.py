"""A typed client of the service."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from vizecg.answer import Answer
from vizecg.errors import InputError
from vizecg.settings import shown


class ServiceUnavailable(InputError):
    """Nobody answers at the address, or nobody who is a VizECG service."""


class RequestRefused(InputError):
    """The service answered with a problem; `problem` is its document, `status` its HTTP status."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(str(problem.get("detail", f"the service answered with status {status}")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An answer and where it was seen."""

    answer: Answer
    page_jpeg: bytes
    """The part of the page that the model sees."""
    films: dict[str, bytes]
    """Code of a label -> PNG with opacity, to be laid over the page and multiplied with it."""


class Client:
    """Asks one service, with an API key where it wants one.

    ```python
    with Client("http://127.0.0.1:8000") as client:
        answer = client.predict(Path("ecg.png").read_bytes())
    ```
    """

    def __init__(self, base_url: str, *, timeout_s: float = 30.0, api_key: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._shown = shown(self.base_url)
        # A proxy of the environment is for the world outside, and must not see a patient's picture.
        headers = None if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(base_url=self.base_url, timeout=timeout_s, trust_env=False, headers=headers)

    def predict(self, data: bytes, *, request_id: str | None = None) -> Answer:
        """Ask about the bytes of one picture.

        Raises:
            RequestRefused: the service cannot use them, or has no model yet.
            ServiceUnavailable: nobody answers.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if request_id is not None:
            headers["X-Request-ID"] = request_id
        return self._answer(self._ask("POST", "/v1/predict", content=data, headers=headers))

    def predict_batch(self, pictures: Sequence[bytes]) -> list[Answer | RequestRefused]:
        """Ask about several pictures at once.

        Returns:
            For each, in their order, its answer or why it was refused.

        Raises:
            RequestRefused: the service cannot use the batch as a whole, or has no model yet.
            ServiceUnavailable: nobody answers.
        """
        files = [("file", (str(at), picture)) for at, picture in enumerate(pictures)]
        content = self._document(self._response("POST", "/v1/predict/batch", files=files))
        return [self._result(result) for result in self._parts(content, "results")]

    def explain(self, data: bytes, *, labels: Sequence[str] = ()) -> Explained:
        """Ask about one picture, and where on it the answer was seen; raises as `predict` does.

        Args:
            data: the picture.
            labels: codes of those to be shown; all without it.
        """
        content = self._document(
            self._response("POST", _explain(labels), content=data, headers={"Accept": "application/json"})
        )
        try:
            return Explained(
                answer=self._answer(content["answer"]),
                page_jpeg=base64.b64decode(content["page"]["data"]),
                films={film["code"]: base64.b64decode(film["data"]) for film in content["films"]},
            )
        except (KeyError, TypeError, ValueError):
            raise self._stranger() from None

    def evidence_png(self, data: bytes, *, labels: Sequence[str] = ()) -> bytes:
        """Ask for the same as one PNG for people; raises as `predict` does."""
        return self._response("POST", _explain(labels), content=data, headers={"Accept": "image/png"}).content

    def confirm(self, request_id: str, *, labels: Sequence[str]) -> dict[str, Any]:
        """Say which classes, by code, turned out to hold for an answer; raises as `predict` does.

        Returns:
            The line that was written.
        """
        told = {"request_id": request_id, "labels": list(labels)}
        return self._document(self._response("POST", "/v1/feedback", json=told))

    def diagnostic_report(self, data: bytes) -> dict[str, Any]:
        """Ask about one picture for a FHIR R4 DiagnosticReport; a refusal's `problem` is an OperationOutcome."""
        headers = {"Accept": "application/fhir+json"}
        return self._document(self._response("POST", "/v1/predict", content=data, headers=headers))

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
        return self._document(self._response(method, path, content=content, headers=headers))

    def _response(self, method: str, path: str, **sent: Any) -> httpx.Response:  # noqa: ANN401 (httpx checks them)
        try:
            response = self._http.request(method, path, **sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceUnavailable(f"no service answers at {self._shown} ({type(error).__name__})") from None
        if response.is_error:
            raise RequestRefused(response.status_code, self._document(response))
        return response

    def _document(self, response: httpx.Response) -> dict[str, Any]:
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._stranger()
        return document

    def _answer(self, content: object) -> Answer:
        try:
            # A newer service may say more than this version knows.
            return Answer.model_validate(content, extra="ignore")
        except ValidationError:
            raise ServiceUnavailable(f"{self._shown} answers, but not as this version of VizECG does") from None

    def _result(self, result: object) -> Answer | RequestRefused:
        content = result if isinstance(result, dict) else {}
        if isinstance(problem := content.get("problem"), dict):
            return RequestRefused(int(problem.get("status", 0)), problem)
        return self._answer(content.get("answer"))

    def _parts(self, content: dict[str, Any], name: str) -> list[Any]:
        parts = content.get(name)
        if not isinstance(parts, list):
            raise self._stranger()
        return parts

    def _stranger(self) -> ServiceUnavailable:
        return ServiceUnavailable(f"{self._shown} answers, but not as a VizECG service does")


def _explain(labels: Sequence[str]) -> str:
    return f"/v1/explain?labels={quote(','.join(labels))}" if labels else "/v1/explain"
