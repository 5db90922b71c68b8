"""How a model is made: every number of training, typed; none of the code that needs torch.

Apart from the code so that params.yaml can be checked in milliseconds.
"""

from typing import Final, Literal, Self, get_args

from pydantic import Field, model_validator

from vizecg.config import Section

Teacher = Literal["signal", "fused", "both"]
Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]
SignalReader = Literal[
    "vizecgnet_signal",
    "resnet1d_wang",
    "resnet1d_wang_as_printed",
    "xresnet1d101",
    "inception1d",
    "lstm_bidir",
    "ribeiro",
    "late_fusion",
]
Architecture = Literal["vizecgnet", "resnet18", "resnet34", "resnet50", "convnext_t", SignalReader]
SIGNAL_READERS: Final = frozenset(get_args(SignalReader))
_OF_EVERY_ARCHITECTURE: Final = ("architecture", "init")


class InitialWeights(Section):
    """A file that a network begins with, and its content's name: another content is another training."""

    path: str = Field(min_length=1, description="safetensors; relative to where the command runs")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelConfig(Section):
    """Which network, and of VizECGNet its size and which of its parts there are; each switch is one ablation.

    A rival has the sizes of its source: what does not apply to it stays at its default.
    """

    architecture: Architecture = "vizecgnet"
    image_stream: Literal["resnet", "convnext"] = "resnet"
    image_block: Literal["basic", "bottleneck"] = Field(default="basic", description="of the resnet")
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
    init: InitialWeights | None = Field(default=None, description="null draws the first weights")

    @property
    def needs_signal(self) -> bool:
        """Whether no answer can be had from a page alone."""
        return self.architecture in SIGNAL_READERS

    @property
    def reads_pages(self) -> bool:
        """Whether it looks at the page at all."""
        return self.architecture == "late_fusion" or not self.needs_signal

    @model_validator(mode="after")
    def _parts_fit(self) -> "ModelConfig":
        if self.dim % 4 or self.dim % self.heads:
            raise ValueError(f"dim must be divisible by 4 and by heads {self.heads}, got {self.dim}")
        if min(*self.image_blocks, *self.signal_blocks) < 1:
            raise ValueError(f"every stage needs a block, got {self.image_blocks} and {self.signal_blocks}")
        if self.image_stream == "convnext" and self.image_block != "basic":
            raise ValueError(
                f"image_block {self.image_block} is of the resnet; with image_stream convnext leave it basic"
            )
        return self

    @model_validator(mode="after")
    def _options_apply(self) -> "ModelConfig":
        if self.architecture == "vizecgnet":
            return self
        for name, field in type(self).model_fields.items():
            if name not in _OF_EVERY_ARCHITECTURE and getattr(self, name) != field.default:
                raise ValueError(
                    f"{name} does not apply to architecture {self.architecture}, which has its published sizes: "
                    f"leave it at {field.default!r}, got {getattr(self, name)!r}"
                )
        return self


class DistillationParams(Section):
    """λ2 and how it grows. `weight: 0` switches distillation off.

    `teacher`, `symmetric`, `feature_weight`, `warmup_epochs` and `ramp_epochs` are about
    teachers that learn beside the student (schedule `joint`); those of `frozen` know all
    they will ever know when the student begins.
    """

    weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)
    teacher: Teacher = "both"
    symmetric: bool = Field(default=False, description="the teacher learns from the student as well")
    feature_weight: float = Field(default=0.0, ge=0, description="of the tokens' means, times λ2")
    warmup_epochs: float = Field(default=4.0, ge=0)
    ramp_epochs: float = Field(default=4.0, ge=0)

    def weight_at(self, epoch: float) -> float:
        """λ2 after `epoch` epochs, fractions allowed: 0 in the warm-up, then a straight line up to `weight`."""
        if epoch < self.warmup_epochs:
            return 0.0
        if self.ramp_epochs == 0:
            return self.weight
        return self.weight * min(1.0, (epoch - self.warmup_epochs) / self.ramp_epochs)


class TeachersParams(Section):
    """The teachers of schedule `frozen`, trained before the student, each with a seed of its own."""

    reads: Literal["signal", "image"] = Field(
        default="signal", description="image: networks like the student, so that soft labels alone can be told apart"
    )
    members: int = Field(default=1, ge=1, description="teachers of each part, whose logits are averaged")
    crossfit: int = Field(default=5, ge=2, description="parts, by patient; none is taught by who learned from it")
    epochs: int = Field(default=24, ge=1)


