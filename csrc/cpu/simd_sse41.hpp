// SSE4.1: four floats. Members as in simd_scalar.hpp.
#pragma once

#include <smmintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels.hpp"

namespace bas_edge::cpu::BAS_EDGE_PATH {

struct Floats {
  static constexpr int kLanes = 4;
  __m128 v;

  static Floats load(const float* from) { return {_mm_loadu_ps(from)}; }
  static Floats all(float value) { return {_mm_set1_ps(value)}; }
  void store(float* to) const { _mm_storeu_ps(to, v); }
  Floats pick(const std::int32_t* at) const {
    const __m128i lanes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i bytes = _mm_add_epi32(_mm_mullo_epi32(lanes, _mm_set1_epi32(0x04040404)),
                                        _mm_set1_epi32(0x03020100));
    return {_mm_castsi128_ps(_mm_shuffle_epi8(_mm_castps_si128(v), bytes))};
  }
};

inline Floats operator+(Floats a, Floats b) { return {_mm_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm_div_ps(a.v, b.v)}; }
inline Floats min(Floats a, Floats b) { return {_mm_min_ps(a.v, b.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm_max_ps(a.v, b.v)}; }
inline Floats if_above(Floats a, Floats b, Floats yes, Floats no) {
  return {_mm_blendv_ps(no.v, yes.v, _mm_cmpgt_ps(a.v, b.v))};
}
inline std::uint64_t bits_above(Floats a, Floats b) {
  return static_cast<std::uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(a.v, b.v)));
}

// 16-bit multiplies only: each 23-bit coefficient is split in two, summed apart, joined at the end.
// The joined sum fits 31 bits, so wrap-around on the way does no harm.
inline __m128i join_and_round(__m128i low, __m128i high) {
  const __m128i sum = _mm_add_epi32(low, _mm_slli_epi32(high, kLowBits));
  return _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (kFractionBits - 1))),
                        kFractionBits);
}

struct PixelSum {
  __m128i low = _mm_setzero_si128();  // lanes R G B –
  __m128i high = _mm_setzero_si128();

  struct Coefficients {
    __m128i halves;  // low half of taps 0 1 2 3, high half of taps 0 1 2 3
  };
  static Coefficients load(const std::int32_t*, const std::int16_t* halves) {
    return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves))};
  }
  void add(const std::uint8_t* pixels, Coefficients coefficients) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
    const __m128i first = _mm_shuffle_epi8(
        bytes, _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    const __m128i last = _mm_shuffle_epi8(
        bytes, _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
    const __m128i halves = coefficients.halves;
    const __m128i low_first = _mm_madd_epi16(first, _mm_shuffle_epi32(halves, 0x00));
    const __m128i low_last = _mm_madd_epi16(last, _mm_shuffle_epi32(halves, 0x55));
    const __m128i high_first = _mm_madd_epi16(first, _mm_shuffle_epi32(halves, 0xAA));
    const __m128i high_last = _mm_madd_epi16(last, _mm_shuffle_epi32(halves, 0xFF));
    low = _mm_add_epi32(low, _mm_add_epi32(low_first, low_last));
    high = _mm_add_epi32(high, _mm_add_epi32(high_first, high_last));
  }
  static void store(const PixelSum* sums, std::uint8_t* const* out, std::int64_t at) {
    __m128i row[4];
    for (int i = 0; i < 4; ++i) row[i] = join_and_round(sums[i].low, sums[i].high);
    const __m128i bytes =
        _mm_packus_epi16(_mm_packs_epi32(row[0], row[1]), _mm_packs_epi32(row[2], row[3]));
    std::uint8_t pixels[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(pixels), bytes);
    for (int i = 0; i < 4; ++i) std::memcpy(out[i] + at, pixels + 4 * i, 4);
  }
};

struct ByteSums {
  static constexpr std::int64_t kBytes = 8;
  __m128i low[2] = {_mm_setzero_si128(), _mm_setzero_si128()};  // bytes 0–3, 4–7
  __m128i high[2] = {_mm_setzero_si128(), _mm_setzero_si128()};

  static __m128i pair_of(const std::int16_t* halves) {
    std::int32_t pair;
    std::memcpy(&pair, halves, sizeof pair);
    return _mm_set1_epi32(pair);
  }
  void add(const std::uint8_t* const* rows, std::int64_t at, const std::int32_t*,
           const std::int16_t* halves) {
    for (int pair = 0; pair < 2; ++pair) {
      const __m128i a = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows[2 * pair] + at));
      const __m128i b = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows[2 * pair + 1] + at));
      const __m128i bytes = _mm_unpacklo_epi8(a, b);
      const __m128i first = _mm_cvtepu8_epi16(bytes);
      const __m128i last = _mm_unpackhi_epi8(bytes, _mm_setzero_si128());
      const __m128i lows = pair_of(halves + 2 * pair);
      const __m128i highs = pair_of(halves + 4 + 2 * pair);
      low[0] = _mm_add_epi32(low[0], _mm_madd_epi16(first, lows));
      low[1] = _mm_add_epi32(low[1], _mm_madd_epi16(last, lows));
      high[0] = _mm_add_epi32(high[0], _mm_madd_epi16(first, highs));
      high[1] = _mm_add_epi32(high[1], _mm_madd_epi16(last, highs));
    }
  }
  void store(std::uint8_t* out) const {
    const __m128i words =
        _mm_packs_epi32(join_and_round(low[0], high[0]), join_and_round(low[1], high[1]));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(words, words));
  }
};

}  // namespace bas_edge::cpu::BAS_EDGE_PATH
