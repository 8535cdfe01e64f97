// One set of kernels; CMake compiles this file for each. BAS_EDGE_PATH is the set's
// namespace, BAS_EDGE_PATH_NAME what users call it, BAS_EDGE_SIMD the header of its vectors. See
// kernels.hpp for what each does.
#include "kernels.hpp"

#include BAS_EDGE_SIMD

namespace bas_edge::cpu::BAS_EDGE_PATH {
namespace {

constexpr std::int64_t kLanes = Floats::kLanes;
static_assert(kMaxLanes % kLanes == 0 && 64 % kLanes == 0 && kTilePixels % kLanes == 0);

void mean_of_maps(const float* const* maps, std::int64_t k, std::int64_t cells, float* mean) {
  constexpr std::int64_t kVectors = 8;  // sums held in registers while the maps go by
  const float divisor = static_cast<float>(k);
  std::int64_t at = 0;
  for (; at + kVectors * kLanes <= cells; at += kVectors * kLanes) {
    Floats sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = Floats::load(maps[0] + at + v * kLanes);
    for (std::int64_t map = 1; map < k; ++map) {
      const float* from = maps[map] + at;
      for (int v = 0; v < kVectors; ++v) sum[v] = sum[v] + Floats::load(from + v * kLanes);
    }
    for (int v = 0; v < kVectors; ++v)
      (sum[v] / Floats::all(divisor)).store(mean + at + v * kLanes);
  }
  for (; at < cells; ++at) {
    float sum = maps[0][at];
    for (std::int64_t map = 1; map < k; ++map) sum += maps[map][at];
    mean[at] = sum / divisor;
  }
}

Extent extent(const float* map, std::int64_t cells) {
  Extent found = {map[0], map[0], true};
  float zero = 0;  // NaN times 0 and Inf times 0 are NaN, and stay so in a sum
  std::int64_t at = 0;
  if (cells >= kLanes) {
    Floats lo = Floats::load(map), hi = lo, zeros = Floats::all(0);
    for (; at + kLanes <= cells; at += kLanes) {
      const Floats values = Floats::load(map + at);
      lo = min(lo, values);
      hi = max(hi, values);
      zeros = zeros + values * Floats::all(0);
    }
    float los[kLanes], his[kLanes], zero_lanes[kLanes];
    lo.store(los);
    hi.store(his);
    zeros.store(zero_lanes);
    for (int i = 0; i < kLanes; ++i) {
      found.lo = los[i] < found.lo ? los[i] : found.lo;
      found.hi = his[i] > found.hi ? his[i] : found.hi;
      zero += zero_lanes[i];
    }
  }
  for (; at < cells; ++at) {
    found.lo = map[at] < found.lo ? map[at] : found.lo;
    found.hi = map[at] > found.hi ? map[at] : found.hi;
    zero += map[at] * 0;
  }
  found.finite = zero == 0;
  return found;
}

inline Floats lerp(Floats a, Floats b, Floats weight) { return a + weight * (b - a); }

void lerp_columns(const float* cells, const LerpColumns& columns, float* pixels) {
  for (std::int64_t block = 0; block < columns.blocks; ++block) {
    const std::int64_t at = block * kLanes;
    const std::int32_t* left = columns.left + at;
    const std::int32_t* right = columns.right + at;
    Floats a, b;
    if (columns.window[block] != kNoWindow) {
      const Floats window = Floats::load(cells + columns.window[block]);
      a = window.pick(left);
      b = window.pick(right);
    } else {
      float lefts[kLanes], rights[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        lefts[i] = cells[left[i]];
        rights[i] = cells[right[i]];
      }
      a = Floats::load(lefts);
      b = Floats::load(rights);
    }
    lerp(a, b, Floats::load(columns.weight + at)).store(pixels + at);
  }
}

void lerp_rows(const float* top, const float* bottom, float weight, std::int64_t width,
               float* out) {
  std::int64_t x = 0;
  for (; x + kLanes <= width; x += kLanes) {
    lerp(Floats::load(top + x), Floats::load(bottom + x), Floats::all(weight)).store(out + x);
  }
  for (; x < width; ++x) out[x] = top[x] + weight * (bottom[x] - top[x]);
}

void threshold_rows(const float* top, const float* bottom, float weight, std::int64_t width,
                    float lo, float cut, std::uint64_t* bits) {
  const Floats weights = Floats::all(weight), los = Floats::all(lo), cuts = Floats::all(cut);
  for (std::int64_t start = 0; start < width; start += 64) {
    const std::int64_t count = width - start < 64 ? width - start : 64;
    std::uint64_t word = 0;
    for (std::int64_t i = 0; i < count; i += kLanes) {
      const Floats a = Floats::load(top + start + i);
      const Floats b = Floats::load(bottom + start + i);
      word |= bits_above(lerp(a, b, weights) - los, cuts) << i;
    }
    bits[start / 64] = count == 64 ? word : word & ((std::uint64_t{1} << count) - 1);
  }
}

void contenders(const float* top, const float* bottom, std::int64_t cells, std::int64_t stride,
                float margin, std::uint64_t* bits) {
  float greatest[kMaxClasses];
  Floats least = Floats::load(top);  // of the class that has the most there
  for (std::int64_t label = 0; label < stride; label += kLanes) {
    Floats lo = Floats::load(top + label), hi = lo;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const Floats a = Floats::load(top + cell * stride + label);
      const Floats b = Floats::load(bottom + cell * stride + label);
      lo = min(lo, min(a, b));
      hi = max(hi, max(a, b));
    }
    hi.store(greatest + label);
    least = label == 0 ? lo : max(least, lo);
  }
  float leasts[kLanes];
  least.store(leasts);
  float floor = leasts[0];
  for (int i = 1; i < kLanes; ++i) floor = leasts[i] > floor ? leasts[i] : floor;
  const Floats floors = Floats::all(floor - margin);
  for (std::int64_t start = 0; start < stride; start += 64) {
    const std::int64_t count = stride - start < 64 ? stride - start : 64;
    std::uint64_t below = 0;
    for (std::int64_t i = 0; i < count; i += kLanes) {
      below |= bits_above(floors, Floats::load(greatest + start + i)) << i;
    }
    bits[start / 64] = count == 64 ? ~below : ~below & ((std::uint64_t{1} << count) - 1);
  }
}

void argmax_rows(const float* tops, const float* bottoms, float weight, const std::uint8_t* classes,
                 std::int64_t count, std::uint8_t* best) {
  const Floats weights = Floats::all(weight);
  float labels[kTilePixels];
  for (std::int64_t x = 0; x < kTilePixels; x += kLanes) {
    Floats highest = lerp(Floats::load(tops + x), Floats::load(bottoms + x), weights);
    Floats label = Floats::all(classes[0]);
    for (std::int64_t i = 1; i < count; ++i) {
      const std::int64_t at = i * kTilePixels + x;
      const Floats value = lerp(Floats::load(tops + at), Floats::load(bottoms + at), weights);
      label = if_above(value, highest, Floats::all(classes[i]), label);
      highest = max(highest, value);
    }
    label.store(labels + x);
  }
  for (std::int64_t x = 0; x < kTilePixels; ++x) best[x] = static_cast<std::uint8_t>(labels[x]);
}

void resample_columns(const std::uint8_t* const* rows, const ResampleTaps& taps,
                      std::uint8_t* const* out) {
  for (std::int64_t x = 0; x < taps.outputs; ++x) {
    const std::int32_t* coefficients = taps.coefficients + x * taps.taps;
    const std::int16_t* halves = taps.halves + x * taps.taps * 2;
    PixelSum sums[4];
    for (std::int64_t tap = 0; tap < taps.taps; tap += 4) {
      const auto four = PixelSum::load(coefficients + tap, halves + tap * 2);
      const std::int64_t at = 3 * (taps.first[x] + tap);
      for (int row = 0; row < 4; ++row) sums[row].add(rows[row] + at, four);
    }
    PixelSum::store(sums, out, 3 * x);
  }
}

inline void resample_bytes(const std::uint8_t* const* rows, const std::int32_t* coefficients,
                           const std::int16_t* halves, std::int64_t taps, std::int64_t at,
                           std::uint8_t* out) {
  ByteSums sums;
  for (std::int64_t tap = 0; tap < taps; tap += 4) {
    sums.add(rows + tap, at, coefficients + tap, halves + tap * 2);
  }
  sums.store(out + at);
}

void resample_rows(const std::uint8_t* const* rows, const ResampleTaps& taps, std::int64_t output,
                   std::int64_t bytes, std::uint8_t* out) {
  const std::int32_t* coefficients = taps.coefficients + output * taps.taps;
  const std::int16_t* halves = taps.halves + output * taps.taps * 2;
  std::int64_t at = 0;
  for (; at + ByteSums::kBytes <= bytes; at += ByteSums::kBytes) {
    resample_bytes(rows, coefficients, halves, taps.taps, at, out);
  }
  for (; at < bytes; ++at) {
    std::int32_t sum = 1 << (kFractionBits - 1);
    for (std::int64_t tap = 0; tap < taps.taps; ++tap) sum += rows[tap][at] * coefficients[tap];
    sum >>= kFractionBits;
    out[at] = static_cast<std::uint8_t>(sum > 255 ? 255 : sum);
  }
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {
    BAS_EDGE_PATH_NAME, kLanes,     mean_of_maps, extent,           lerp_columns,  lerp_rows,
    threshold_rows,     contenders, argmax_rows,  resample_columns, resample_rows,
};

}  // namespace bas_edge::cpu::BAS_EDGE_PATH
