#include "bas_edge/aggregate_maps.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "active_kernels.hpp"
#include "bas_edge/input_error.hpp"
#include "batch.hpp"

namespace bas_edge::cpu {
namespace {

// Ascending keys are descending scores, then ascending classes.
std::uint64_t rank_key(float score, std::int64_t label) {
  const float canonical = score == 0 ? 0.0f : score;  // -0 ties with 0
  std::uint32_t bits;
  std::memcpy(&bits, &canonical, sizeof bits);
  const std::uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return std::uint64_t{~ascending} << 32 | static_cast<std::uint64_t>(label);
}

// The first k keys become those of the k best classes, best first.
void rank_classes(const float* scores, std::int64_t k, std::vector<std::uint64_t>& keys) {
  for (std::size_t label = 0; label < keys.size(); ++label) {
    keys[label] = rank_key(scores[label], static_cast<std::int64_t>(label));
  }
  const auto end = keys.begin() + k;
  if (end != keys.end()) std::nth_element(keys.begin(), end, keys.end());
  std::sort(keys.begin(), end);
}

}  // namespace

void aggregate_maps(const ClassMaps& in, std::int64_t k, float* foreground, int threads) {
  const Kernels& set = kernels();
  for_each_range(in.images, threads, [&](std::int64_t first, std::int64_t end) {
    std::vector<std::uint64_t> keys(static_cast<std::size_t>(in.classes));
    std::vector<const float*> selected(static_cast<std::size_t>(k));
    for (std::int64_t image = first; image < end; ++image) {
      const float* scores = in.scores + image * in.classes;
      const float* maps = in.maps + image * in.classes * in.cells;
      float* mean = foreground + image * in.cells;
      if (std::any_of(scores, scores + in.classes, [](float s) { return std::isnan(s); })) {
        throw InputError("scores[" + std::to_string(image) + "] holds NaN");
      }
      rank_classes(scores, k, keys);
      for (std::size_t i = 0; i < selected.size(); ++i) {
        selected[i] = maps + static_cast<std::int64_t>(keys[i] & 0xffffffffu) * in.cells;
      }
      set.mean_of_maps(selected.data(), k, in.cells, mean);
      if (!set.extent(mean, in.cells).finite) {
        throw InputError("the mean of the selected maps[" + std::to_string(image) +
                         "] is not finite: they hold NaN or Inf, or sum beyond float32");
      }
    }
  });
}

}  // namespace bas_edge::cpu
