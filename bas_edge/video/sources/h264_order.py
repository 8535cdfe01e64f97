"""Whether a picture of an H.264 stream follows the one that it was coded to follow.

FFmpeg's decoder takes a copy of another picture where one is missing, and says nothing. But every
picture carries a number (`frame_num`, ITU-T H.264 7.4.3) that counts the pictures others build on.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["H264Order"]

_SLICE, _PARTITION, _KEYFRAME, _SPS = 1, 2, 5, 7  # nal_unit_type
_CHROMA_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_HEADER_BYTES = 40  # more than what is read of a slice


class H264Order:
    """Follows `frame_num` through the packets of one stream.

    Args:
        extradata: What the container says of the stream in front of it; may be empty.
    """

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = 0  # 0: units are divided by start codes
        self._number_bits: int | None = None
        self._planes_apart = False
        self._gaps_allowed = False
        self._last: int | None = None  # frame_num of the last picture that others build on
        if extradata[:1] == b"\x01" and len(extradata) > 6:  # "avcC"
            self._length_bytes = (extradata[4] & 3) + 1
            length = int.from_bytes(extradata[6:8], "big")
            self._learn(extradata[8 : 8 + length])
        else:
            for unit in _divided(extradata):
                self._learn(unit)

    def gap(self, packet: bytes) -> bool:
        """Whether pictures that others build on are missing in front of this packet's."""
        for unit in self._units(packet):
            kind = unit[0] & 31
            if kind == _SPS:
                self._learn(unit)
            elif kind == _KEYFRAME:
                self._last = 0
                return False
            elif kind in (_SLICE, _PARTITION):
                return self._follows_not(unit)
        return False

    def _follows_not(self, unit: bytes) -> bool:
        number = self._number(unit)
        if number is None or self._number_bits is None:
            return False
        last, most = self._last, 1 << self._number_bits
        # What nothing builds on (nal_ref_idc 0) is numbered as if it counted, but does not.
        self._last = number if unit[0] >> 5 & 3 else (number - 1) % most
        if last is None or self._gaps_allowed:
            return False
        return number not in (last, (last + 1) % most)

    def _number(self, unit: bytes) -> int | None:
        if self._number_bits is None:
            return None
        bits = _Bits(unit[1:_HEADER_BYTES])
        for _ in ("first_mb_in_slice", "slice_type", "pic_parameter_set_id"):
            bits.golomb()
        if self._planes_apart:
            bits.read(2)
        return bits.read(self._number_bits)

    def _learn(self, unit: bytes) -> None:
        if len(unit) < 5 or unit[0] & 31 != _SPS:
            return
        bits = _Bits(unit[1:])
        profile = bits.read(8)
        bits.read(16)  # constraints and level
        bits.golomb()  # its number
        planes_apart = False
        if profile in _CHROMA_PROFILES:
            chroma = bits.golomb()
            planes_apart = chroma == 3 and bool(bits.read(1))
            bits.golomb(), bits.golomb()  # bit depths
            bits.read(1)
            if bits.read(1):
                _skip_scaling(bits, 8 if chroma != 3 else 12)
        self._planes_apart = planes_apart
        self._number_bits = min(bits.golomb(), 12) + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.read(1)
            bits.golomb(), bits.golomb()
            for _ in range(min(bits.golomb(), 255)):
                bits.golomb()
        bits.golomb()  # how many pictures are kept
        self._gaps_allowed = bool(bits.read(1))

    def _units(self, packet: bytes) -> Iterator[bytes]:
        if not self._length_bytes:
            yield from _divided(packet)
            return
        at = 0
        while at + self._length_bytes < len(packet):
            length = int.from_bytes(packet[at : at + self._length_bytes], "big")
            at += self._length_bytes
            if length:
                yield packet[at : at + length]
            at += length


def _divided(stream: bytes) -> Iterator[bytes]:
    """The units between start codes; of the last one all that is left."""
    at = stream.find(b"\0\0\1")
    while 0 <= at < len(stream) - 3:
        following = stream.find(b"\0\0\1", at + 3)
        unit = stream[at + 3 : following if following >= 0 else len(stream)]
        if unit:  # of two start codes in a row, the first begins nothing
            yield unit
        at = following


def _skip_scaling(bits: _Bits, lists: int) -> None:
    for number in range(lists):
        if not bits.read(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                code = bits.golomb()
                following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
            last = following or last


class _Bits:
    """Bits of a unit behind its head; past the end come zeros."""

    def __init__(self, data: bytes) -> None:
        plain = data.replace(b"\0\0\3", b"\0\0")  # inserted so that no start code occurs
        self._value = int.from_bytes(plain, "big")
        self._left = 8 * len(plain)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            return 0
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """An unsigned Exp-Golomb code."""
        zeros = 0
        while self._left > 0 and zeros < 32 and not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)
