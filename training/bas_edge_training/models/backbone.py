"""What a backbone is to BAS: a trunk up to the maps' features, and the tail behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from .config import TORCHVISION, Conventions, ModelConfig

__all__ = ["Backbone", "Dialect", "Features", "Tail", "Trunk"]


class Features(NamedTuple):
    """What leaves the trunk, both of the maps' h x w cells.

    Attributes:
        deep: F of the paper [N, channels, h, w]: knows classes, sees far. Tail and erase branch
            read it.
        fine: Features of a layer before it [N, fine_channels, h, w], at the same stride: knows
            little, and sees little around each cell. None where a backbone has no such layer.
    """

    deep: Tensor
    fine: Tensor | None


class Trunk(nn.Module):
    """Frames as the backbone expects them [N, 3, H, W] -> Features.

    Attributes:
        channels, fine_channels: Of the Features; 0 without fine ones.
        displacement: Pixels by which frames are moved up and to the left first, so that cells
            see their own place.
    """

    channels: int
    fine_channels: int
    displacement: int = 0


class Tail(nn.Module):
    """F, whole or with parts erased -> [N, channels, h', w'], what the class head reads."""

    channels: int


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one family of files names a backbone's weights.

    Attributes:
        family: Whose names they are.
        conventions: How weights of this family are used, where the file itself does not say.
        names: Path of a ConvUnit in a BasModel, such as "trunk.layer1.0.conv1" -> the names of
            its convolution and BatchNorm in the file; "" for a BatchNorm that is folded already.
            Of a `foreign` one: path of a module without "trunk." or "tail." -> its name and "".
    """

    family: str
    conventions: Conventions
    names: Callable[[str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Backbone:
    """One architecture.

    Attributes:
        build: Makes trunk and tail, from torch's global generator.
        dialects: The files that `load_pretrained` reads.
        published: Of the checkpoints that BAS's authors published; None where there are none.
        map_strides: What `map_stride` may be.
        trained_stride: Map stride at which the backbone is the original network: it has lost
            no stride, and there is nothing to dilate.
        batch_norm: Whether it has BatchNorm, in its published form.
        ordered: Files of unknown names are read too, layer by layer in this one's order.
        foreign: Made of other modules than ConvUnits. They keep their own initialisation and
            BatchNorm (norm is "batch"), a file's tensors are those of the modules, and as they
            pass no Seams there is no quantization-aware training.
    """

    build: Callable[[ModelConfig], tuple[Trunk, Tail]]
    dialects: tuple[Dialect, ...] = ()
    published: Dialect | None = None
    map_strides: tuple[int, ...] = (8,)
    trained_stride: int = 16
    batch_norm: bool = True
    ordered: bool = False
    foreign: bool = False

    @property
    def conventions(self) -> Conventions:
        """How it is used where no weights say it."""
        return self.dialects[0].conventions if self.dialects else TORCHVISION

    def reads_as_trained(self, *, atrous: bool, map_stride: int) -> bool:
        """Whether filters of the original backbone read the cells that they were trained on."""
        return atrous or map_stride == self.trained_stride

    def problem(self, config: ModelConfig) -> str | None:
        """Why this architecture cannot be built so, in a sentence; None if it can."""
        name = config.architecture
        if config.map_stride not in self.map_strides:
            allowed = " or ".join(str(stride) for stride in self.map_strides)
            return f"{name} has map_stride {allowed}, not {config.map_stride}."
        if config.norm == "batch" and not self.batch_norm:
            return f'{name} has no BatchNorm, so norm is "none", not "batch".'
        if config.norm == "none" and self.foreign:
            return f'{name} keeps its BatchNorm, so norm is "batch", not "none".'
        return None
