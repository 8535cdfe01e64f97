// Antialiased frame resize in Pillow's 8-bit fixed-point arithmetic. reference.py is the
// definition; results are equal to the byte.
#pragma once

#include <cstdint>

namespace bas_edge::cpu {

struct Frame {
  const std::uint8_t* data;  // [H, W, 3]; pixels of one row are adjacent
  std::int64_t row_stride;   // bytes from one row to the next, of either sign
  std::int32_t height;       // H
  std::int32_t width;        // W
};

// Triangle filter, horizontal pass first, each pass rounded to 8 bits. An axis whose size does not
// change is not filtered.
//
//   one row (0 0 0) (100 100 100) to 1 x 1  →  (50 50 50)
void resize_frame(const Frame& in, std::int32_t height, std::int32_t width,
                  std::uint8_t* resized);  // [height, width, 3]

}  // namespace bas_edge::cpu
