"""The memory of the fake driver: real memory, with its bounds and its end watched."""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fakes.cuda_errors import FakeCudaError

__all__ = ["Heap", "Memory"]

ALIGNMENT = 256  # of cuMemAlloc
KEPT_BYTES = 64 << 20  # of freed memory, so that what still looks at it finds 0xDD


@dataclass
class Memory:
    address: int
    size: int
    kind: str  # "device", "host", or "mapped": both
    keeper: Any
    freed: bool = False


class Heap:
    """Allocations by address; misuse goes to `faults`."""

    def __init__(self, faults: list[str]) -> None:
        self._faults = faults
        self.live: dict[int, Memory] = {}
        self._kept: list[Memory] = []

    def allocate(self, size: int, kind: str) -> int:
        if size < 1:
            raise FakeCudaError(1)
        keeper = np.full(size + ALIGNMENT, 0xCD, np.uint8)
        address = -(-keeper.ctypes.data // ALIGNMENT) * ALIGNMENT
        self.live[address] = Memory(address, size, kind, keeper)
        return address

    def free(self, address: int, kinds: set[str]) -> None:
        memory = self.live.get(address)
        if memory is None or memory.kind not in kinds:
            self._fault(f"{address:#x} is not {kinds} memory, or was freed before", 1)
        del self.live[address]
        memory.keeper[:] = 0xDD
        memory.freed = True
        self._kept.append(memory)
        while sum(each.size for each in self._kept) > KEPT_BYTES:
            self._kept.pop(0)

    def find(self, address: int) -> Memory | None:
        """The newest memory, live or freed, that holds this address."""
        candidates = itertools.chain(list(self.live.values()), reversed(self._kept))
        found = (m for m in candidates if m.address <= address < m.address + m.size)
        return next(found, None)

    def check(self, address: int, size: int, kinds: set[str]) -> None:
        """That these bytes are live memory of one of these kinds."""
        memory = self.find(address)
        if memory is None or memory.kind not in kinds:
            self._fault(f"{address:#x} is not in {kinds} memory", 700)
        if memory.freed:
            self._fault(f"{memory.kind} memory was used after it was freed", 700)
        if address + size > memory.address + memory.size:
            self._fault(f"{size} bytes at {address:#x} go past the end of their memory", 700)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the host, checked where they are page-locked."""
        if self.find(address) is not None:
            self.check(address, size, {"host", "mapped"})
        return ctypes.string_at(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Bytes to the device."""
        self.check(address, len(data), {"device", "mapped"})
        ctypes.memmove(address, data, len(data))

    def copy(self, to: int, source: int, size: int) -> None:
        """Bytes from the device to the device."""
        self.check(source, size, {"device", "mapped"})
        self.check(to, size, {"device", "mapped"})
        ctypes.memmove(to, source, size)

    def _fault(self, sentence: str, code: int) -> NoReturn:
        self._faults.append(sentence)
        raise FakeCudaError(code)
