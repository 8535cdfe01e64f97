"""Gradients summed over processes, while the backward pass still computes others.

As DistributedDataParallel does it, but sums instead of means of processes, which may have different
numbers of images, and for processes that have no image of a batch and so no backward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["GradientSum"]

_BUCKET_BYTES = 8 << 20  # large enough for the network, small enough to begin early
_ALIGNED = 16  # elements, at which vectorised kernels may begin


@dataclass(eq=False, slots=True)
class _Bucket:
    """Gradients that travel together. Each is a view of `flat`, laid out as its parameter is."""

    flat: Tensor
    views: list[tuple[nn.Parameter, Tensor]]
    missing: set[nn.Parameter] = field(default_factory=set)


class GradientSum:
    """Makes the gradients of some parameters sums over all processes.

    A step is `clear`, any number of backward passes, `expect`, a last one, `wait`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        # The backward pass goes from the last parameter to the first, about.
        self._buckets = list(_filled(reversed(list(parameters))))
        self._bucket_of = {p: bucket for bucket in self._buckets for p, _ in bucket.views}
        self._under_way: list[dist.Work] = []
        self._expected = False
        for parameter in self._bucket_of:
            parameter.register_post_accumulate_grad_hook(self._arrived)  # type: ignore[no-untyped-call]  # untyped in torch

    def clear(self) -> None:
        """Set all gradients to 0."""
        self._under_way, self._expected = [], False
        for bucket in self._buckets:
            bucket.flat.zero_()
            bucket.missing = {parameter for parameter, _ in bucket.views}
            for parameter, view in bucket.views:
                parameter.grad = view

    def expect(self) -> None:
        """Begin to sum each gradient as soon as the next backward pass has computed it."""
        self._expected = True

    def wait(self) -> None:
        """Sum what is left, and wait until all gradients are sums."""
        for bucket in self._buckets:
            bucket.missing.clear()
        self._start()
        while self._under_way:
            self._under_way.pop(0).wait()  # work that is kept would keep connections open

    def _arrived(self, parameter: Tensor) -> None:
        if self._expected:
            assert isinstance(parameter, nn.Parameter)
            self._bucket_of[parameter].missing.discard(parameter)
            self._start()

    def _start(self) -> None:
        """Start with every bucket that is complete, in the same order in all processes."""
        while (at := len(self._under_way)) < len(self._buckets) and not self._buckets[at].missing:
            work = dist.all_reduce(self._buckets[at].flat, async_op=True)
            assert work is not None
            self._under_way.append(work)


def _filled(parameters: Iterable[nn.Parameter]) -> Iterator[_Bucket]:
    """Consecutive parameters, in buckets of about _BUCKET_BYTES."""
    members: list[nn.Parameter] = []
    elements = 0
    for parameter in parameters:
        members.append(parameter)
        elements += _padded(parameter)
        if elements * parameter.element_size() >= _BUCKET_BYTES:
            yield _bucket(members, elements)
            members, elements = [], 0
    if members:
        yield _bucket(members, elements)


def _bucket(members: list[nn.Parameter], elements: int) -> _Bucket:
    flat = torch.zeros(elements, dtype=members[0].dtype, device=members[0].device)
    views, at = [], 0
    for parameter in members:
        views.append((parameter, flat.as_strided(parameter.size(), parameter.stride(), at)))
        at += _padded(parameter)
    return _Bucket(flat, views)


def _padded(parameter: nn.Parameter) -> int:
    return -(-parameter.numel() // _ALIGNED) * _ALIGNED
