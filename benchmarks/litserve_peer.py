"""LitServe with one worker and its own fast queue, JSON with the picture in base64: `-m … BUNDLE WORK PORT`."""

import base64
import sys
from pathlib import Path

import litserve

from benchmarks.serving_peers import PillowModel, Work


class Api(litserve.LitAPI):
    """Here and not within a function, for LitServe sends it to a process of its own."""

    def __init__(self, bundle: Path, work: Work) -> None:
        super().__init__()
        self._made_from = (bundle, work)

    def setup(self, device: str) -> None:
        del device
        bundle, work = self._made_from
        self._model = PillowModel(bundle, work)

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def predict(self, data: bytes) -> list[float]:
        return self._model(data)

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"probabilities": output}


if __name__ == "__main__":
    _, bundle_folder, asked_work, asked_port = sys.argv
    api = Api(Path(bundle_folder), asked_work)  # type: ignore[arg-type]
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True, timeout=False)
    server.run(
        host="127.0.0.1", port=int(asked_port), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
