// A mask with one bit a pixel, read as cells of 2 x 2 pixels. All set pixels of a cell touch, and
// so do cells side by side whose facing columns both hold a pixel. A run is the longest row of
// cells that touch so; its first cell names it.
#pragma once

#include <cstdint>

#include "launch.cuh"

namespace bas_edge::cuda {

constexpr std::uint32_t kEvenBits = 0x55555555u;
constexpr std::int32_t kWordCells = 16;  // cells in one 32-bit word of pixels

struct CellSpan {
  std::int32_t first, end;  // cells of one row of cells, half-open
};

struct BitRows {
  const std::uint32_t* bits;   // [height, words], pixel 32 j + i is bit i of word j
  std::int32_t height, words;  // in pixels; bits beyond the width are 0

  __device__ std::int32_t cell_rows() const { return (height + 1) / 2; }
  __device__ std::int32_t row_cells() const { return words * kWordCells; }

  // 0 outside.
  __device__ std::uint32_t word(std::int32_t y, std::int32_t j) const {
    return y >= 0 && y < height && j >= 0 && j < words ? bits[std::int64_t{y} * words + j] : 0;
  }
  // The columns of cell row r that hold a pixel.
  __device__ std::uint32_t columns(std::int32_t r, std::int32_t j) const {
    return word(2 * r, j) | word(2 * r + 1, j);
  }
  // Even bits: cells that touch the one on their left.
  __device__ std::uint32_t joined(std::int32_t r, std::int32_t j) const {
    const std::uint32_t own = columns(r, j);
    return own & (own << 1 | columns(r, j - 1) >> 31) & kEvenBits;
  }
  // Even bits: cells that start a run.
  __device__ std::uint32_t starts(std::int32_t r, std::int32_t j) const {
    const std::uint32_t own = columns(r, j);
    return (own | own >> 1) & kEvenBits & ~joined(r, j);
  }

  // First cell of the run that `cell` of row r, not an empty one, belongs to.
  __device__ std::int32_t run_start(std::int32_t r, std::int32_t cell) const {
    std::int32_t j = cell / kWordCells;
    const std::uint32_t up_to = 0xffffffffu >> (31 - cell % kWordCells * 2);
    std::uint32_t breaks = ~joined(r, j) & kEvenBits & up_to;
    while (breaks == 0) breaks = ~joined(r, --j) & kEvenBits;  // cell 0 joins nothing
    return j * kWordCells + (31 - __clz(static_cast<int>(breaks))) / 2;
  }
  // One past the last cell of the run that starts at `cell`.
  __device__ std::int32_t run_end(std::int32_t r, std::int32_t cell) const {
    std::int32_t j = cell / kWordCells;
    const std::uint32_t up_to = 0xffffffffu >> (31 - cell % kWordCells * 2);
    std::uint32_t breaks = ~joined(r, j) & kEvenBits & ~up_to;
    while (breaks == 0) breaks = ~joined(r, ++j) & kEvenBits;  // beyond the row nothing is joined
    return j * kWordCells + (__ffs(static_cast<int>(breaks)) - 1) / 2;
  }

  // The pixels of word j that lie in the cells of `span`.
  __device__ static std::uint32_t span_bits(CellSpan span, std::int32_t j) {
    const std::int32_t first = span.first * 2 - j * 32, end = span.end * 2 - j * 32;
    if (first >= 32 || end <= 0) return 0;
    const std::uint32_t from = first <= 0 ? 0xffffffffu : 0xffffffffu << first;
    return end >= 32 ? from : from & ~(0xffffffffu << end);
  }
};

// Calls visit(i) for every set bit i.
template <typename Visit>
__device__ void for_each_bit(std::uint32_t bits, const Visit& visit) {
  for (; bits != 0; bits &= bits - 1) visit(__ffs(static_cast<int>(bits)) - 1);
}

}  // namespace bas_edge::cuda
