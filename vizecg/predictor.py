"""A bundle and the bytes of a picture make an answer; evaluation and service both ask here."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime  # type: ignore[import-untyped] # its wheel has no stubs
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors  # type: ignore[import-untyped]

from vizecg import bundle, intake
from vizecg.answer import SIMULATED_NOTE, Answer, Decision, Finding, Label, ModelIdentity, Quality
from vizecg.errors import InputError
from vizecg.intake import CanonicalSpec, Intake, Picture
from vizecg.operating_point import OperatingPoint

# A page is 0.3 MB as float32: larger batches gain nothing on a CPU and only cost memory.
_PAGES_AT_ONCE = 32
# onnxruntime's exceptions have no parent of their own.
_ONNX_ERRORS: Final = (
    onnx_errors.EPFail,
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NoModel,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


class BrokenModel(InputError):
    """A model that is no VizECGNet, or whose outputs are no numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What the network says about n pages."""

    logits: NDArray[np.float32]
    """(n, classes), before sigmoid."""
    evidence: NDArray[np.float32]
    """(n, classes, h, w), where on the page each class was seen."""


class ImageModel:
    """An ONNX file with input `image` (n, 1, H, W) and outputs `logits` and `evidence`.

    It is read into memory at once: the file may go away afterwards, and cannot
    point at weights elsewhere.

    Raises:
        BrokenModel: not an ONNX model, or of other inputs, outputs or size.
    """

    def __init__(self, path: Path, spec: CanonicalSpec, *, threads: int = 1) -> None:
        self.spec = spec
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except FileNotFoundError:
            raise BrokenModel(f"{path} is not there; produce its folder again") from None
        except _ONNX_ERRORS as error:
            raise BrokenModel(
                f"{path} is not an ONNX model ({type(error).__name__}); produce its folder again"
            ) from None
        self.labels: int
        """Columns of the logits."""
        self._check_interface(path)

    def run(self, canonical: NDArray[np.uint8]) -> Outputs:
        """Ask the network.

        Args:
            canonical: (n, H, W) as the intake makes them, ink dark.

        Raises:
            BrokenModel: an output is NaN or infinite.
        """
        expected = (self.spec.height_px, self.spec.width_px)
        if canonical.ndim != 3 or canonical.shape[1:] != expected:
            raise ValueError(f"expected pages (n, {expected[0]}, {expected[1]}), got {canonical.shape}")
        parts = [
            self._run(canonical[first : first + _PAGES_AT_ONCE]) for first in range(0, len(canonical), _PAGES_AT_ONCE)
        ]
        return Outputs(
            logits=np.concatenate([part.logits for part in parts]),
            evidence=np.concatenate([part.evidence for part in parts]),
        )

    def logits(self, canonical: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, H, W) pages -> (n, classes); raises as `run` does."""
        return self.run(canonical).logits

    def _run(self, canonical: NDArray[np.uint8]) -> Outputs:
        image = np.concatenate([intake.to_tensor(page) for page in canonical])  # (n, 1, H, W)
        try:
            logits, evidence = self._session.run(["logits", "evidence"], {"image": image})
        except _ONNX_ERRORS as error:
            raise BrokenModel(f"the model cannot be run on {image.shape} ({type(error).__name__})") from None
        for name, output in (("logits", logits), ("evidence", evidence)):
            if not np.isfinite(output).all():
                raise BrokenModel(f"the model gave {name} that are not finite; it must not be served")
        return Outputs(logits=logits, evidence=evidence)

    def _check_interface(self, path: Path) -> None:
        inputs = {entry.name: list(entry.shape) for entry in self._session.get_inputs()}
        outputs = {entry.name: list(entry.shape) for entry in self._session.get_outputs()}
        size = [1, self.spec.height_px, self.spec.width_px]
        fits = (
            list(inputs) == ["image"]
            and inputs["image"][1:] == size
            and {"logits", "evidence"} <= outputs.keys()
            and len(outputs["logits"]) == 2
            and isinstance(outputs["logits"][1], int)
        )
        if not fits:
            raise BrokenModel(
                f"{path} takes {inputs} and gives {outputs}, expected image (n, {size[0]}, {size[1]}, {size[2]}), "
                "logits (n, classes) and evidence (n, classes, h, w); produce its folder again"
            )
        self.labels = int(outputs["logits"][1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """One picture, its answer, and where on the page the answer was seen."""

    answer: Answer
    picture: Picture
    taken: Intake
    evidence: NDArray[np.float32] | None
    """(classes, h, w) in the order of the answer's labels; None of a picture that was rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A model, how its outputs are read, and its name.

    Attributes:
        model: the network.
        operating_point: from logits to labels.
        task: what the classes are the classes of.
        names: of the classes in plain words, in the operating point's order.
        identity: of the bundle it came from.
    """

    model: ImageModel
    operating_point: OperatingPoint
    task: str
    names: tuple[str, ...]
    identity: ModelIdentity

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> "Predictor":
        """Read a bundle, every file of it checked against its manifest.

        Raises:
            InputError: the bundle is damaged, of another schema, or its parts do not fit together.
        """
        digest, contract = bundle.read(folder)
        model = ImageModel(folder / bundle.ONNX_FILE, contract.spec, threads=threads)
        if model.labels != len(contract.classes):
            raise BrokenModel(
                f"{folder / bundle.ONNX_FILE} has {model.labels} labels, its contract {len(contract.classes)}; "
                "register the model again"
            )
        return cls(
            model=model,
            operating_point=contract.operating_point,
            task=contract.task,
            names=tuple(entry.name for entry in contract.classes),
            identity=ModelIdentity(
                name=contract.model_name,
                data_digest=contract.inputs.records,
                bundle_digest=digest,
                simulated=contract.simulated,
            ),
        )

    def known_as(
        self, *, version: str | None, alias: str | None, run_id: str | None, git_sha: str | None = None
    ) -> "Predictor":
        """The same model under its name in a registry."""
        names = {"version": version, "alias": alias, "run_id": run_id, "git_sha": git_sha}
        return replace(self, identity=self.identity.model_copy(update=names))

    def predict(self, data: bytes, *, request_id: str | None = None) -> Answer:
        """Answer for one picture.

        Args:
            data: bytes of a PNG, JPEG, TIFF or PDF file; of several pages the first is read.
            request_id: names the answer; without one it gets its own.

        Raises:
            UnreadableImage, UnsupportedImage, ImageTooLarge: the bytes are no picture that we read.
            BrokenModel: the model gave no numbers.
        """
        return self.read(data, request_id=request_id).answer

    def read(
        self,
        data: bytes,
        *,
        request_id: str | None = None,
        unpack: Callable[[bytes], Picture] = intake.open_upload,
    ) -> Reading:
        """Answer for one picture and keep what the answer is from; as `predict`.

        Args:
            data: bytes of the file.
            request_id: names the answer.
            unpack: from bytes to pixels; what it raises goes on.
        """
        clock = _Clock()
        with clock.phase("decode"):
            picture = unpack(data)
        with clock.phase("intake"):
            taken = intake.normalise(picture, spec=self.model.spec)
        decision, labels, evidence = self._decide(taken, clock)
        answer = Answer(
            request_id=request_id or uuid.uuid4().hex,
            model=self.identity,
            decision=decision,
            labels=labels,
            quality=_quality(taken),
            timing_ms=clock.timing_ms(),
            notes=(SIMULATED_NOTE,) if self.identity.simulated else (),
        )
        return Reading(answer=answer, picture=picture, taken=taken, evidence=evidence)

    def _decide(self, taken: Intake, clock: "_Clock") -> tuple[Decision, tuple[Label, ...], NDArray[np.float32] | None]:
        if not taken.is_ecg or any(finding.severity == "reject" for finding in taken.findings):
            return "reject", (), None
        with clock.phase("inference"):
            outputs = self.model.run(taken.canonical[np.newaxis])
            probabilities = self.operating_point.probabilities(outputs.logits)[0]
        undecided = bool(self.operating_point.abstains(probabilities))
        return "abstain" if undecided else "ok", self._labels(probabilities), outputs.evidence[0]

    def _labels(self, probabilities: NDArray[np.floating[Any]]) -> tuple[Label, ...]:
        point = self.operating_point
        positives = point.positives(probabilities)
        columns = zip(point.classes, self.names, probabilities, point.thresholds, positives, strict=True)
        return tuple(
            Label(
                code=code,
                name=name,
                probability=float(probability),
                threshold=threshold,
                positive=bool(positive),
            )
            for code, name, probability, threshold, positive in columns
        )


class _Clock:
    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._phases[name] = time.perf_counter() - started

    def timing_ms(self) -> dict[str, float]:
        """Phases in the order they ran, then `total`."""
        seconds = {**self._phases, "total": time.perf_counter() - self._started}
        return {name: round(value * 1000, 3) for name, value in seconds.items()}


def _quality(taken: Intake) -> Quality:
    return Quality(
        is_ecg=taken.is_ecg,
        findings=tuple(
            Finding(code=finding.code, severity=finding.severity, message=finding.message) for finding in taken.findings
        ),
        px_per_mm=round(taken.px_per_mm, 4),
        scale_assumed=taken.scale_assumed,
        rotation_deg=round(taken.rotation_deg, 3),
    )
