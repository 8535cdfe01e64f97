"""The published networks, from their papers, on plain dictionaries of tensors.

They share nothing with `bas_edge_training.models`: what a checkpoint of that name means is written
down here a second time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def forward(
    state: State, network: str, frames: Tensor, *, relu_last: bool, head: str = "classifier_cls"
) -> tuple[Tensor, Tensor]:
    """uint8 [N, 3, H, W] -> logits [N, C] and sigmoid maps [N, C, h, w]."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    x = (frames.float() / 255 - mean) / std
    tap, x = {
        "vgg": _vgg,
        "resnet": _resnet,
        "inception": _inception,
        "mobilenet": _mobilenet,
        "segmentation": _segmentation,
    }[network](state, x)
    if network == "segmentation":
        x = F.conv2d(x, state["classifier_cls.weight"])
    else:
        x = F.relu(_conv(state, f"{head}.0", x, padding=1))
        x = F.relu(_conv(state, f"{head}.2", x, padding=1))
        x = _conv(state, f"{head}.4", x)
    x = F.relu(x) if relu_last else x
    return x.mean((2, 3)), torch.sigmoid(_conv(state, "classifier_loc.0", tap, padding=1))


def _conv(state: State, name: str, x: Tensor, **options: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def _norm(state: State, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    keys = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys), eps=eps)


def _vgg(state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    tap = x
    for stage, count in enumerate((2, 2, 3, 3, 3), 1):
        for index in range(1, count + 1):
            x = F.relu(_conv(state, f"conv{stage}_{index}", x, padding=1))
        if stage == 4:
            tap = x
        if stage < 5:
            x = F.max_pool2d(x, 2)
    return tap, x


def _mobilenet(state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    strides = (2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1)
    tap = x
    for block, stride in enumerate(strides):
        if block == 12:
            tap = x
        stem = f"model.{block}"
        groups = 1 if block == 0 else x.shape[1]
        x = _conv(state, f"{stem}.0", x, stride=stride, padding=1, groups=groups)
        x = F.relu(_norm(state, f"{stem}.1", x))
        if block:
            x = F.relu(_norm(state, f"{stem}.4", _conv(state, f"{stem}.3", x)))
    return tap, x


def _bottleneck(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    y = F.relu(_norm(state, f"{name}.bn1", _conv(state, f"{name}.conv1", x)))
    y = _conv(state, f"{name}.conv2", y, stride=stride, padding=1)
    y = F.relu(_norm(state, f"{name}.bn2", y))
    y = _norm(state, f"{name}.bn3", _conv(state, f"{name}.conv3", y))
    beside = f"{name}.downsample"
    if f"{beside}.0.weight" in state:
        x = _norm(state, f"{beside}.1", _conv(state, f"{beside}.0", x, stride=stride))
    return F.relu(x + y)


def _layer(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    for block in range({"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}[name]):
        x = _bottleneck(state, f"{name}.{block}", x, stride if block == 0 else 1)
    return x


def _resnet_stem(state: State, x: Tensor) -> Tensor:
    x = F.relu(_norm(state, "bn1", _conv(state, "conv1", x, stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    return _layer(state, "layer2", _layer(state, "layer1", x, 1), 2)


def _resnet(state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    tap = _layer(state, "layer3", _resnet_stem(state, x), 1)
    return tap, _layer(state, "layer4", F.max_pool2d(tap, 2), 1)


def _segmentation(state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    tap = _layer(state, "layer3", _resnet_stem(state, x), 2)
    return tap, _layer(state, "layer4", tap, 1)


def _inception(state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    def unit(name: str, x: Tensor, stride: int = 1, *, padded: bool = True) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        padding = tuple(side // 2 for side in weight.shape[2:]) if padded else 0
        return F.relu(_norm(state, f"{name}.bn", F.conv2d(x, weight, None, stride, padding), 1e-3))

    def chain(block: str, x: Tensor, *names: str, last_stride: int = 1) -> Tensor:
        for name in names:
            stride = last_stride if name == names[-1] else 1
            x = unit(f"{block}.{name}", x, stride)
        return x

    def mean_pool(block: str, x: Tensor) -> Tensor:
        return unit(f"{block}.branch_pool", F.avg_pool2d(x, 3, 1, 1))

    x = unit("Conv2d_2a_3x3", unit("Conv2d_1a_3x3", x, 2), padded=False)
    x = F.max_pool2d(unit("Conv2d_2b_3x3", x), 3, 2, 1, ceil_mode=True)
    x = unit("Conv2d_4a_3x3", unit("Conv2d_3b_1x1", x), padded=False)
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    double = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
    for b in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        fives = chain(b, x, "branch5x5_1", "branch5x5_2")
        x = torch.cat((chain(b, x, "branch1x1"), fives, chain(b, x, *double), mean_pool(b, x)), 1)
    b = "Mixed_6a"
    x = torch.cat((chain(b, x, "branch3x3"), chain(b, x, *double), F.max_pool2d(x, 3, 1, 1)), 1)
    for b in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        sevens = chain(b, x, *(f"branch7x7_{i}" for i in range(1, 4)))
        doubled = chain(b, x, *(f"branch7x7dbl_{i}" for i in range(1, 6)))
        x = torch.cat((chain(b, x, "branch1x1"), sevens, doubled, mean_pool(b, x)), 1)
    tap, b = x, "Mixed_7a"
    threes = chain(b, x, "branch3x3_1", "branch3x3_2", last_stride=2)
    sevens = chain(b, x, *(f"branch7x7x3_{i}" for i in range(1, 5)), last_stride=2)
    x = torch.cat((threes, sevens, F.max_pool2d(x, 3, 2, 1)), 1)
    for b in ("Mixed_7b", "Mixed_7c"):
        one = chain(b, x, "branch3x3_1")
        two = chain(b, x, "branch3x3dbl_1", "branch3x3dbl_2")
        forks = [chain(b, one, f"branch3x3_2{end}") for end in "ab"]
        forks += [chain(b, two, f"branch3x3dbl_3{end}") for end in "ab"]
        x = torch.cat((chain(b, x, "branch1x1"), *forks, mean_pool(b, x)), 1)
    return tap, x
