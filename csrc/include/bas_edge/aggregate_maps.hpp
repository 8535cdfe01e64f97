// Class maps to one foreground map. reference.py is the definition; results are equal to the bit.
#pragma once

#include <cstdint>

namespace bas_edge::cpu {

struct ClassMaps {
  const float* maps;    // [N, C, h, w]
  const float* scores;  // [N, C]
  std::int64_t images;  // N
  std::int64_t classes;
  std::int64_t cells;  // h * w
};

// Mean of the maps of the `k` classes with the highest score, best first, ties to the lower class.
//
//   scores [[1, 3, 2]], maps [[[4], [6], [9]]], k = 2  →  foreground [[7.5]]
//
// 1 <= k <= classes. Only selected maps are read. Throws InputError on a NaN score, and where the
// mean is not finite (a NaN or Inf in a selected map, or a sum beyond float32).
void aggregate_maps(const ClassMaps& in, std::int64_t k,
                    float* foreground,  // [N, h, w]
                    int threads);

}  // namespace bas_edge::cpu
