"""Every rule of the export against torch: on another batch than the one that was watched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bas_edge.errors import InputError
from bas_edge_training.capture import OPSET, capture
from bas_edge_training.graph import _fold_pads

Function = Callable[[Tensor], Tensor]
MAPS = (4, 6, 6)  # of one image, as most functions take it


def compare(
    function: Function,
    shape: tuple[int, ...],
    module: nn.Module | None = None,
    *,
    change: Callable[[onnx.ModelProto], None] = lambda _: None,
) -> None:
    """torch and the graph on three images, after the graph was made on two others."""
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(2, *shape, generator=generator)
    graph = capture(
        lambda x: (function(x),),
        example,
        module=(module or nn.Identity()).eval(),
        input_name="x",
        output_names=("y",),
    )
    change(graph)
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version == OPSET
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = 3 * torch.randn(3, *shape, generator=generator)
    with torch.no_grad():
        wanted = function(x.clone())  # some work in place
    (got,) = session.run(["y"], {"x": x.numpy()})
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-5)


def gate(x: Tensor) -> Tensor:
    """A squeeze and excitation without its layers."""
    return x * torch.sigmoid(F.silu(x.mean((2, 3), keepdim=True)))


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    y += x
    y.mul_(0.5).add_(1)
    y -= x / 4
    y /= 3
    return F.relu(y, inplace=True)


def halves(x: Tensor) -> Tensor:
    one, two = x.chunk(2, dim=1)
    a, b, c = torch.split(x, [1, 1, 2], 1)
    return torch.cat((one * two, a + b, c), 1)


CASES: dict[str, Function] = {
    "silu": F.silu,
    "silu in place": lambda x: F.silu(x * 1, inplace=True),
    "mish": F.mish,
    "gelu": F.gelu,
    "gelu of tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7),
    "relu6": nn.ReLU6(),
    "hardtanh": F.hardtanh,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "softmax": lambda x: F.softmax(x, dim=1),
    "clamp below": lambda x: x.clamp(min=-0.5),
    "clamp above": lambda x: torch.clamp(x, max=0.25),
    "sqrt": lambda x: torch.sqrt(x * x + 1),
    "exp": lambda x: (x / 10).exp(),
    "negative": lambda x: -x,
    "gate": gate,
    "in place": in_place,
    "number first": lambda x: 1 - 2 * x,
    "add a part": lambda x: torch.add(x, x * x, alpha=0.1),
    "a third": lambda x: x * (1 / 3),
    "two thirds beside nearly the same": lambda x: x * 0.33333331 + x * (1 / 3),
    "addcmul": lambda x: torch.addcmul(x, x, x + 1, value=0.5),
    "sum": lambda x: x.sum(1),
    "sum of cells": lambda x: x.sum((2, 3), keepdim=True),
    "mean of one axis": lambda x: x.mean(1, keepdim=True),
    "mean of cells": lambda x: x.mean((-1, -2)),
    "norm": lambda x: x.norm(p=2, dim=(2, 3), keepdim=True),
    "pool to one": lambda x: F.adaptive_avg_pool2d(x, 1),
    "pool to three": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "mean pool": nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
    "padded mean pool": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "maximum": nn.MaxPool2d(3, 2, 1),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, (9, 12), mode="bilinear"),
    "odd sides": lambda x: F.interpolate(x, (7, 41), mode="bilinear", align_corners=False),
    "largest": lambda x: x.amax((2, 3), keepdim=True) + x.abs() * torch.sign(x),
    "corners": lambda x: F.interpolate(x, (9, 12), mode="bilinear", align_corners=True),
    "flatten": lambda x: x.flatten(1),
    "flatten cells": lambda x: x.flatten(2).transpose(1, 2),
    "reshape": lambda x: x.reshape(x.shape[0], 2, -1).contiguous(),
    "view": lambda x: x.view(x.size(0), 2, 2, 36).transpose(1, 2).reshape(-1, 4, 6, 6),
    "permute": lambda x: torch.permute(x, (0, 2, 3, 1)),
    "squeeze": lambda x: x.mean((2, 3), keepdim=True).squeeze(3).unsqueeze(-1),
    "expand": lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1) * x,
    "expand as": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "chunk and split": halves,
    "unbind": lambda x: x.permute(1, 0, 2, 3).unbind(0)[2] + x.unbind(1)[0],
    "normalize": lambda x: F.normalize(x, dim=-1),
    "stack": lambda x: torch.stack([x, x * 2], dim=1).sum(1),
    "powers": lambda x: (x * x + 1) ** 1.5 + torch.pow(x, 2),
    "attention": lambda x: F.scaled_dot_product_attention(x, x + 1, x * 2),
    "padding": lambda x: F.pad(x, (1, 0, 2, 1)),
    "padding with a number": lambda x: F.pad(x, (1, 0), value=-2.0),
    "zeros around a maximum": lambda x: F.max_pool2d(F.pad(x - 9, (1, 1, 1, 1)), 3, 2),
    "padding for a maximum": lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-99.0), 3, 2),
    "slices": lambda x: x[:, 1:3, ::2],
    "one channel": lambda x: x[:, -1][:, None],
    "ellipsis": lambda x: x[..., 1:],
    "matmul": lambda x: x @ x.transpose(-1, -2),
    "dropout": lambda x: F.dropout(x, 0.5, training=False) + 1,
    "type": lambda x: x.to(torch.float32) + x.type_as(x),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_graph_computes_what_torch_does(name: str) -> None:
    compare(CASES[name], MAPS)


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 5), MAPS),
    "linear without bias": (nn.Linear(6, 5, bias=False), (6,)),
    "layer norm": (nn.LayerNorm(6), MAPS),
    "layer norm of cells": (nn.LayerNorm((6, 6), elementwise_affine=False), MAPS),
    "group norm": (nn.GroupNorm(2, 4), MAPS),
    "batch norm": (nn.BatchNorm2d(4), MAPS),
    "batch norm without scale": (nn.BatchNorm2d(4, affine=False), MAPS),
    "prelu": (nn.PReLU(4), MAPS),
    "grouped": (nn.Conv2d(4, 8, 3, padding=1, groups=2), MAPS),
    "dilated": (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, bias=False), MAPS),
}


@pytest.mark.parametrize("name", list(LAYERS))
def test_layers_compute_what_torch_does(name: str) -> None:
    module, shape = LAYERS[name]
    torch.manual_seed(0)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.2, 1.2)
    compare(module.eval(), shape, module)


class TwoReaders(nn.Module):
    """One padding for two convolutions, and one with a number, which no convolution can do."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 2, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (0, 1, 0, 1))
        return self.one(padded) + self.two(padded) * self.one(F.pad(x, (1, 0, 1, 0), value=2.0))


