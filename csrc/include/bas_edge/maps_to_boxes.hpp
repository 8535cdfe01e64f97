// Foreground maps to pixels, boxes and masks. reference.py is the definition; results are equal to
// the bit.
#pragma once

#include <cstdint>

namespace bas_edge::cpu {

struct ForegroundMaps {
  const float* data;        // [N, h, w]
  std::int64_t images;      // N
  std::int32_t map_height;  // h
  std::int32_t map_width;   // w
  std::int32_t height;      // H, network pixels
  std::int32_t width;       // W, network pixels
};

enum class Rule {
  kFixed,  // cut = threshold * (max - min)
  kMean,   // cut = threshold * mean(map - min)
};

struct Cut {
  const float* thresholds;  // [N]
  Rule rule;
};

// Bilinear, half-pixel centres, edges clamped, horizontal first: a + weight * (b - a).
//
//   [[[0, 4]]] to 1 x 4  →  [[[0, 1, 3, 4]]]
void upsample_maps(const ForegroundMaps& in,
                   float* pixels,  // [N, H, W]
                   int threads);

struct BoxesOut {
  std::int32_t* boxes;  // [N, max_boxes, 4] xyxy, half-open; unused slots zero
  std::int32_t* areas;  // [N, max_boxes] pixels of the component; unused slots zero
  bool* found;          // [N]
  std::int32_t* count;  // [N] slots in use
};

// Boxes of the largest 8-connected components of the pixels strictly above the cut, ties to the
// first in raster order. None of `min_area` pixels: the whole frame in slot 0, and found = false.
// Throws InputError on a NaN or Inf.
//
//   [[[0, 1], [0, 1]]] at 2 x 2, fixed 0.5  →  box (1, 0, 2, 2), area 2
void maps_to_boxes(const ForegroundMaps& in, const Cut& cut, std::int64_t min_area,
                   std::int64_t max_boxes, const BoxesOut& out, int threads);

// The largest component itself: 1 inside, 0 outside. Throws InputError on a NaN or Inf.
void maps_to_masks(const ForegroundMaps& in, const Cut& cut,
                   bool* masks,  // [N, H, W]
                   int threads);

}  // namespace bas_edge::cpu
