// Scores of classes to the class of every pixel. reference.py is the definition; results are equal
// to the bit.
#pragma once

#include <cstdint>

namespace bas_edge::cpu {

struct ClassScores {
  const float* data;        // [N, K, h, w]
  std::int64_t images;      // N
  std::int32_t classes;     // K, 1 to 255
  std::int32_t map_height;  // h
  std::int32_t map_width;   // w
  std::int32_t height;      // H, network pixels
  std::int32_t width;       // W, network pixels
};

// Boxes are xyxy, half-open, around the largest 8-connected part of each class, ties to the first
// in raster order; zeros for a class without a pixel.
struct ClassMasksOut {
  std::uint8_t* masks;  // [N, H, W]
  std::int32_t* areas;  // [N, K] pixels of each class
  std::int32_t* boxes;  // [N, K, 4]
};

// Each pixel is the class whose upsampled score is highest there, ties to the lower class; the
// arithmetic is that of upsample_maps, which is never held in memory. Throws InputError on a NaN,
// an Inf, or a score of 2^126 or more in size.
//
//   [[[[0, 0]], [[-2, 2]]]] to 1 x 4  →  mask [[0 0 1 1]], areas [2 2], box of class 1 (2, 0, 4, 1)
void scores_to_masks(const ClassScores& in, const ClassMasksOut& out, int threads);

}  // namespace bas_edge::cpu
