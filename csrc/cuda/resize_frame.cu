#include <vector>

#include "bas_edge/cuda/resize_frame.hpp"
#include "kernels.hpp"
#include "launch.cuh"
#include "triangle_axis.hpp"

namespace bas_edge::cuda {
namespace {

constexpr unsigned kTileWidth = kWarp, kTileHeight = 8;  // pixels of the input that a block makes
// Of a row on chip: 32 pixels of the input at 31 pixels of the frame each; wider ones are read
// where they lie.
constexpr std::int32_t kCopyBytes = 3000, kCopyWords = 768;
static_assert(kCopyBytes + 8 <= 4 * kCopyWords);
constexpr std::int32_t kChunk = 64;  // rows of the frame that it narrows at once

struct Taps {
  const std::int32_t* first;         // [outputs]
  const std::int32_t* coefficients;  // [outputs, taps]
  std::int32_t taps, lines;          // lines of the source
};

struct ResizeIn {
  DeviceFrame frame;
  YuvCoefficients yuv;
  ResizeFrameOptions options;
  Taps columns, rows;
};

struct Rgb {
  std::int32_t channel[3];
};

__device__ std::int32_t to_byte(std::int32_t value) {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

__device__ Rgb rgb_of(const YuvCoefficients& yuv, std::int32_t y, const std::uint8_t* chroma) {
  constexpr std::int32_t kHalf = 1 << 15;
  const std::int32_t u = chroma[0] - 128, v = chroma[1] - 128;
  const std::int32_t luma = (y - yuv.offset) * yuv.luma + kHalf;
  return {{to_byte((luma + yuv.v_to_red * v) >> 16),
           to_byte((luma + yuv.u_to_green * u + yuv.v_to_green * v) >> 16),
           to_byte((luma + yuv.u_to_blue * u) >> 16)}};
}

// A part of one row of the frame, where it lies or copied on chip: pixels from `first_x` on.
struct RowSpan {
  const std::uint8_t* pixels;  // of first_x; or luma
  const std::uint8_t* chroma;  // of the chroma sample of first_x; or null
  std::int32_t first_x;
};

template <bool kNv12>
__device__ RowSpan row_of(const DeviceFrame& frame, std::int32_t y, std::int32_t first_x) {
  const std::int64_t width = kNv12 ? 1 : 3;
  const std::uint8_t* pixels = frame.pixels + y * frame.pitch + first_x * width;
  return {pixels, kNv12 ? frame.chroma + y / 2 * frame.chroma_pitch + first_x / 2 * 2 : nullptr,
          first_x};
}

template <bool kNv12>
__device__ Rgb pixel_of(const RowSpan& row, const YuvCoefficients& yuv, std::int32_t x) {
  const std::int32_t at = x - row.first_x;
  if (!kNv12) {
    const std::uint8_t* pixel = row.pixels + 3 * at;
    return {{pixel[0], pixel[1], pixel[2]}};
  }
  return rgb_of(yuv, row.pixels[at], row.chroma + (x / 2 - row.first_x / 2) * 2);
}

// Copies by all lanes of a warp, in whole words where words lie inside. Returns where the copy of
// from[0] is: as far into a word as the original.
__device__ const std::uint8_t* copy_on_chip(const std::uint8_t* from, std::int32_t bytes,
                                            std::uint32_t* words) {
  const auto shift = static_cast<std::int32_t>(reinterpret_cast<std::uintptr_t>(from) % 4);
  auto* const copied = reinterpret_cast<std::uint8_t*>(words);
  for (std::int32_t word = static_cast<std::int32_t>(threadIdx.x); 4 * word < shift + bytes;
       word += static_cast<std::int32_t>(kWarp)) {
    const std::int32_t begin = 4 * word - shift;
    if (begin >= 0 && begin + 4 <= bytes) {
      words[word] = *reinterpret_cast<const std::uint32_t*>(from + begin);
      continue;
    }
    for (std::int32_t i = 0; i < 4; ++i) {
      if (begin + i >= 0 && begin + i < bytes) copied[4 * word + i] = from[begin + i];
    }
  }
  return copied + shift;
}

__device__ std::int32_t rounded(std::int32_t sum) {
  sum = (sum + (1 << (cpu::kFractionBits - 1))) >> cpu::kFractionBits;
  return sum > 255 ? 255 : sum;  // coefficients are not negative
}

// Each block narrows the rows of the frame that its tile needs, a chunk at a time on chip, and
// adds them up: no narrowed frame in memory, and any scale fits. Its warps take the rows in turns;
// each first copies the part of the row that it needs, because taps of neighbours overlap.
template <bool kNv12>
__global__ void __launch_bounds__(kTileWidth* kTileHeight)
    resize_kernel(ResizeIn in, std::uint8_t* input) {  // [h, w, 3]
  __shared__ std::uint32_t narrowed[kChunk][kTileWidth];
  __shared__ std::uint32_t copies[kTileHeight][kCopyWords];
  const Rectangle& target = in.options.target;
  const std::int32_t tile_left = static_cast<std::int32_t>(blockIdx.x * kTileWidth);
  const std::int32_t tile_top = static_cast<std::int32_t>(blockIdx.y * kTileHeight);
  const std::int32_t x = tile_left + static_cast<std::int32_t>(threadIdx.x);
  const std::int32_t y = tile_top + static_cast<std::int32_t>(threadIdx.y);
  const bool in_columns = x >= target.left && x < target.right;
  const bool shows = in_columns && y >= target.top && y < target.bottom;

  // What the whole tile needs, of what is shown of the frame.
  const std::int32_t highest = max(tile_top, target.top) - target.top;
  const std::int32_t lowest =
      min(tile_top + static_cast<std::int32_t>(kTileHeight), target.bottom) - target.top - 1;
  const std::int32_t leftmost = max(tile_left, target.left) - target.left;
  const std::int32_t rightmost =
      min(tile_left + static_cast<std::int32_t>(kTileWidth), target.right) - target.left - 1;
  std::int32_t begin = 0, end = 0, span_begin = 0, span_end = 0;
  if (highest <= lowest && leftmost <= rightmost) {
    begin = in.rows.first[highest];
    end = min(in.rows.first[lowest] + in.rows.taps, in.rows.lines);
    span_begin = in.options.shown.left + in.columns.first[leftmost];
    span_end = in.options.shown.left +
               min(in.columns.first[rightmost] + in.columns.taps, in.columns.lines);
  }
  const std::int32_t span = span_end - span_begin;
  const bool copied = 3 * span <= kCopyBytes;  // NV12 has fewer bytes

  const std::int32_t column = in_columns ? x - target.left : 0;
  const std::int32_t row = shows ? y - target.top : 0;
  const std::int32_t column_first = in.columns.first[column];
  const std::int32_t column_taps = min(in.columns.taps, in.columns.lines - column_first);
  const std::int32_t* column_coefficients =
      in.columns.coefficients + std::int64_t{column} * in.columns.taps;
  const std::int32_t row_first = in.rows.first[row];
  const std::int32_t row_end = min(row_first + in.rows.taps, in.rows.lines);
  const std::int32_t* row_coefficients = in.rows.coefficients + std::int64_t{row} * in.rows.taps;

  std::int32_t sums[3] = {};
  for (std::int32_t chunk = begin; chunk < end; chunk += kChunk) {
    const std::int32_t chunk_end = min(chunk + kChunk, end);
    for (std::int32_t line = chunk + static_cast<std::int32_t>(threadIdx.y); line < chunk_end;
         line += static_cast<std::int32_t>(kTileHeight)) {
      RowSpan from = row_of<kNv12>(in.frame, in.options.shown.top + line, span_begin);
      if (copied) {
        std::uint32_t* const words = copies[threadIdx.y];
        if (kNv12) {
          const std::int32_t samples = (span_end - 1) / 2 - span_begin / 2 + 1;
          from.chroma = copy_on_chip(from.chroma, 2 * samples, words + kCopyWords / 2);
        }
        from.pixels = copy_on_chip(from.pixels, kNv12 ? span : 3 * span, words);
        __syncwarp();
      }
      if (in_columns) {
        const std::int32_t first_x = in.options.shown.left + column_first;
        std::int32_t narrow[3] = {};
        for (std::int32_t tap = 0; tap < column_taps; ++tap) {
          const Rgb pixel = pixel_of<kNv12>(from, in.yuv, first_x + tap);
          for (int c = 0; c < 3; ++c) narrow[c] += pixel.channel[c] * column_coefficients[tap];
        }
        narrowed[line - chunk][threadIdx.x] = static_cast<std::uint32_t>(
            rounded(narrow[0]) | rounded(narrow[1]) << 8 | rounded(narrow[2]) << 16);
      }
      __syncwarp();  // before the copy is written over
    }
    __syncthreads();
    const std::int32_t last = shows ? min(row_end, chunk_end) : 0;
    for (std::int32_t line = max(row_first, chunk); line < last; ++line) {
      const std::uint32_t pixel = narrowed[line - chunk][threadIdx.x];
      const std::int32_t coefficient = row_coefficients[line - row_first];
      for (int c = 0; c < 3; ++c) {
        sums[c] += static_cast<std::int32_t>(pixel >> 8 * c & 255) * coefficient;
      }
    }
    __syncthreads();
  }
  if (x >= in.options.width || y >= in.options.height) return;
  std::uint8_t* to = input + (std::int64_t{y} * in.options.width + x) * 3;
  for (int c = 0; c < 3; ++c) {
    const std::int32_t value = shows ? rounded(sums[c]) : in.options.padding;
    to[in.options.swap_channels ? 2 - c : c] = static_cast<std::uint8_t>(value);
  }
}

}  // namespace

ResizeFrame::Axis ResizeFrame::append(std::int32_t source, std::int32_t target,
                                      std::vector<std::int32_t>& tables) {
  const cpu::TriangleAxis axis(source, target);
  const cpu::ResampleTaps taps = axis.taps();
  const std::size_t first = tables.size();
  tables.insert(tables.end(), taps.first, taps.first + taps.outputs);
  const std::size_t coefficients = tables.size();
  tables.insert(tables.end(), taps.coefficients, taps.coefficients + taps.outputs * taps.taps);
  return {static_cast<std::int32_t>(taps.taps), first, coefficients};
}

ResizeFrame::ResizeFrame(const ResizeFrameOptions& options) : options_(options) {
  const Rectangle &shown = options.shown, &target = options.target;
  std::vector<std::int32_t> tables;  // one allocation and one copy: sizes may change often
  columns_ = append(shown.right - shown.left, target.right - target.left, tables);
  rows_ = append(shown.bottom - shown.top, target.bottom - target.top, tables);
  tables_ = DeviceArray<std::int32_t>(tables);
}

void ResizeFrame::run(const DeviceFrame& frame, const YuvCoefficients& yuv, std::uint8_t* input,
                      Stream stream) const {
  const Rectangle& shown = options_.shown;
  const std::int32_t* const tables = tables_.get();
  const auto taps = [&](const Axis& axis, std::int32_t lines) {
    return Taps{tables + axis.first, tables + axis.coefficients, axis.taps, lines};
  };
  const ResizeIn in = {frame, yuv, options_, taps(columns_, shown.right - shown.left),
                       taps(rows_, shown.bottom - shown.top)};
  const dim3 grid(blocks_for(options_.width, static_cast<std::int32_t>(kTileWidth)),
                  blocks_for(options_.height, static_cast<std::int32_t>(kTileHeight)));
  launch("resize_frame", frame.chroma == nullptr ? resize_kernel<false> : resize_kernel<true>, grid,
         dim3(kTileWidth, kTileHeight), 0, stream, in, input);
}

}  // namespace bas_edge::cuda
