// Coefficients of the triangle filter along one axis, in Pillow's fixed point.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace bas_edge::cpu {

class TriangleAxis {
 public:
  TriangleAxis(std::int32_t source, std::int32_t target);

  ResampleTaps taps() const;

 private:
  std::int64_t taps_ = 0;                   // of the widest output, rounded up to 4
  std::vector<std::int32_t> first_;         // [target]
  std::vector<std::int32_t> coefficients_;  // [target, taps]
  std::vector<std::int16_t> halves_;        // [target, taps / 4, 2, 4]
};

}  // namespace bas_edge::cpu
