#include "triangle_axis.hpp"

#include <algorithm>
#include <cmath>

namespace bas_edge::cpu {

TriangleAxis::TriangleAxis(std::int32_t source, std::int32_t target)
    : first_(static_cast<std::size_t>(target)) {
  const double scale = static_cast<double>(source) / target;
  const double support = std::max(scale, 1.0);  // half the triangle's base, in source lines
  const double slope = 1.0 / support;
  const auto first_of = [&](double centre) {
    return std::max(static_cast<std::int32_t>(centre - support + 0.5), 0);
  };
  const auto end_of = [&](double centre) {
    return std::min(static_cast<std::int32_t>(centre + support + 0.5), source);
  };

  std::int32_t widest = 0;
  for (std::int32_t line = 0; line < target; ++line) {
    const double centre = (line + 0.5) * scale;
    first_[static_cast<std::size_t>(line)] = first_of(centre);
    widest = std::max(widest, end_of(centre) - first_of(centre));
  }
  taps_ = (std::int64_t{widest} + 3) / 4 * 4;
  coefficients_.resize(static_cast<std::size_t>(target * taps_));
  halves_.resize(coefficients_.size() * 2);

  std::vector<double> heights(static_cast<std::size_t>(taps_));
  for (std::int32_t line = 0; line < target; ++line) {
    const double centre = (line + 0.5) * scale;
    const std::int32_t first = first_of(centre), count = end_of(centre) - first;
    double total = 0;
    for (std::int32_t tap = 0; tap < count; ++tap) {
      const double distance = std::abs((first + tap - centre + 0.5) * slope);
      const double height = std::max(1.0 - distance, 0.0);
      heights[static_cast<std::size_t>(tap)] = height;
      total += height;
    }
    std::int32_t* coefficients = coefficients_.data() + line * taps_;
    std::int16_t* halves = halves_.data() + line * taps_ * 2;
    for (std::int32_t tap = 0; tap < count; ++tap) {
      const double share = heights[static_cast<std::size_t>(tap)] / total;
      const auto fixed = static_cast<std::int32_t>(0.5 + share * (1 << kFractionBits));
      coefficients[tap] = fixed;
      std::int16_t* pair = halves + tap / 4 * 8 + tap % 4;
      pair[0] = static_cast<std::int16_t>(fixed & ((1 << kLowBits) - 1));
      pair[4] = static_cast<std::int16_t>(fixed >> kLowBits);
    }
  }
}

ResampleTaps TriangleAxis::taps() const {
  return {first_.data(), coefficients_.data(), halves_.data(),
          static_cast<std::int64_t>(first_.size()), taps_};
}

}  // namespace bas_edge::cpu
