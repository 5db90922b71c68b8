"""Attention within a modality (SMAM) and between the two (CMAM), and where tokens are.

Blocks are pre-norm: X + MHA(LN X), then X + FFN(LN X). The last layer of either
branch starts at zero, so an untrained block passes its input through: 800 records
are few, and a random mixture of tokens costs the first epochs (He et al. 2019,
"Bag of tricks", section 3.1, the same idea for residual branches).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

FEED_FORWARD_FACTOR = 2
LONGEST_PERIOD_TOKENS = 10_000.0  # Vaswani et al. 2017, section 3.5


def positions_1d(length: int, *, dim: int) -> Tensor:
    """Sine and cosine of each index, (length, dim); `dim` is even."""
    if dim % 2:
        raise ValueError(f"positions need an even dim, got {dim}")
    exponents = torch.arange(dim // 2, dtype=torch.float32) / (dim // 2)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * torch.exp(
        -math.log(LONGEST_PERIOD_TOKENS) * exponents
    )
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def positions_2d(height: int, width: int, *, dim: int) -> Tensor:
    """Row in the first half of the channels, column in the second: (height * width, dim), row by row."""
    if dim % 4:
        raise ValueError(f"two-dimensional positions need a dim divisible by 4, got {dim}")
    rows = positions_1d(height, dim=dim // 2)[:, None, :].expand(height, width, dim // 2)
    columns = positions_1d(width, dim=dim // 2)[None, :, :].expand(height, width, dim // 2)
    return torch.cat([rows, columns], dim=2).reshape(height * width, dim)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of `queries` on `context`."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not divisible by heads {heads}")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """(batch, tokens, dim) on (batch, other tokens, dim) -> (batch, tokens, dim)."""
        key, value = self.key_value(context).chunk(2, dim=-1)
        query, key, value = (
            self._split(part) for part in (self.query(queries), key, value)
        )  # (B, heads, T, dim/heads)
        # Spelled out: torch's fused kernel takes 5 times as long backwards on a CPU for a hundred tokens.
        affinity = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        attended = affinity.softmax(dim=-1) @ value
        mixed: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return mixed

    def _split(self, tokens: Tensor) -> Tensor:
        batch, length, dim = tokens.shape
        return tokens.reshape(batch, length, self.heads, dim // self.heads).transpose(1, 2)


class FeedForward(nn.Module):
    """The same two-layer network for every token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, FEED_FORWARD_FACTOR * dim)
        self.reduce = nn.Linear(FEED_FORWARD_FACTOR * dim, dim)
        nn.init.zeros_(self.reduce.weight)
        nn.init.zeros_(self.reduce.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> the same."""
        reduced: Tensor = self.reduce(functional.gelu(self.expand(tokens)))
        return reduced


class SelfModalityAttention(nn.Module):
    """SMAM: every token of one modality looks at all tokens of the same."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads=heads)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) -> the same."""
        normed = self.attention_norm(tokens)
        attended = tokens + self.attention(normed, normed)
        refined: Tensor = attended + self.feed_forward(self.feed_forward_norm(attended))
        return refined


class CrossModalityAttention(nn.Module):
    """CMAM, one way: tokens of one modality look at the tokens of the other."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim)
        self.context_norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads=heads)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, tokens: Tensor, other: Tensor) -> Tensor:
        """(batch, tokens, dim) on (batch, other tokens, dim) -> (batch, tokens, dim)."""
        attended = tokens + self.attention(self.query_norm(tokens), self.context_norm(other))
        refined: Tensor = attended + self.feed_forward(self.feed_forward_norm(attended))
        return refined
