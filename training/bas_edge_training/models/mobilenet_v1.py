"""MobileNetV1 (arXiv 1704.04861), cut where BAS cuts it.

BAS keeps the 512-channel stage at stride 8, so that the generator sees 28x28 cells of a
224-pixel image; only the two last blocks halve it once more (arXiv 2112.00580, section 4.1).

Where block 5 no longer halves the map, every later depthwise filter can be dilated by two
(`atrous`): it then reads exactly the inputs it was trained on, at no extra arithmetic. On frozen
ImageNet features of cub50 a linear probe scores 71 % so, 60 % without, and 71 % at the original
stride.

At map stride 16 block 5 halves the map as in the original, and the whole backbone is the original:
nothing to dilate, 14x14 cells, a third of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, Dialect, Features, Tail, Trunk
from .config import TENSORFLOW, TIMM, TORCHVISION, ModelConfig
from .depthwise import DepthwiseBlock, run_blocks
from .layers import ConvUnit, scaled
from .seams import Seam

__all__ = ["MOBILENET_V1"]

# (output channels at width 1, stride) of blocks 0 to 12. Block 5 of the original has stride 2; at
# map stride 8 it has 1, which keeps blocks 5 to 10 at stride 8.
_TRUNK = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)
_TAIL = ((1024, 2), (1024, 1))
_ATROUS_TAIL = ((1024, 1), (1024, 1))  # behind a 2x2 mean: every cell counts, none is skipped
_KEPT = 5  # the block whose stride map stride 8 removes; dilation starts after it
_LAST_HALVING = {8: 3, 16: _KEPT}  # by map stride: the trunk's last block of stride 2
_TIMM_STAGES = (1, 2, 2, 6, 2)  # blocks of each; a new stage begins where the stride is 2


class SeparableBlock(DepthwiseBlock):
    """Depthwise 3x3, then pointwise 1x1, each with its activation."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, dilation: int, config: ModelConfig
    ) -> None:
        super().__init__()
        norm, conventions = config.norm, config.conventions
        self.dw = ConvUnit(
            inputs,
            inputs,
            kernel=3,
            stride=stride,
            groups=inputs,
            dilation=dilation,
            norm=norm,
            conventions=conventions,
        )
        self.pw = ConvUnit(inputs, outputs, kernel=1, norm=norm, conventions=conventions)

    def forward(self, x: Tensor, *, in_phases: bool = False) -> Tensor:
        return self.pw(self.dw(x, in_phases=in_phases))


class MobileNetV1Trunk(Trunk):
    """Stem and blocks 0 to 10; `fine` leaves block 5, the first at this stride, and sees 59 pixels.

    Three layers halve the map, and each sees half a pixel of its input beside the middle of its
    cell: to the lower right where the padding is TensorFlow's, to the upper left where it is
    symmetric. In input pixels that is 0.5 + 1 + 2 = 3.5, by which every map would lie on the
    other side of its object. `centred` turns the last one around: 0.5 + 1 - 2 = -0.5. Its
    filters see the same neighbourhoods, of cells half a cell away. At map stride 16 a fourth
    layer halves the map: 7.5 pixels, and with that one turned 0.5 + 1 + 2 - 4 = -0.5 again.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = scaled(32, config.width)
        self.stem = ConvUnit(
            3, channels, kernel=3, stride=2, norm=config.norm, conventions=config.conventions
        )
        table, dilations = list(_TRUNK), [1] * len(_TRUNK)
        if config.map_stride == 8:
            table[_KEPT] = (table[_KEPT][0], 1)
            dilations = [2 if config.atrous and i > _KEPT else 1 for i in range(len(_TRUNK))]
        self.blocks, self.channels = _blocks(channels, table, dilations, config)
        self.fine_channels = scaled(_TRUNK[_KEPT][0], config.width)
        last_halving = self.blocks[_LAST_HALVING[config.map_stride]]
        assert isinstance(last_halving, SeparableBlock)
        last_halving.dw.turned = config.centred

    def forward(self, x: Tensor) -> Features:
        fine = run_blocks(self.blocks[: _KEPT + 1], self.stem(x))
        return Features(run_blocks(self.blocks[_KEPT + 1 :], fine), fine)


class MobileNetV1Tail(Tail):
    """Blocks 11 and 12: [N, 512 * width, h, w] -> [N, 1024 * width, h / 2, w / 2].

    At map stride 16 these are the original's own strides: block 11 reads every cell of the map
    (3x3 filters two cells apart), and both blocks read what they were trained on, at a quarter of
    the arithmetic of staying at stride 16. At map stride 8 a stride-2 filter dilated by two would
    skip every other cell, so a 2x2 mean halves the map, and block 12 is dilated instead. An odd
    side rounds up at map stride 16; at 8 there is none, since inputs are multiples of 16.
    """

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.pooled = config.atrous and config.map_stride == 8
        table, dilations = (_ATROUS_TAIL, (1, 2)) if self.pooled else (_TAIL, (1, 1))
        self.halved = Seam()
        self.blocks, self.channels = _blocks(channels, table, dilations, config)

    def forward(self, x: Tensor) -> Tensor:
        return run_blocks(self.blocks, self.halved(F.avg_pool2d(x, 2)) if self.pooled else x)


def _blocks(
    channels: int,
    table: Sequence[tuple[int, int]],
    dilations: Sequence[int],
    config: ModelConfig,
) -> tuple[nn.ModuleList, int]:
    """Blocks of one table, and how many channels leave the last one."""
    blocks = nn.ModuleList()
    for (outputs, stride), dilation in zip(table, dilations, strict=True):
        outputs = scaled(outputs, config.width)
        blocks.append(
            SeparableBlock(channels, outputs, stride=stride, dilation=dilation, config=config)
        )
        channels = outputs
    return blocks, channels


def _build(config: ModelConfig) -> tuple[Trunk, Tail]:
    trunk = MobileNetV1Trunk(config)
    return trunk, MobileNetV1Tail(trunk.channels, config)


def _place(path: str) -> tuple[int, str]:
    """Block and kind: (12, "pw") of "tail.blocks.1.pw"; the stem is (-1, "stem")."""
    if path == "trunk.stem":
        return -1, "stem"
    part, _, index, kind = path.split(".")
    return int(index) + (len(_TRUNK) if part == "tail" else 0), kind


def _folded_names(path: str) -> tuple[str, str]:
    index, kind = _place(path)
    return ("stem", "") if index < 0 else (f"blocks.{index}.{kind}", "")


def _timm_names(path: str) -> tuple[str, str]:
    index, kind = _place(path)
    if index < 0:
        return "conv_stem", "bn1"
    stage = 0
    while index >= _TIMM_STAGES[stage]:
        index -= _TIMM_STAGES[stage]
        stage += 1
    block = f"blocks.{stage}.{index}"
    return f"{block}.conv_{kind}", f"{block}.bn{1 if kind == 'dw' else 2}"


def _published_names(path: str) -> tuple[str, str]:
    """Of BAS's own MobileNet: one `nn.Sequential`, numbered through."""
    index, kind = _place(path)
    at = 0 if kind in ("stem", "dw") else 3
    return f"model.{index + 1}.{at}", f"model.{index + 1}.{at + 1}"


MOBILENET_V1 = Backbone(
    build=_build,
    dialects=(
        Dialect("Google's folded", TENSORFLOW, _folded_names),
        Dialect("timm's", TIMM, _timm_names),
    ),
    published=Dialect("BAS's", TORCHVISION, _published_names),
    map_strides=(8, 16),
    ordered=True,
)
