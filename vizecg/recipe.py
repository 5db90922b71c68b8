"""How a model is made: every number of training, typed; none of the code that needs torch.

Apart from the code so that params.yaml can be checked in milliseconds.
"""

from typing import Literal

from pydantic import Field, model_validator

from vizecg.config import Section

Teacher = Literal["signal", "fused", "both"]
Precision = Literal["auto", "float32", "bfloat16"]


class ModelConfig(Section):
    """Size of the network and which of its parts there are; each switch is one ablation."""

    image_width: int = Field(default=16, ge=1)
    image_blocks: tuple[int, int, int, int] = (1, 1, 1, 1)
    signal_width: int = Field(default=64, ge=1)
    signal_blocks: tuple[int, ...] = Field(default=(1, 1, 1, 1), min_length=1)
    dim: int = Field(default=128, ge=4)
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1, description="of the features each head reads")
    signal: bool = True
    smam: bool = True
    cmam: bool = True

    @model_validator(mode="after")
    def _parts_fit(self) -> "ModelConfig":
        if self.dim % 4 or self.dim % self.heads:
            raise ValueError(f"dim must be divisible by 4 and by heads {self.heads}, got {self.dim}")
        if min(*self.image_blocks, *self.signal_blocks) < 1:
            raise ValueError(f"every stage needs a block, got {self.image_blocks} and {self.signal_blocks}")
        return self


class DistillationParams(Section):
    """λ2 and how it grows. `weight: 0` switches distillation off."""

    weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)
    teacher: Teacher = "both"
    warmup_epochs: float = Field(default=4.0, ge=0)
    ramp_epochs: float = Field(default=4.0, ge=0)

    def weight_at(self, epoch: float) -> float:
        """λ2 after `epoch` epochs, fractions allowed: 0 in the warm-up, then a straight line up to `weight`."""
        if epoch < self.warmup_epochs:
            return 0.0
        if self.ramp_epochs == 0:
            return self.weight
        return self.weight * min(1.0, (epoch - self.warmup_epochs) / self.ramp_epochs)


class JitterParams(Section):
    """Largest change of a training example; each is drawn evenly from ± its value. Nothing is ever mirrored."""

    shift_px: float = Field(default=4.0, ge=0)
    scale: float = Field(default=0.03, ge=0, lt=0.5)
    ink: float = Field(default=0.15, ge=0, lt=1, description="relative change of how dark ink is")
    paper: float = Field(default=0.03, ge=0, lt=1, description="change of the paper, as a share of full black")
    signal_gain: float = Field(default=0.1, ge=0, lt=1)
    signal_shift_s: float = Field(default=0.2, ge=0)


class Recipe(Section):
    """All that decides a training, but its data and its seed."""

    model: ModelConfig = ModelConfig()
    distillation: DistillationParams = DistillationParams()
    jitter: JitterParams = JitterParams()
    classification_weight: float = Field(default=1.0, gt=0)
    epochs: int = Field(default=24, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.02, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.99, ge=0, lt=1, description="0 scores the weights as they are")
    precision: Precision = "auto"
    threads: int = Field(default=2, ge=1)
