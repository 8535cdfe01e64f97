"""Where a network of timm is cut for BAS: trunk, finer features, tail.

timm has some hundred kinds of networks. BAS needs of one that its modules, called one behind
another in the order in which it holds them, compute its features: then the row can be cut
anywhere. Which kinds are built so is not listed here but tried, with numbers, on the network
itself; what is no such row is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bas_edge.errors import InputError

__all__ = ["Cut", "find_cut", "prepared", "row_outputs"]

_SIDE = 64  # pixels of the frame that a network is tried on
_TOLERANCE = 1e-4
_STRIDE = 16  # of the features that BAS erases from
_WORKS = "Rows of blocks work: ResNets, EfficientNets, MobileNets, RegNets, ConvNeXts and more."


@dataclass(frozen=True, slots=True)
class Cut:
    """A network as a row of modules, by their paths in it, such as "layer3.0".

    Attributes:
        deep: What timm says computes the last features with 16 pixels a cell.
        trunk: Up to those features.
        tail: Those behind them, up to the network's last features.
        fine: The one of the trunk that computes the finer features; "" where there are none.
        fine_channels, channels, tail_channels: Of the finer features, F, and what leaves the tail.
        tail_stride: Pixels a cell of what leaves the tail.
    """

    deep: str
    trunk: tuple[str, ...]
    tail: tuple[str, ...]
    fine: str
    fine_channels: int
    channels: int
    tail_channels: int
    tail_stride: int


def find_cut(network: nn.Module, name: str, *, like: Cut | None = None, stride: int = 16) -> Cut:
    """Where a network (on the CPU) is cut. Its weights and mode are changed.

    Args:
        network: As trained, or in a form that has lost strides.
        name: For errors.
        like: The cut of the network as trained; None where this is it.
        stride: Pixels a cell that the trunk's features have to have.

    Raises:
        InputError: It is no row of modules, or has no such features with weights behind them, or
            is another network than the one that was cut before.
    """
    deep = _deepest_at_stride(network, name) if like is None else like.deep
    frames = prepared(network)
    wanted = _final_features(network, frames, name)
    paths = list(_row(network, deep))
    last = max((i for i, path in enumerate(paths) if _within(path, deep)), default=-1)
    try:
        outputs = list(row_outputs(network, paths, frames))
    except _NoRowError as error:  # only what leads to the last features has to be a row
        outputs = error.outputs
    ends = (i for i, x in enumerate(outputs) if i > last >= 0 and _equal(x, wanted))
    end = next(ends, None)
    if end is None:
        raise InputError(
            f"{name} cannot be cut: its modules in a row do not compute its features.", hint=_WORKS
        )
    if not _has_cells(outputs[last], stride):
        raise _no_maps(name, outputs[last])
    tail = paths[last + 1 : end + 1]
    if not any(True for path in tail for _ in network.get_submodule(path).parameters()):
        raise InputError(
            f"{name} has no weights behind its features at stride {stride}, which erasing needs.",
            hint=_WORKS,
        )
    before = outputs[last - 1] if last else frames
    trunk = [*paths[:last], *_opened(network, paths[last], before, outputs[last])]
    inner = dict(zip(trunk, row_outputs(network, trunk, frames), strict=True))
    fine = _first_block(network, inner) if like is None else like.fine
    return Cut(
        deep=deep,
        trunk=tuple(trunk),
        tail=tuple(tail),
        fine=fine if fine in inner else "",
        fine_channels=inner[fine].shape[1] if fine in inner else 0,
        channels=outputs[last].shape[1],
        tail_channels=wanted.shape[1],
        tail_stride=_SIDE // wanted.shape[-1],
    )


class _NoRowError(Exception):
    """A module cannot be called with what the one before it computed."""

    def __init__(self, outputs: list[Tensor]) -> None:
        super().__init__()
        self.outputs = outputs


def _deepest_at_stride(network: nn.Module, name: str) -> str:
    """Path of the module that computes the last features with 16 pixels a cell."""
    info: Any = getattr(network, "feature_info", None) or ()
    stages = [info[number] for number in range(len(info))]
    found = [stage["module"] for stage in stages if stage["reduction"] == _STRIDE]
    if not found or not callable(getattr(network, "forward_features", None)):
        raise InputError(f"{name} has no features at stride {_STRIDE}.", hint=_WORKS)
    return str(found[-1])


def prepared(network: nn.Module) -> Tensor:
    """Frames [2, 3, 64, 64] to try a network on, which is made to show all that it does.

    What is constant at the start (ones, zeros, tiny scales that switch a branch off) is drawn
    anew, and BatchNorm takes the batch's own statistics: no module is without effect on the
    values at the end.
    """
    generator = torch.Generator().manual_seed(0)
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
                low, high = (-0.2, 0.2) if name.endswith("bias") else (0.5, 1.5)
                parameter.uniform_(low, high, generator=generator)
    return torch.randn(2, 3, _SIDE, _SIDE, generator=generator)


def _final_features(network: Any, frames: Tensor, name: str) -> Tensor:
    """What timm calls the network's features [2, C, h, w], of several the last."""
    compute = getattr(network, "forward_features", network)
    try:
        with torch.no_grad():
            features = compute(frames.clone())
    except Exception as error:  # what timm's networks raise has no common base
        raise InputError(
            f"{name} cannot be cut: it takes no frames of {_SIDE} pixels ({error}).", hint=_WORKS
        ) from error
    features = features[-1] if isinstance(features, list) else features
    if not isinstance(features, Tensor) or features.dim() != 4:
        raise _no_maps(name, features)
    return features


