// AVX2: eight floats. Compiled without FMA. Members as in simd_scalar.hpp.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels.hpp"

namespace bas_edge::cpu::BAS_EDGE_PATH {

struct Floats {
  static constexpr int kLanes = 8;
  __m256 v;

  static Floats load(const float* from) { return {_mm256_loadu_ps(from)}; }
  static Floats all(float value) { return {_mm256_set1_ps(value)}; }
  void store(float* to) const { _mm256_storeu_ps(to, v); }
  Floats pick(const std::int32_t* at) const {
    return {_mm256_permutevar8x32_ps(v, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)))};
  }
};

inline Floats operator+(Floats a, Floats b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Floats min(Floats a, Floats b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Floats if_above(Floats a, Floats b, Floats yes, Floats no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ))};
}
inline std::uint64_t bits_above(Floats a, Floats b) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)));
}

// 16-bit multiplies only: each 23-bit coefficient is split in two, summed apart, joined at the end.
// The joined sum fits 31 bits, so wrap-around on the way does no harm.
inline __m256i join_and_round(__m256i low, __m256i high) {
  const __m256i sum = _mm256_add_epi32(low, _mm256_slli_epi32(high, kLowBits));
  return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << (kFractionBits - 1))),
                           kFractionBits);
}

struct PixelSum {
  // Lanes R G B – of taps 0 and 1 in the lower half, of taps 2 and 3 in the upper.
  __m256i low = _mm256_setzero_si256();
  __m256i high = _mm256_setzero_si256();

  struct Coefficients {
    __m256i low, high;
  };
  static Coefficients load(const std::int32_t*, const std::int16_t* halves) {
    const __m256i both =
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
    return {_mm256_permutevar8x32_epi32(both, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)),
            _mm256_permutevar8x32_epi32(both, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3))};
  }
  void add(const std::uint8_t* pixels, Coefficients coefficients) {
    const __m256i kPairs =
        _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                         -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i bytes =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels)));
    const __m256i pairs = _mm256_shuffle_epi8(bytes, kPairs);
    low = _mm256_add_epi32(low, _mm256_madd_epi16(pairs, coefficients.low));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(pairs, coefficients.high));
  }
  static void store(const PixelSum* sums, std::uint8_t* const* out, std::int64_t at) {
    __m128i row[4];
    for (int i = 0; i < 4; ++i) {
      const __m256i parts =
          _mm256_add_epi32(sums[i].low, _mm256_slli_epi32(sums[i].high, kLowBits));
      const __m128i sum =
          _mm_add_epi32(_mm256_castsi256_si128(parts), _mm256_extracti128_si256(parts, 1));
      row[i] = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (kFractionBits - 1))),
                              kFractionBits);
    }
    const __m128i bytes =
        _mm_packus_epi16(_mm_packs_epi32(row[0], row[1]), _mm_packs_epi32(row[2], row[3]));
    std::uint8_t pixels[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(pixels), bytes);
    for (int i = 0; i < 4; ++i) std::memcpy(out[i] + at, pixels + 4 * i, 4);
  }
};

struct ByteSums {
  static constexpr std::int64_t kBytes = 16;
  // In the order that unpacking leaves: bytes 0–3 and 4–7, then 8–11 and 12–15.
  __m256i low[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};

  static __m256i pair_of(const std::int16_t* halves) {
    std::int32_t pair;
    std::memcpy(&pair, halves, sizeof pair);
    return _mm256_set1_epi32(pair);
  }
  void add(const std::uint8_t* const* rows, std::int64_t at, const std::int32_t*,
           const std::int16_t* halves) {
    for (int pair = 0; pair < 2; ++pair) {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[2 * pair] + at));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[2 * pair + 1] + at));
      const __m256i first = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
      const __m256i last = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
      const __m256i lows = pair_of(halves + 2 * pair);
      const __m256i highs = pair_of(halves + 4 + 2 * pair);
      low[0] = _mm256_add_epi32(low[0], _mm256_madd_epi16(first, lows));
      low[1] = _mm256_add_epi32(low[1], _mm256_madd_epi16(last, lows));
      high[0] = _mm256_add_epi32(high[0], _mm256_madd_epi16(first, highs));
      high[1] = _mm256_add_epi32(high[1], _mm256_madd_epi16(last, highs));
    }
  }
  void store(std::uint8_t* out) const {
    const __m256i words =  // bytes 0–3, 8–11 | 4–7, 12–15
        _mm256_packs_epi32(join_and_round(low[0], high[0]), join_and_round(low[1], high[1]));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(out),
        _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
  }
};

}  // namespace bas_edge::cpu::BAS_EDGE_PATH
