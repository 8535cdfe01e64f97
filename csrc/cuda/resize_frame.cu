#include <vector>

#include "bas_edge/cuda/resize_frame.hpp"
#include "kernels.hpp"
#include "launch.cuh"
#include "triangle_axis.hpp"

namespace bas_edge::cuda {
namespace {

constexpr unsigned kTileWidth = kWarp, kTileHeight = 8;  // pixels of the input that a block makes
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

template <bool kNv12>
__device__ Rgb pixel_of(const ResizeIn& in, std::int32_t y, std::int32_t x) {
  if (!kNv12) {
    const std::uint8_t* pixel = in.frame.pixels + y * in.frame.pitch + std::int64_t{x} * 3;
    return {{pixel[0], pixel[1], pixel[2]}};
  }
  const std::uint8_t* chroma = in.frame.chroma + y / 2 * in.frame.chroma_pitch + x / 2 * 2;
  constexpr std::int32_t kHalf = 1 << 15;
  const std::int32_t u = chroma[0] - 128, v = chroma[1] - 128;
  const std::int32_t luma =
      (in.frame.pixels[y * in.frame.pitch + x] - in.yuv.offset) * in.yuv.luma + kHalf;
  return {{to_byte((luma + in.yuv.v_to_red * v) >> 16),
           to_byte((luma + in.yuv.u_to_green * u + in.yuv.v_to_green * v) >> 16),
           to_byte((luma + in.yuv.u_to_blue * u) >> 16)}};
}

__device__ std::int32_t rounded(std::int32_t sum) {
  sum = (sum + (1 << (cpu::kFractionBits - 1))) >> cpu::kFractionBits;
  return sum > 255 ? 255 : sum;  // coefficients are not negative
}

// Each block narrows the rows of the frame that its tile needs, a chunk at a time on chip, and
// adds them up: no narrowed frame in memory, and any scale fits.
template <bool kNv12>
__global__ void __launch_bounds__(kTileWidth* kTileHeight)
    resize_kernel(ResizeIn in, std::uint8_t* input) {  // [h, w, 3]
  __shared__ std::uint32_t narrowed[kChunk][kTileWidth];
  const Rectangle& target = in.options.target;
  const std::int32_t x = static_cast<std::int32_t>(blockIdx.x * kTileWidth + threadIdx.x);
  const std::int32_t tile_top = static_cast<std::int32_t>(blockIdx.y * kTileHeight);
  const std::int32_t y = tile_top + static_cast<std::int32_t>(threadIdx.y);
  const bool in_columns = x >= target.left && x < target.right;
  const bool shows = in_columns && y >= target.top && y < target.bottom;

  // Rows of the frame for the whole tile, of what is shown.
  const std::int32_t highest = max(tile_top, target.top) - target.top;
  const std::int32_t lowest =
      min(tile_top + static_cast<std::int32_t>(kTileHeight), target.bottom) - target.top - 1;
  std::int32_t begin = 0, end = 0;
  if (highest <= lowest) {
    begin = in.rows.first[highest];
    end = min(in.rows.first[lowest] + in.rows.taps, in.rows.lines);
  }
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
    for (std::int32_t line = chunk + static_cast<std::int32_t>(threadIdx.y);
         in_columns && line < chunk_end; line += static_cast<std::int32_t>(kTileHeight)) {
      std::int32_t narrow[3] = {};
      for (std::int32_t tap = 0; tap < column_taps; ++tap) {
        const Rgb pixel = pixel_of<kNv12>(in, in.options.shown.top + line,
                                          in.options.shown.left + column_first + tap);
        for (int c = 0; c < 3; ++c) narrow[c] += pixel.channel[c] * column_coefficients[tap];
      }
      narrowed[line - chunk][threadIdx.x] = static_cast<std::uint32_t>(
          rounded(narrow[0]) | rounded(narrow[1]) << 8 | rounded(narrow[2]) << 16);
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

std::vector<std::int32_t> copy_of(const std::int32_t* values, std::int64_t count) {
  return std::vector<std::int32_t>(values, values + count);
}

}  // namespace

ResizeFrame::Axis::Axis(std::int32_t source, std::int32_t target) {
  const cpu::TriangleAxis axis(source, target);
  const cpu::ResampleTaps host = axis.taps();
  taps = static_cast<std::int32_t>(host.taps);
  first = DeviceArray<std::int32_t>(copy_of(host.first, host.outputs));
  coefficients = DeviceArray<std::int32_t>(copy_of(host.coefficients, host.outputs * host.taps));
}

ResizeFrame::ResizeFrame(const ResizeFrameOptions& options)
    : options_(options),
      columns_(options.shown.right - options.shown.left,
               options.target.right - options.target.left),
      rows_(options.shown.bottom - options.shown.top, options.target.bottom - options.target.top) {}

void ResizeFrame::run(const DeviceFrame& frame, const YuvCoefficients& yuv, std::uint8_t* input,
                      Stream stream) const {
  const Rectangle& shown = options_.shown;
  const ResizeIn in = {
      frame,
      yuv,
      options_,
      {columns_.first.get(), columns_.coefficients.get(), columns_.taps, shown.right - shown.left},
      {rows_.first.get(), rows_.coefficients.get(), rows_.taps, shown.bottom - shown.top}};
  const dim3 grid(blocks_for(options_.width, static_cast<std::int32_t>(kTileWidth)),
                  blocks_for(options_.height, static_cast<std::int32_t>(kTileHeight)));
  launch("resize_frame", frame.chroma == nullptr ? resize_kernel<false> : resize_kernel<true>, grid,
         dim3(kTileWidth, kTileHeight), 0, stream, in, input);
}

}  // namespace bas_edge::cuda