def _no_maps(name: str, features: Any) -> InputError:
    shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
    return InputError(
        f"{name} cannot be cut: its features are no maps [N, C, h, w], but {shape} of "
        f"{_SIDE} pixels.",
        hint=_WORKS,
    )


def _row(network: nn.Module, deep: str, path: str = "") -> Iterator[str]:
    """Paths of its modules in order; opened where they are sequences or hold `deep`."""
    for name, child in network.named_children():
        full = f"{path}.{name}" if path else name
        if type(child).forward is nn.Sequential.forward or deep.startswith(f"{full}."):
            yield from _row(child, deep, full)
        else:
            yield full


def row_outputs(network: nn.Module, paths: Iterable[str], x: Tensor) -> Iterator[Tensor]:
    """What each module in turn computes."""
    found: list[Tensor] = []
    for path in paths:
        module: Callable[[Tensor], Any] = network.get_submodule(path)
        given = x.clone()
        try:
            with torch.no_grad():
                y = module(x)
        except Exception as error:  # what timm's networks raise has no common base
            raise _NoRowError(found) from error
        if not isinstance(y, Tensor) or not torch.equal(given, x):  # it changes what others read
            raise _NoRowError(found)
        found.append(y)
        yield y
        x = y


def _opened(network: nn.Module, path: str, x: Tensor, y: Tensor) -> list[str]:
    """The modules inside one that is a row itself and computes `y` of `x`; else that one."""
    inside = list(_row(network.get_submodule(path), "", path))
    try:
        outputs = list(row_outputs(network, inside, x))
    except _NoRowError:
        return [path]
    return inside if outputs and _equal(outputs[-1], y) else [path]


def _first_block(network: nn.Module, outputs: dict[str, Tensor]) -> str:
    """The first block (no single layer) with 16 pixels a cell; "" if it is the last of all."""
    for path, x in list(outputs.items())[:-1]:
        if _has_cells(x, _STRIDE) and any(True for _ in network.get_submodule(path).children()):
            return path
    return ""


def _has_cells(x: Tensor, stride: int) -> bool:
    return x.dim() == 4 and x.shape[-2:] == (_SIDE // stride, _SIDE // stride)


def _within(path: str, stage: str) -> bool:
    return path == stage or path.startswith(f"{stage}.")


def _equal(x: Tensor, y: Tensor) -> bool:
    """Nearly: float32 in another order, of the largest value."""
    if x.shape != y.shape:
        return False
    largest = float(y.abs().max())
    return largest > 0 and float((x - y).abs().max()) <= _TOLERANCE * largest
