"""VizECGNet: trained on image and signal together, served from the image alone.

Our reconstruction of Nam, Park, Kim and Lee, "VizECGNet" (arXiv 2408.02888), whose
full text was not at hand: what the abstract establishes is the two streams, SMAM,
CMAM, and distillation; sizes, positions and the place of the heads are ours.

The served head reads the image tokens **before** CMAM. So no signal can reach it;
CMAM and the fused head act on it only through shared gradients and distillation.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from vizecg.labels import LEADS
from vizecg.models.attention import CrossModalityAttention, SelfModalityAttention
from vizecg.models.image_stream import ImageStream, published_resnet_name
from vizecg.models.network import Logits, PageNetwork
from vizecg.models.signal_stream import SignalStream
from vizecg.recipe import ModelConfig


class TokenHead(nn.Module):
    """Scores every token for every label; the logit is the mean of its tokens' scores."""

    def __init__(self, dim: int, *, labels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        # One mask for all tokens of a page: drawn for each token, it would average out in the mean.
        self.dropout = nn.Dropout1d(dropout)
        self.score = nn.Linear(dim, labels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, tokens, dim) -> (B, tokens, labels)."""
        kept = self.dropout(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        scores: Tensor = self.score(kept)
        return scores


class PooledHead(nn.Module):
    """Reads mean and maximum of one or more sets of tokens; for the heads that need no evidence map."""

    def __init__(self, dim: int, *, streams: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(2 * dim * streams, labels)

    def forward(self, *streams: Tensor) -> Tensor:
        """Each (B, tokens, dim), as many as `streams` -> (B, labels)."""
        pooled = torch.cat([part for tokens in streams for part in (tokens.mean(1), tokens.amax(1))], dim=1)
        logits: Tensor = self.score(self.dropout(pooled))
        return logits


class SignalSide(nn.Module):
    """All that training has and serving has not: signal stream, its SMAM, CMAM, and the two heads after them."""

    def __init__(self, config: ModelConfig, *, labels: int) -> None:
        super().__init__()
        self.stream = SignalStream(
            leads=len(LEADS), width=config.signal_width, blocks=config.signal_blocks, dim=config.dim
        )
        self.smam = _self_attention(config)
        self.image_on_signal = _cross_attention(config) if config.cmam else None
        self.signal_on_image = _cross_attention(config) if config.cmam else None
        self.head = PooledHead(config.dim, streams=1, labels=labels, dropout=config.dropout)
        self.fused_head = PooledHead(config.dim, streams=2, labels=labels, dropout=config.dropout)

    def forward(self, signal_mv: Tensor, image_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the signal alone, and of both, and the signal tokens; without CMAM the fused head reads both."""
        signal_tokens = self.smam(self.stream(signal_mv))
        image_seeing, signal_seeing = image_tokens, signal_tokens
        if self.image_on_signal is not None and self.signal_on_image is not None:
            image_seeing = self.image_on_signal(image_tokens, signal_tokens)
            signal_seeing = self.signal_on_image(signal_tokens, image_tokens)
        return self.head(signal_tokens), self.fused_head(image_seeing, signal_seeing), signal_tokens


class VizECGNet(PageNetwork):
    """The network; `predict_image` and `explain_image` are all that serving needs."""

    scores: ClassVar = ("image_head.score", "signal_side.head.score", "signal_side.fused_head.score")
    published: ClassVar = ("image_stream.stem.", "image_stream.stages.")

    def __init__(self, config: ModelConfig, *, labels: int) -> None:
        super().__init__(config)
        self.image_stream = ImageStream(
            width=config.image_width,
            blocks=config.image_blocks,
            dim=config.dim,
            body=config.image_stream,
            block=config.image_block,
        )
        self.image_smam = _self_attention(config)
        self.image_head = TokenHead(config.dim, labels=labels, dropout=config.dropout)
        self.signal_side = SignalSide(config, labels=labels) if config.signal else None

    def forward(self, image: Tensor, signal_mv: Tensor, has_signal: Tensor | None = None) -> Logits:
        """See `Network.forward`."""
        tokens, _ = self._image_tokens(image)
        served = self.image_head(tokens).mean(1)
        # Records on paper never enter the signal side: zeros would move its norms' statistics.
        if self.signal_side is None or not len(signal_mv):
            return Logits(scored=served)
        signal, fused, signal_tokens = self.signal_side(signal_mv, tokens if has_signal is None else tokens[has_signal])
        return Logits(
            scored=served,
            signal=signal,
            fused=fused,
            image_features=tokens.mean(1),
            signal_features=signal_tokens.mean(1),
        )

    def explain_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See `PageNetwork.explain_image`; the evidence is the score of each token."""
        tokens, (height, width) = self._image_tokens(image)
        scores = self.image_head(tokens).transpose(1, 2)  # (B, labels, h * w)
        return scores.mean(2), scores.unflatten(2, (height, width))

    def name_of_published(self, name: str) -> str | None:
        """See `Network.name_of_published`: they are the image stream's, but for the classifier."""
        if name.startswith(("fc.", "head.")):
            return None
        ours = name
        if self.config.image_stream == "resnet":
            ours = published_resnet_name(name, blocks=self.config.image_blocks)
        return f"image_stream.{ours}"

    def _image_tokens(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        tokens, grid = self.image_stream(image)
        return self.image_smam(tokens), grid


def _self_attention(config: ModelConfig) -> nn.Module:
    if not config.smam:
        return nn.Identity()
    return SelfModalityAttention(config.dim, heads=config.heads)


def _cross_attention(config: ModelConfig) -> CrossModalityAttention:
    return CrossModalityAttention(config.dim, heads=config.heads)
