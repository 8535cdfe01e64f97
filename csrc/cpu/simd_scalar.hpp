// The vector type of kernels.cpp without intrinsics. The other simd_*.hpp have the same members.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace bas_edge::cpu::BAS_EDGE_PATH {

struct Floats {
  static constexpr int kLanes = 4;
  float lane[kLanes];

  template <typename Function>
  static Floats each(const Function& function) {
    Floats out;
    for (int i = 0; i < kLanes; ++i) out.lane[i] = function(i);
    return out;
  }
  static Floats load(const float* from) {
    return each([&](int i) { return from[i]; });
  }
  static Floats all(float value) {
    return each([&](int) { return value; });
  }
  void store(float* to) const {
    for (int i = 0; i < kLanes; ++i) to[i] = lane[i];
  }

  // Lane i of the result is lane at[i] of this.
  Floats pick(const std::int32_t* at) const {
    return each([&](int i) { return lane[at[i]]; });
  }
};

inline Floats operator+(Floats a, Floats b) {
  return Floats::each([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline Floats operator-(Floats a, Floats b) {
  return Floats::each([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline Floats operator*(Floats a, Floats b) {
  return Floats::each([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline Floats operator/(Floats a, Floats b) {
  return Floats::each([&](int i) { return a.lane[i] / b.lane[i]; });
}
inline Floats min(Floats a, Floats b) {
  return Floats::each([&](int i) { return b.lane[i] < a.lane[i] ? b.lane[i] : a.lane[i]; });
}
inline Floats max(Floats a, Floats b) {
  return Floats::each([&](int i) { return b.lane[i] > a.lane[i] ? b.lane[i] : a.lane[i]; });
}

// Lane i is yes[i] if a[i] > b[i], else no[i].
inline Floats if_above(Floats a, Floats b, Floats yes, Floats no) {
  return Floats::each([&](int i) { return a.lane[i] > b.lane[i] ? yes.lane[i] : no.lane[i]; });
}

// Bit i is a[i] > b[i].
inline std::uint64_t bits_above(Floats a, Floats b) {
  std::uint64_t bits = 0;
  for (int i = 0; i < Floats::kLanes; ++i) bits |= std::uint64_t{a.lane[i] > b.lane[i]} << i;
  return bits;
}

// The sum over taps of one RGB pixel, for the horizontal pass.
struct PixelSum {
  std::int32_t channel[3] = {};

  struct Coefficients {
    const std::int32_t* tap;
  };
  static Coefficients load(const std::int32_t* coefficients, const std::int16_t*) {
    return {coefficients};
  }

  // Four taps, of adjacent RGB pixels.
  void add(const std::uint8_t* pixels, Coefficients coefficients) {
    for (int tap = 0; tap < 4; ++tap) {
      for (int c = 0; c < 3; ++c) channel[c] += pixels[3 * tap + c] * coefficients.tap[tap];
    }
  }

  // One pixel of each of four rows; writes a fourth byte after it.
  static void store(const PixelSum* sums, std::uint8_t* const* out, std::int64_t at) {
    for (int row = 0; row < 4; ++row) {
      for (int c = 0; c < 3; ++c) {
        const std::int32_t value =
            (sums[row].channel[c] + (1 << (kFractionBits - 1))) >> kFractionBits;
        out[row][at + c] = static_cast<std::uint8_t>(value > 255 ? 255 : value);
      }
    }
  }
};

// The sum over taps of kBytes adjacent bytes, for the vertical pass.
struct ByteSums {
  static constexpr std::int64_t kBytes = 16;
  std::int32_t sum[kBytes] = {};

  // Four taps: the same bytes of four rows.
  void add(const std::uint8_t* const* rows, std::int64_t at, const std::int32_t* coefficients,
           const std::int16_t*) {
    for (int tap = 0; tap < 4; ++tap) {
      for (int i = 0; i < kBytes; ++i) sum[i] += rows[tap][at + i] * coefficients[tap];
    }
  }
  void store(std::uint8_t* out) const {
    for (int i = 0; i < kBytes; ++i) {
      const std::int32_t value = (sum[i] + (1 << (kFractionBits - 1))) >> kFractionBits;
      out[i] = static_cast<std::uint8_t>(value > 255 ? 255 : value);
    }
  }
};

}  // namespace bas_edge::cpu::BAS_EDGE_PATH
