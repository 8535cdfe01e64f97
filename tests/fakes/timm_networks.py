"""Networks with timm's interface, as small as they can be: timm itself needs torchvision.

Written for these tests: only names and calling conventions are timm's.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
TAG = "a1_in1k"


class Norm2d(nn.LayerNorm):
    """LayerNorm over channels."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NormAct(nn.BatchNorm2d):
    """BatchNorm and an activation in one module, as timm has them."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__(channels)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class Residual(nn.Module):
    """3x3 with squeeze and excitation; `last` starts at zero, as many networks do."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilations: Any = (1, 1)) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, first, dilation=first, bias=False)
        self.bn1 = NormAct(outputs, nn.Hardswish(inplace=True))
        self.squeeze = nn.Conv2d(outputs, outputs, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, second, dilation=second, bias=False)
        self.last = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.last.weight)
        self.act2 = nn.SiLU(inplace=True)
        self.down: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.down = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x))
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True)))
        y = self.last(self.conv2(y))
        y += self.down(x)
        return self.act2(y)


class ResNet(nn.Module):
    """Stem, pooling and four layers, the last two of which `output_stride` may dilate."""

    def __init__(self, output_stride: int = 32, *, dilates: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.feature_info = [{"num_chs": 8, "reduction": 2, "module": "act1"}]
        channels, reached, dilation = 8, 4, 1
        for number, stride in enumerate((1, 2, 2, 2), 1):
            outputs, before = 8 * number, dilation
            if reached * stride > output_stride:
                dilation, stride = dilation * stride if dilates else 1, 1
            reached *= stride
            blocks = nn.Sequential(
                Residual(channels, outputs, stride, (before, dilation)),
                Residual(outputs, outputs, 1, (dilation, dilation)),
            )
            self.add_module(f"layer{number}", blocks)
            self.feature_info.append(
                {"num_chs": outputs, "reduction": 2 ** (number + 1), "module": f"layer{number}"}
            )
            channels = outputs
        self.fc = nn.Linear(channels, 10)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.forward_features(x).mean((2, 3)))


class Block(nn.Module):
    """7x7 depthwise, LayerNorm and two Linears, channels last, times a tiny scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.fc1, self.act = nn.Linear(channels, 2 * channels), nn.GELU()
        self.fc2 = nn.Linear(2 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))
        y = self.fc2(self.act(self.fc1(y))).permute(0, 3, 1, 2)
        return x + y.mul(self.gamma.reshape(1, -1, 1, 1))


class Stage(nn.Module):
    """A row that is no nn.Sequential."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(Norm2d(inputs), nn.Conv2d(inputs, outputs, 2, 2))
        self.blocks = nn.Sequential(Block(outputs), Block(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class ConvNeXt(nn.Module):
    """Even kernels, no BatchNorm, strides that nothing changes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), Norm2d(8))
        self.stages = nn.Sequential(
            *(Stage(*each) for each in ((8, 8, 1), (8, 16, 2), (16, 24, 2), (24, 32, 2)))
        )
        self.norm_pre = nn.Identity()
        self.head = nn.Linear(32, 10)
        self.feature_info = [
            {"num_chs": 8 * (i + 1), "reduction": 4 * 2**i, "module": f"stages.{i}"}
            for i in range(4)
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        return self.norm_pre(self.stages(self.stem(x)))


class Flip(nn.Module):
    """What no rule of the export knows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


class Counted(nn.Module):
    """Adds positions of as many images as there are: a constant of the batch it was captured on."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(len(x), 1, 1, 1)


class WithLast(ResNet):
    """Cut like its parent, with one more module at the end of its tail."""

    def __init__(self, last: type[nn.Module]) -> None:
        super().__init__()
        self.layer4.append(last())


class Crossed(ResNet):
    """Its modules are called in another order than it holds them."""

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.act1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Features(nn.Module):
    """What `features_only` gives of a network that takes output_stride only so.

    Like timm's, it has a module more than the network: the stem's activation by itself.
    """

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        network = ResNet(output_stride)
        for name, child in network.named_children():
            if name != "fc":
                self.add_module(name, child)
            if name == "maxpool":
                self.empty = nn.Identity()
        self.feature_info = network.feature_info

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for child in self.children():
            x = child(x)
            found.append(x)
        return found


class Tokens(nn.Module):
    """A transformer's features: no maps."""

    feature_info = ({"num_chs": 8, "reduction": 16, "module": "embed"},)

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 16, 16)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.embed(x).flatten(2).transpose(1, 2)


class Bare(nn.Module):
    """Nothing but pooling behind its features at stride 16."""

    feature_info = ({"num_chs": 8, "reduction": 16, "module": "features.0"},)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.MaxPool2d(2, 2))

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)


def undilated(output_stride: int = 32) -> nn.Module:
    """Loses its strides, and nothing makes up for it."""
    return ResNet(output_stride, dilates=False)


def only_features(output_stride: int | None = None, *, features_only: bool = False) -> nn.Module:
    if output_stride is None:
        return ResNet()
    if not features_only:
        raise TypeError("got an unexpected keyword argument 'output_stride'")
    return Features(output_stride)


NETWORKS: dict[str, Any] = {
    "resnet": ResNet,
    "convnext": ConvNeXt,
    "crossed": Crossed,
    "flipping": partial(WithLast, Flip),
    "counting": partial(WithLast, Counted),
    "only_features": only_features,
    "undilated": undilated,
    "tokens": Tokens,
    "bare": Bare,
}


def create_model(name: str, **options: Any) -> nn.Module:
    return NETWORKS[name.partition(".")[0]](**options)


def get_pretrained_cfg(name: str) -> SimpleNamespace | None:
    """As timm has it: None for a network that no weights were published of."""
    plain, _, tag = name.partition(".")
    if tag not in ("", TAG):
        raise RuntimeError(f"Invalid pretrained tag ({tag}) for {plain}.")
    return None if plain == "bare" else SimpleNamespace(mean=MEAN, std=STD)


def fake_timm() -> ModuleType:
    """A module to stand at sys.modules["timm"]."""
    module = ModuleType("timm")
    vars(module).update(
        create_model=create_model,
        is_model=lambda name: name.partition(".")[0] in NETWORKS,
        list_models=lambda: sorted(NETWORKS),
        list_pretrained=lambda pattern: [pattern.replace("*", TAG)],
        get_pretrained_cfg=get_pretrained_cfg,
    )
    return module
