"""VizECGNet: trained on image and signal together, served from the image alone.

Our reconstruction of Nam, Park, Kim and Lee, "VizECGNet" (arXiv 2408.02888), whose
full text was not at hand: what the abstract establishes is the two streams, SMAM,
CMAM, and distillation; sizes, positions and the place of the heads are ours.

The served head reads the image tokens **before** CMAM. So no signal can reach it;
CMAM and the fused head act on it only through shared gradients and distillation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vizecg.labels import LEADS
from vizecg.models.attention import CrossModalityAttention, SelfModalityAttention
from vizecg.models.image_stream import ImageStream
from vizecg.models.signal_stream import SignalStream
from vizecg.recipe import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Logits:
    """Before sigmoid, in the order of the task's classes.

    Attributes:
        image: (batch, labels).
        signal: (records of the batch that have a signal, labels); None where there is
            none, or the model has no signal stream.
        fused: as `signal`.
        image_features: (batch, dim), mean of the image tokens; None where there is no signal to compare it with.
        signal_features: (records that have a signal, dim), mean of the signal tokens.
    """

    image: Tensor
    signal: Tensor | None
    fused: Tensor | None
    image_features: Tensor | None = None
    signal_features: Tensor | None = None

    def by_head(self) -> dict[str, Tensor | None]:
        """Head -> its logits."""
        return {"image": self.image, "signal": self.signal, "fused": self.fused}

    def float(self) -> "Logits":
        """The same in float32."""
        rest = (self.signal, self.fused, self.image_features, self.signal_features)
        signal, fused, image_features, signal_features = (None if part is None else part.float() for part in rest)
        return Logits(
            image=self.image.float(),
            signal=signal,
            fused=fused,
            image_features=image_features,
            signal_features=signal_features,
        )


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


class VizECGNet(nn.Module):
    """The network; `predict_image` and `explain_image` are all that serving needs."""

    def __init__(self, config: ModelConfig, *, labels: int) -> None:
        super().__init__()
        self.config = config
        self.image_stream = ImageStream(width=config.image_width, blocks=config.image_blocks, dim=config.dim)
        self.image_smam = _self_attention(config)
        self.image_head = TokenHead(config.dim, labels=labels, dropout=config.dropout)
        self.signal_side = SignalSide(config, labels=labels) if config.signal else None

    def forward(self, image: Tensor, signal_mv: Tensor, has_signal: Tensor | None = None) -> Logits:
        """All heads.

        Args:
            image: (B, 1, H, W), ink positive in 0..1.
            signal_mv: (B', 12, T), leads in the order of `labels.LEADS`, of the B' records that have a signal.
            has_signal: (B,) which those are; without it, all.
        """
        tokens, _ = self._image_tokens(image)
        served = self.image_head(tokens).mean(1)
        # Records on paper never enter the signal side: zeros would move its norms' statistics.
        if self.signal_side is None or not len(signal_mv):
            return Logits(image=served, signal=None, fused=None)
        signal, fused, signal_tokens = self.signal_side(signal_mv, tokens if has_signal is None else tokens[has_signal])
        return Logits(
            image=served,
            signal=signal,
            fused=fused,
            image_features=tokens.mean(1),
            signal_features=signal_tokens.mean(1),
        )

    def predict_image(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) -> logits (B, labels) of the served head."""
        logits, _ = self.explain_image(image)
        return logits

    def explain_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and what each place of the page added to them.

        Returns:
            logits (B, labels), and evidence (B, labels, H / 32, W / 32): the score of
            each token, whose mean is the logit, exactly.
        """
        tokens, (height, width) = self._image_tokens(image)
        scores = self.image_head(tokens).transpose(1, 2)  # (B, labels, h * w)
        return scores.mean(2), scores.unflatten(2, (height, width))

    def _image_tokens(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        tokens, grid = self.image_stream(image)
        return self.image_smam(tokens), grid


def _self_attention(config: ModelConfig) -> nn.Module:
    if not config.smam:
        return nn.Identity()
    return SelfModalityAttention(config.dim, heads=config.heads)


def _cross_attention(config: ModelConfig) -> CrossModalityAttention:
    return CrossModalityAttention(config.dim, heads=config.heads)


def build_model(config: ModelConfig, *, labels: int, seed: int) -> VizECGNet:
    """A network for so many labels, its first weights a function of `seed`; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VizECGNet(config, labels=labels)
