"""First weights from a file: own ones, or those published for the same layers.

Only safetensors is read, which cannot run code, and only the content that was named by
its hash. Everything must fit by name and shape, but for the layers that answer label by
label: of another task, they stay as they were drawn.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from vizecg.errors import InputError
from vizecg.models.network import Network
from vizecg.recipe import InitialWeights

logger = logging.getLogger(__name__)

_COLOURS: Final = 3
_SHOWN: Final = 3
_COUNTERS: Final = "num_batches_tracked"  # how often a norm has counted; some files leave it out


def load_initial(network: Network, init: InitialWeights) -> None:
    """Fill a network with the weights of a file.

    The file is one that `train` wrote for the same architecture and sizes, or has the names
    of torchvision and timm (ResNet) or timm (ConvNeXt): those fill a rival, or the image
    stream of VizECGNet. A first layer of three colours is summed to one: a gray page shown
    to all three gives the same.

    Raises:
        InputError: the file is not there, not the one named by its hash, no safetensors, or
            does not fit; the sentence names the layers.
    """
    given = _read(init)
    own = network.state_dict()
    named, wanted = _in_our_names(given, network=network)
    fitting = {name: _one_colour(value, like=own.get(name)) for name, value in named.items()}
    drawn = {name for name in own if name.startswith(network.scores)}
    kept = {name for name in drawn if name not in fitting or fitting[name].shape != own[name].shape}
    fitting = {name: value for name, value in fitting.items() if name not in kept}
    _refuse_unfitting(fitting, own=own, wanted=wanted - kept, init=init, network=network)
    if kept:
        logger.info("%s: %s stay as they were drawn", init.path, ", ".join(sorted(kept)))
    with torch.no_grad():
        for name, value in fitting.items():
            own[name].copy_(value)


def _read(init: InitialWeights) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = Path(init.path).read_bytes()
    except OSError:
        raise InputError(f"train.model.init.path: {init.path} cannot be read; name a safetensors file") from None
    found = hashlib.sha256(content).hexdigest()
    if found != init.sha256:
        raise InputError(
            f"{init.path} has the SHA-256 {found}, train.model.init.sha256 is {init.sha256}: it is another file or "
            "damaged"
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise InputError(
            f"{init.path} is not a safetensors file ({error}); nothing else is read, as a pickle can run code"
        ) from None


def _in_our_names(given: Mapping[str, Tensor], *, network: Network) -> tuple[dict[str, Tensor], set[str]]:
    """Weights by our names, and the names that such a file has to have."""
    own = set(network.state_dict())
    parts = {name.partition(".")[0] for name in own}
    if any(name.partition(".")[0] in parts for name in given):
        return dict(given), own
    named = {ours: value for name, value in given.items() if (ours := network.name_of_published(name)) is not None}
    return named, {name for name in own if name.startswith(network.published)}


def _one_colour(value: Tensor, *, like: Tensor | None) -> Tensor:
    if like is None or like.ndim != 4 or value.ndim != 4:
        return value
    return value.sum(1, keepdim=True) if (value.shape[1], like.shape[1]) == (_COLOURS, 1) else value


def _refuse_unfitting(
    fitting: Mapping[str, Tensor],
    *,
    own: Mapping[str, Tensor],
    wanted: set[str],
    init: InitialWeights,
    network: Network,
) -> None:
    missing = [name for name in sorted(wanted - fitting.keys()) if not name.endswith(_COUNTERS)]
    unknown = sorted(fitting.keys() - own.keys())
    unlike = [
        f"{name} {tuple(value.shape)} where it is {tuple(own[name].shape)}"
        for name, value in sorted(fitting.items())
        if name in own and own[name].shape != value.shape
    ]
    faults = [
        f"{what} {', '.join(names[:_SHOWN])}{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}"
        for what, names in (("lacks", missing), ("has besides", unknown), ("has", unlike))
        if names
    ]
    if faults:
        raise InputError(
            f"{init.path} does not fit {network.config.architecture} as train.model describes it: it "
            f"{'; it '.join(faults)}; give weights of the same layers and sizes, or leave train.model.init null"
        )