def test_only_paddings_that_a_convolution_can_do_become_its_own() -> None:
    torch.manual_seed(0)
    module = TwoReaders()
    compare(module, MAPS, module, change=_fold_pads)
    one = module.one
    compare(lambda x: one(F.pad(x, (0, 1, 0, 1))), MAPS, module, change=_fold_pads)


REFUSED: dict[str, tuple[Function, str]] = {
    "several": (lambda x: torch.var_mean(x, 1)[0], "no ONNX form of torch's 'var_mean'"),
    "mirrored": (
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        "only padding with a number, not 'ref",
    ),
    "masked": (
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        "attention of whole sequences only",
    ),
    "batch": (lambda x: x.reshape(-1, 6), "can reshape everything but the batch"),
    "batch index": (lambda x: x[:1], "does not know the index"),
    "mask": (lambda x: x[x > 0], "no ONNX form of torch's"),
    "all": (lambda x: x * x.mean(), "no mean over everything"),
    "windows": (lambda x: F.adaptive_avg_pool2d(x, 4), "cannot pool 6x6 cells to 4x4"),
    "half": (lambda x: x.to(torch.float16), "no change of type"),
    "bicubic": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
        "no interpolation of the kind 'bicubic'",
    ),
    "antialiased": (
        lambda x: F.interpolate(x, (3, 3), mode="bilinear", antialias=True),
        "no interpolation of the kind 'bilinear', antialiased",
    ),
    "rounding up": (nn.AvgPool2d(4, 4, ceil_mode=True), "no average pooling with rounding up"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_has_no_form_is_refused(name: str) -> None:
    function, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        compare(function, MAPS)


def test_a_module_in_training_mode_is_no_function() -> None:
    with pytest.raises(ValueError, match="training mode"):
        compare(lambda x: F.dropout(x, 0.5, training=True), MAPS)
