"""torch -> files: the image-only half as ONNX, as it is scored and served, and all weights as safetensors."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from vizecg.errors import InputError
from vizecg.models import Network, PageNetwork, empty_model, page_network
from vizecg.publish import write_atomically
from vizecg.recipe import ModelConfig

if TYPE_CHECKING:
    import onnx

OPSET: Final = 20
PRODUCER: Final = "vizecg"


class ImageOnly(nn.Module):
    """What is served: (B, 1, H, W) -> logits (B, labels) and evidence (B, labels, h, w)."""

    def __init__(self, model: PageNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `PageNetwork.explain_image`."""
        return self.model.explain_image(image)


def export_onnx(model: Network, path: Path, *, image_height_px: int, image_width_px: int) -> None:
    """Write what of `model` answers from the page alone.

    The graph has one input, `image`: float32 (batch, 1, H, W), ink 0..1, any batch;
    and two outputs, `logits` (batch, labels) and `evidence` (batch, labels, h, w).
    Equal weights are equal bytes.

    Raises:
        InputError: it needs the signal, so there is no such part.
        ValueError: the model is in training mode: its norms would be those of a batch.
    """
    reads_pages = page_network(model)
    if model.training:
        raise ValueError("only a model in evaluation mode can be exported; call model.eval() first")
    # Two pictures: torch takes an example batch of one for a constant.
    example = torch.zeros(2, 1, image_height_px, image_width_px)
    with _quiet():
        program = torch.onnx.export(
            ImageOnly(reads_pages).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits", "evidence"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1)}},
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    write_atomically(path, _without_provenance(program.model_proto).SerializeToString(deterministic=True))


def save_weights(model: Network, path: Path) -> None:
    """Write all weights, training-only parts included, as safetensors."""
    from safetensors.torch import save

    write_atomically(path, save({name: value.contiguous() for name, value in model.state_dict().items()}))


def load_model(path: Path, *, config: ModelConfig, labels: int) -> Network:
    """Build the network that `config` describes, of so many labels, and fill it with the weights of a safetensors file.

    Raises:
        InputError: the file is not there, damaged, or of a network of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    model = empty_model(config, labels=labels)
    try:
        model.load_state_dict(load(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{path} is not there; train first") from None
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file or is damaged ({error}); train again") from None
    except RuntimeError:
        raise InputError(f"the weights in {path} do not fit the model they are said to be of; train again") from None
    return model.eval()


def _without_provenance(graph: "onnx.ModelProto") -> "onnx.ModelProto":
    """Drop what torch notes beside the graph: stack traces with this machine's paths, and its own version."""
    graph.producer_name, graph.producer_version = PRODUCER, ""
    del graph.metadata_props[:]
    for part in (graph.graph, *graph.graph.node, *graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for weights in graph.graph.initializer:
        weights.doc_string = ""
        del weights.metadata_props[:]
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says about itself; nothing of it can be mended from here."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = registration.level
    # It warns of every torchvision operator it cannot register: torchvision is no dependency.
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 calls a function of its own that it has deprecated, each time it copies a program.
            warnings.filterwarnings("ignore", message=r".*LeafSpec.* is deprecated", category=FutureWarning)
            yield
    finally:
        registration.setLevel(before)
