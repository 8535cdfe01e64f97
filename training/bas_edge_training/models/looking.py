"""Where the cells of a feature map look: by strides and paddings alone, not by weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["displacement"]

_SIDE = 64


def displacement(trunk: nn.Module, stride: int) -> int | None:
    """By how many pixels frames have to move up and left, so that cells see their own middle.

    Args:
        trunk: Frames [N, 3, H, W] -> a tuple whose first is a map with `stride` pixels a cell.
        stride: Pixels from cell to cell.

    Returns:
        Whole pixels, rounded towards 0, negative for down and right; None where the trunk gets
        its cells by something else than convolutions and pooling.
    """
    twin = copy.deepcopy(trunk).to("meta").eval()  # shapes only: nothing is computed
    frames = torch.zeros(1, 3, _SIDE, _SIDE, device="meta")
    watch = _Watch(frames)
    with torch.no_grad(), watch:
        cells = twin(frames)[0]
    view = watch.view(cells)
    if view is None or view.stride != stride:
        return None
    return int(stride / 2 - view.first)


class _View(NamedTuple):
    """Pixel that the first cell of a row has its middle at, and pixels from cell to cell."""

    first: float
    stride: int


class _Watch(TorchFunctionMode):
    """Follows one axis of the frames, the last, through every torch function."""

    def __init__(self, frames: Tensor) -> None:
        super().__init__()
        self._views: dict[int, _View] = {id(frames): _View(0.5, 1)}
        self._alive: list[Tensor] = [frames]  # an id must not be reused while it is a key

    def view(self, value: Any) -> _View | None:
        return self._views.get(id(value)) if isinstance(value, Tensor) else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        result = func(*args, **kwargs)
        values = [*args, *kwargs.values()]
        flat = [v for one in values for v in (one if isinstance(one, (list, tuple)) else [one])]
        seen = [view for view in map(self.view, flat) if view is not None]
        if not seen:
            return result
        view = _joined(seen)
        if func in _STEPS:
            view = _STEPS[func](view, *args, **kwargs)
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, Tensor):
                self._views[id(tensor)] = view
                self._alive.append(tensor)
        return result


def _joined(views: list[_View]) -> _View:
    """Of branches that come together: the middle between them."""
    stride = max(view.stride for view in views)
    firsts = [view.first for view in views if view.stride == stride]
    return _View((min(firsts) + max(firsts)) / 2, stride)


def _window(view: _View, size: int, stride: Any, padding: Any, dilation: Any) -> _View:
    start = (size - 1) * _last(dilation) / 2 - _last(padding)
    return _View(view.first + view.stride * start, view.stride * _last(stride))


def _conv(
    view: _View, _x: Tensor, weight: Tensor, _bias: Any = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, _groups: int = 1, **_: Any,
) -> _View:  # fmt: skip
    return _window(view, weight.shape[-1], stride, padding, dilation)


def _max_pool(
    view: _View, _x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, *_: Any, **__: Any,
) -> _View:  # fmt: skip
    return _window(view, _last(kernel_size), stride or kernel_size, padding, dilation)


def _avg_pool(
    view: _View, _x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
    *_: Any, **__: Any,
) -> _View:  # fmt: skip
    return _window(view, _last(kernel_size), stride or kernel_size, padding, 1)


def _pad(view: _View, _x: Tensor, pad: Any, *_: Any, **__: Any) -> _View:
    return _View(view.first - view.stride * pad[0], view.stride)


def _last(value: Any) -> int:
    return int(value[-1] if isinstance(value, (list, tuple)) else value)


_STEPS: dict[Any, Callable[..., _View]] = {
    F.conv2d: _conv,
    F.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: _avg_pool,
    F.pad: _pad,
}
