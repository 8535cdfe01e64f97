// NEON on aarch64: four floats. Members as in simd_scalar.hpp.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "kernels.hpp"

namespace bas_edge::cpu::BAS_EDGE_PATH {

struct Floats {
  static constexpr int kLanes = 4;
  float32x4_t v;

  static Floats load(const float* from) { return {vld1q_f32(from)}; }
  static Floats all(float value) { return {vdupq_n_f32(value)}; }
  void store(float* to) const { vst1q_f32(to, v); }
  Floats pick(const std::int32_t* at) const {
    const uint32x4_t lanes = vreinterpretq_u32_s32(vld1q_s32(at));
    const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), lanes, 0x04040404);
    return {vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(v), vreinterpretq_u8_u32(bytes)))};
  }
};

inline Floats operator+(Floats a, Floats b) { return {vaddq_f32(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {vsubq_f32(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {vmulq_f32(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {vdivq_f32(a.v, b.v)}; }
inline Floats min(Floats a, Floats b) { return {vminq_f32(a.v, b.v)}; }
inline Floats max(Floats a, Floats b) { return {vmaxq_f32(a.v, b.v)}; }
inline Floats if_above(Floats a, Floats b, Floats yes, Floats no) {
  return {vbslq_f32(vcgtq_f32(a.v, b.v), yes.v, no.v)};
}
inline std::uint64_t bits_above(Floats a, Floats b) {
  const std::uint32_t kBits[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgtq_f32(a.v, b.v), vld1q_u32(kBits)));
}

struct PixelSum {
  uint32x4_t sum = vdupq_n_u32(0);  // lanes R G B –

  struct Coefficients {
    uint32x4_t taps;
  };
  static Coefficients load(const std::int32_t* coefficients, const std::int16_t*) {
    return {vreinterpretq_u32_s32(vld1q_s32(coefficients))};
  }
  void add(const std::uint8_t* pixels, Coefficients coefficients) {
    // Zero-extends three bytes of pixel 0 to lanes; adding 3 to the used bytes gives pixel 1.
    const std::uint8_t kFirst[16] = {0, 255, 255, 255, 1,   255, 255, 255,
                                     2, 255, 255, 255, 255, 255, 255, 255};
    const std::uint8_t kNext[16] = {3, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0};
    const uint8x16_t bytes = vld1q_u8(pixels);
    const uint8x16_t next = vld1q_u8(kNext);
    const uint8x16_t pixel0 = vld1q_u8(kFirst);
    const uint8x16_t pixel1 = vaddq_u8(pixel0, next);
    const uint8x16_t pixel2 = vaddq_u8(pixel1, next);
    const uint8x16_t pixel3 = vaddq_u8(pixel2, next);
    const auto lanes = [&](uint8x16_t at) { return vreinterpretq_u32_u8(vqtbl1q_u8(bytes, at)); };
    sum = vmlaq_laneq_u32(sum, lanes(pixel0), coefficients.taps, 0);
    sum = vmlaq_laneq_u32(sum, lanes(pixel1), coefficients.taps, 1);
    sum = vmlaq_laneq_u32(sum, lanes(pixel2), coefficients.taps, 2);
    sum = vmlaq_laneq_u32(sum, lanes(pixel3), coefficients.taps, 3);
  }
  static void store(const PixelSum* sums, std::uint8_t* const* out, std::int64_t at) {
    for (int row = 0; row < 4; ++row) {
      const uint16x4_t words = vqmovn_u32(vrshrq_n_u32(sums[row].sum, kFractionBits));
      const uint8x8_t bytes = vqmovn_u16(vcombine_u16(words, words));
      out[row][at + 0] = vget_lane_u8(bytes, 0);
      out[row][at + 1] = vget_lane_u8(bytes, 1);
      out[row][at + 2] = vget_lane_u8(bytes, 2);
    }
  }
};

struct ByteSums {
  static constexpr std::int64_t kBytes = 8;
  uint32x4_t sum[2] = {vdupq_n_u32(0), vdupq_n_u32(0)};  // bytes 0–3, 4–7

  void add(const std::uint8_t* const* rows, std::int64_t at, const std::int32_t* coefficients,
           const std::int16_t*) {
    for (int tap = 0; tap < 4; ++tap) {
      const uint16x8_t words = vmovl_u8(vld1_u8(rows[tap] + at));
      const std::uint32_t coefficient = static_cast<std::uint32_t>(coefficients[tap]);
      sum[0] = vmlaq_n_u32(sum[0], vmovl_u16(vget_low_u16(words)), coefficient);
      sum[1] = vmlaq_n_u32(sum[1], vmovl_high_u16(words), coefficient);
    }
  }
  void store(std::uint8_t* out) const {
    const uint16x4_t first = vqmovn_u32(vrshrq_n_u32(sum[0], kFractionBits));
    const uint16x4_t last = vqmovn_u32(vrshrq_n_u32(sum[1], kFractionBits));
    vst1_u8(out, vqmovn_u16(vcombine_u16(first, last)));
  }
};

}  // namespace bas_edge::cpu::BAS_EDGE_PATH
