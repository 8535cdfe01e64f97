// The inner loops of the ops, one set per instruction set.
//
// kernels.cpp is compiled once for each, with that set's compiler flags. It must therefore use
// nothing that emits an inline function with external linkage (no <algorithm>, no <vector>): the
// linker keeps one copy of those, which might be the one with instructions this machine lacks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bas_edge::cpu {

// Row buffers that kernels read or write in whole vectors are padded to a multiple of this.
constexpr std::int64_t kMaxLanes = 16;

// Scratch rows of bytes may be read, and resampled rows written, this far past their end.
constexpr std::int64_t kBytePadding = 32;

// Columns of pixels whose classes are found together, a multiple of kMaxLanes.
constexpr std::int64_t kTilePixels = 32;

constexpr std::int64_t kMaxClasses = 256;  // a mask's byte tells apart

struct Extent {
  float lo;
  float hi;
  bool finite;  // false: a NaN or Inf, and lo and hi mean nothing
};

// The horizontal half of a bilinear upsample, in blocks of Kernels::lanes pixels.
struct LerpColumns {
  const std::int32_t* left;    // [blocks * lanes] cell, counted from the block's window
  const std::int32_t* right;   // [blocks * lanes]
  const float* weight;         // [blocks * lanes] of the right cell
  const std::int32_t* window;  // [blocks] first of the `lanes` cells a block reads, or kNoWindow:
  std::int64_t blocks;         // then left and right count from cell 0
};
constexpr std::int32_t kNoWindow = -1;

// One axis of the triangle filter; taps beyond an output's support have coefficient 0.
struct ResampleTaps {
  const std::int32_t* first;         // [outputs] first source line
  const std::int32_t* coefficients;  // [outputs, taps] fixed point, kFractionBits
  const std::int16_t* halves;  // [outputs, taps / 4, 2, 4] the same, low 15 bits then the rest
  std::int64_t outputs;
  std::int64_t taps;  // a multiple of 4
};
constexpr int kFractionBits = 22;
constexpr int kLowBits = 15;

struct Kernels {
  const char* name;
  std::int64_t lanes;  // floats in a vector

  // mean[i] = (((maps[0][i] + maps[1][i]) + …) / k
  void (*mean_of_maps)(const float* const* maps,  // [k] of [cells]
                       std::int64_t k, std::int64_t cells, float* mean);

  Extent (*extent)(const float* map, std::int64_t cells);

  // pixels[x] = a + weight * (b - a), with a and b the two cells of x
  void (*lerp_columns)(const float* cells, const LerpColumns& columns,
                       float* pixels);  // [blocks * lanes]

  // out[x] = top[x] + weight * (bottom[x] - top[x])
  void (*lerp_rows)(const float* top, const float* bottom, float weight, std::int64_t width,
                    float* out);  // [width]

  // Bit x of `bits` = (lerp of top[x] and bottom[x]) - lo > cut. Rows are padded to kMaxLanes;
  // bits at and beyond `width` are 0.
  void (*threshold_rows)(const float* top, const float* bottom, float weight, std::int64_t width,
                         float lo, float cut,
                         std::uint64_t* bits);  // [ceil(width / 64)]

  // Which classes may be the highest of `cells` adjacent cells of two rows of a map: bit k is 0 if
  // `margin` more would not take class k at its greatest up to another at its least.
  void (*contenders)(const float* top,     // [cells, stride], classes adjacent, padded with -inf
                     const float* bottom,  // [cells, stride]
                     std::int64_t cells, std::int64_t stride, float margin,
                     std::uint64_t* bits);  // [ceil(stride / 64)]

  // The class whose lerp of its rows in `tops` and `bottoms` is highest, of equals the first.
  void (*argmax_rows)(const float* tops,     // [count, kTilePixels]
                      const float* bottoms,  // [count, kTilePixels]
                      float weight,
                      const std::uint8_t* classes,  // [count]
                      std::int64_t count,
                      std::uint8_t* best);  // [kTilePixels] of `classes`

  // Horizontal pass of four rows at once. Reads each row up to its last tap + kBytePadding, writes
  // three bytes for each output and one more.
  void (*resample_columns)(const std::uint8_t* const* rows,  // [4]
                           const ResampleTaps& taps,
                           std::uint8_t* const* out);  // [4] of [outputs, 3]

  // Vertical pass: one output row, of which `rows` are the source rows of its taps.
  void (*resample_rows)(const std::uint8_t* const* rows,  // [taps] of [bytes]
                        const ResampleTaps& taps, std::int64_t output, std::int64_t bytes,
                        std::uint8_t* out);  // [bytes]
};

}  // namespace bas_edge::cpu
