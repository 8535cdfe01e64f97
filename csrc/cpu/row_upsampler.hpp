// Pixel rows of an upsampled map, one after the other, without the whole map in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "bas_edge/maps_to_boxes.hpp"
#include "kernels.hpp"
#include "lerp_axis.hpp"

namespace bas_edge::cpu {

// What depends on sizes alone; shared by the threads of a call.
struct UpsamplePlan {
  UpsamplePlan(const ForegroundMaps& in, const Kernels& set)
      : kernels(set),
        map_width(in.map_width),
        rows(in.map_height, in.height),
        columns(in.map_width, in.width, set.lanes) {}

  const Kernels& kernels;
  std::int64_t map_width;  // w
  LerpAxis rows;           // [H]
  LerpBlocks columns;      // [W]
};

// Pixel row y is top + weight * (bottom - top).
struct RowPair {
  const float* top;     // [W], padded to kMaxLanes
  const float* bottom;  // [W], padded to kMaxLanes
  float weight;
};

class RowUpsampler {
 public:
  explicit RowUpsampler(const UpsamplePlan& plan);

  void start(const float* map);  // [h, w]
  RowPair row(std::int32_t y);   // y must not decrease; the pair is valid until the next call

 private:
  const float* widened(std::int32_t map_row);

  const UpsamplePlan& plan_;
  const float* map_ = nullptr;
  std::int64_t stride_;
  std::vector<float> buffer_;        // [2, stride]: map row r, widened to W, is in half r % 2
  std::int32_t held_[2] = {-1, -1};  // which map row each half holds
};

}  // namespace bas_edge::cpu
