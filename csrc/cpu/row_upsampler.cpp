#include "row_upsampler.hpp"

namespace bas_edge::cpu {

RowUpsampler::RowUpsampler(const UpsamplePlan& plan)
    : plan_(plan),
      stride_((plan.columns.padded_pixels() + kMaxLanes - 1) / kMaxLanes * kMaxLanes),
      buffer_(static_cast<std::size_t>(2 * stride_)) {}

void RowUpsampler::start(const float* map) {
  map_ = map;
  held_[0] = held_[1] = -1;
}

RowPair RowUpsampler::row(std::int32_t y) {
  const auto at = static_cast<std::size_t>(y);
  return {widened(plan_.rows.left[at]), widened(plan_.rows.right[at]), plan_.rows.weight[at]};
}

const float* RowUpsampler::widened(std::int32_t map_row) {
  const std::int32_t half = map_row % 2;
  float* const row = buffer_.data() + half * stride_;
  if (held_[half] != map_row) {
    plan_.kernels.lerp_columns(map_ + map_row * plan_.map_width, plan_.columns.columns(), row);
    held_[half] = map_row;
  }
  return row;
}

}  // namespace bas_edge::cpu
