#include "bas_edge/repeat_pixels.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "byte_runs.hpp"

namespace bas_edge::cpu {

void repeat_pixels(const RepeatedMask& in, std::uint8_t* pixels, std::int64_t* counts) {
  std::vector<std::int64_t> ends(static_cast<std::size_t>(in.width) +
                                 1);  // ends[x]: where x begins
  for (std::int64_t x = 0; x < in.width; ++x) {
    ends[static_cast<std::size_t>(x) + 1] = ends[static_cast<std::size_t>(x)] + in.columns[x];
  }
  const std::int64_t width = ends.back();
  std::fill(counts, counts + 256, 0);
  for (std::int64_t y = 0; y < in.height; ++y) {
    if (in.rows[y] == 0) continue;
    for_each_run(in.mask + y * in.width, static_cast<std::int32_t>(in.width),
                 [&](std::int32_t first, std::int32_t end, std::uint8_t value) {
                   const std::int64_t from = ends[static_cast<std::size_t>(first)];
                   const std::int64_t to = ends[static_cast<std::size_t>(end)];
                   std::fill(pixels + from, pixels + to, value);
                   counts[value] += (to - from) * in.rows[y];
                 });
    for (std::int64_t again = 1; again < in.rows[y]; ++again) {
      std::memcpy(pixels + again * width, pixels, static_cast<std::size_t>(width));
    }
    pixels += in.rows[y] * width;
  }
}

}  // namespace bas_edge::cpu
