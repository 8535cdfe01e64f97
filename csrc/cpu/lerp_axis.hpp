// The two source cells of every pixel, for a bilinear upsample.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace bas_edge::cpu {

// Pixel p lies between cells left[p] and right[p], `weight` of the way to the right one.
struct LerpAxis {
  LerpAxis(std::int32_t cells, std::int32_t pixels);

  std::vector<std::int32_t> left;   // [pixels]
  std::vector<std::int32_t> right;  // [pixels]
  std::vector<float> weight;        // [pixels]
};

// The same, cut into blocks of `lanes` pixels for Kernels::lerp_columns.
class LerpBlocks {
 public:
  LerpBlocks(std::int32_t cells, std::int32_t pixels, std::int64_t lanes);

  LerpColumns columns() const;
  std::int64_t padded_pixels() const { return static_cast<std::int64_t>(axis_.left.size()); }

 private:
  LerpAxis axis_;                     // padded to whole blocks
  std::vector<std::int32_t> window_;  // [blocks]
};

}  // namespace bas_edge::cpu
