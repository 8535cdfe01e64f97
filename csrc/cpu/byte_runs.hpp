// Runs of equal bytes in a row of a mask.
#pragma once

#include <cstdint>
#include <cstring>

namespace bas_edge::cpu {

// Calls visit(first, end, value) on each run of a row, left to right.
template <typename Visit>
void for_each_run(const std::uint8_t* row, std::int32_t width, const Visit& visit) {
  for (std::int32_t first = 0, end; first < width; first = end) {
    const std::uint8_t value = row[first];
    const std::uint64_t eight = value * std::uint64_t{0x0101010101010101};
    std::uint64_t word;
    for (end = first + 1; end + 8 <= width; end += 8) {
      std::memcpy(&word, row + end, sizeof word);
      if (word != eight) break;
    }
    while (end < width && row[end] == value) ++end;
    visit(first, end, value);
  }
}

}  // namespace bas_edge::cpu