class AsymmetricParams(Section):
    """Asymmetric loss (Ridnik et al. 2021): what a record is sure not to have counts less, or not at all."""

    gamma_pos: float = Field(default=0.0, ge=0)
    gamma_neg: float = Field(default=4.0, ge=0)
    clip: float = Field(default=0.05, ge=0, lt=1, description="negatives less probable than this count nothing")

    @model_validator(mode="after")
    def _smooth(self) -> Self:
        for name, gamma in (("gamma_pos", self.gamma_pos), ("gamma_neg", self.gamma_neg)):
            if 0 < gamma < 1:
                raise ValueError(f"{name} must be 0 or at least 1, got {gamma:g}: its gradient has no bound between")
        return self


class JitterParams(Section):
    """Largest change of a training example; each is drawn evenly from ± its value. Nothing is ever mirrored."""

    shift_px: float = Field(default=4.0, ge=0)
    scale: float = Field(default=0.03, ge=0, lt=0.5)
    ink: float = Field(default=0.15, ge=0, lt=1, description="relative change of how dark ink is")
    paper: float = Field(default=0.03, ge=0, lt=1, description="change of the paper, as a share of full black")
    signal_gain: float = Field(default=0.1, ge=0, lt=1)
    signal_shift_s: float = Field(default=0.2, ge=0)


class PretrainingParams(Section):
    """Simulated records to learn from first, on pages of all styles through all cameras."""

    records: int = Field(ge=10, le=99_999)
    seed: int = Field(ge=0)
    copies: int = Field(default=2, ge=1, le=16, description="pages of each record; the first is the standard page")
    epochs: int = Field(ge=1)
    workers: int = Field(default=2, ge=0, le=256, description="processes that draw the pages; changes no page")


class Recipe(Section):
    """All that decides a training, but its data and its seed."""

    model: ModelConfig = ModelConfig()
    pretraining: PretrainingParams | None = Field(default=None, description="null begins with weights as drawn")
    schedule: Literal["joint", "frozen"] = "joint"
    distillation: DistillationParams = DistillationParams()
    teachers: TeachersParams = TeachersParams()
    jitter: JitterParams = JitterParams()
    classification: Literal["bce", "asymmetric"] = "bce"
    asymmetric: AsymmetricParams = AsymmetricParams()
    class_weights: Literal["none", "balanced"] = "none"
    class_weight_cap: float = Field(default=10.0, ge=1, description="most that a positive counts when balanced")
    classification_weight: float = Field(default=1.0, gt=0)
    epochs: int = Field(default=24, ge=1)
    select: Literal["best_epoch", "last"] = "best_epoch"
    batch_size: int = Field(default=32, ge=2)
    accumulate: int = Field(default=1, ge=1, description="micro-batches that a batch is computed in")
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.02, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.99, ge=0, lt=1, description="0 scores the weights as they are")
    checkpoint_every_steps: int | None = Field(default=None, ge=1, description="null: after every epoch alone")
    device: Device = "auto"
    precision: Precision = "auto"
    threads: int = Field(default=2, ge=1)
    loader_threads: int = Field(default=1, ge=0, description="0 reads batches between steps")

    def distillation_weight_at(self, epoch: float) -> float:
        """λ2 after `epoch` epochs, fractions allowed; teachers trained before need no warm-up."""
        return self.distillation.weight if self.schedule == "frozen" else self.distillation.weight_at(epoch)

    @model_validator(mode="after")
    def _lessons_can_be_given(self) -> Self:
        if self.schedule != "frozen":
            return self
        if self.distillation.symmetric:
            raise ValueError("distillation.symmetric needs a teacher that still learns: schedule joint, not frozen")
        if self.distillation.feature_weight:
            raise ValueError(
                "distillation.feature_weight needs schedule joint: frozen teachers each have features of their own kind"
            )
        if self.teachers.reads == "signal" and not self.model.signal:
            raise ValueError(
                "schedule frozen learns from signals, which model.signal switches off; set teachers.reads to image, "
                "or distillation.weight to 0 with model.signal true"
            )
        return self

    @model_validator(mode="after")
    def _weights_come_from_one_place(self) -> Self:
        if self.pretraining is not None and self.model.init is not None:
            raise ValueError("first weights come from pretraining or from model.init; set one of them to null")
        return self

    @model_validator(mode="after")
    def _batches_can_be_split(self) -> Self:
        if self.batch_size // self.accumulate < 2:
            raise ValueError(
                f"accumulate {self.accumulate} leaves micro-batches of a batch of {self.batch_size} with fewer than "
                "2 records, which have no variance to normalise by"
            )
        return self
