// A mask in more or fewer pixels, by repeating and leaving out its own. reference.py is the
// definition.
#pragma once

#include <cstdint>

namespace bas_edge::cpu {

struct RepeatedMask {
  const std::uint8_t* mask;     // [h, w]
  const std::int64_t* rows;     // [h] how often each row is wanted, 0 or more
  const std::int64_t* columns;  // [w]
  std::int64_t height;          // h
  std::int64_t width;           // w
};

//   [[5 7]], rows [2], columns [1 3]  →  [[5 7 7 7] [5 7 7 7]], counts of 5: 2, of 7: 6
void repeat_pixels(const RepeatedMask& in,
                   std::uint8_t* pixels,   // [sum of rows, sum of columns]
                   std::int64_t* counts);  // [256] pixels of each value
}  // namespace bas_edge::cpu
