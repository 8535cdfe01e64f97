#include "lerp_axis.hpp"

#include <algorithm>

namespace bas_edge::cpu {

LerpAxis::LerpAxis(std::int32_t cells, std::int32_t pixels)
    : left(static_cast<std::size_t>(pixels)),
      right(static_cast<std::size_t>(pixels)),
      weight(static_cast<std::size_t>(pixels)) {
  const double scale = static_cast<double>(cells) / pixels;
  for (std::int32_t pixel = 0; pixel < pixels; ++pixel) {
    const auto at = static_cast<std::size_t>(pixel);
    const double centre = (pixel + 0.5) * scale - 0.5;  // in cells
    const std::int32_t whole = static_cast<std::int32_t>(centre);
    const std::int32_t cell = whole > centre ? whole - 1 : whole;  // floor
    const bool outside = cell < 0 || cell >= cells - 1;
    left[at] = std::clamp(cell, 0, cells - 1);
    right[at] = std::min(left[at] + 1, cells - 1);
    weight[at] = outside ? 0.0f : static_cast<float>(centre - cell);
  }
}

LerpBlocks::LerpBlocks(std::int32_t cells, std::int32_t pixels, std::int64_t lanes)
    : axis_(cells, pixels) {
  const std::int64_t blocks = (pixels + lanes - 1) / lanes;
  const auto padded = static_cast<std::size_t>(blocks * lanes);
  axis_.left.resize(padded, axis_.left.back());
  axis_.right.resize(padded, axis_.right.back());
  axis_.weight.resize(padded, axis_.weight.back());
  window_.resize(static_cast<std::size_t>(blocks), kNoWindow);
  if (cells < lanes) return;  // a window would read past the row
  const std::int32_t last_window = cells - static_cast<std::int32_t>(lanes);
  for (std::size_t block = 0; block < window_.size(); ++block) {
    const std::size_t first = block * static_cast<std::size_t>(lanes);
    const std::size_t end = first + static_cast<std::size_t>(lanes);
    const std::int32_t window = std::min(axis_.left[first], last_window);
    if (axis_.right[end - 1] - window >= lanes) continue;
    window_[block] = window;
    for (std::size_t at = first; at < end; ++at) {
      axis_.left[at] -= window;
      axis_.right[at] -= window;
    }
  }
}

LerpColumns LerpBlocks::columns() const {
  return {axis_.left.data(), axis_.right.data(), axis_.weight.data(), window_.data(),
          static_cast<std::int64_t>(window_.size())};
}

}  // namespace bas_edge::cpu
