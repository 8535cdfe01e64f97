#include "active_kernels.hpp"
#include "bas_edge/maps_to_boxes.hpp"
#include "batch.hpp"
#include "row_upsampler.hpp"

namespace bas_edge::cpu {

void upsample_maps(const ForegroundMaps& in, float* pixels, int threads) {
  const UpsamplePlan plan(in, kernels());
  const std::int64_t cells = std::int64_t{in.map_height} * in.map_width;
  for_each_range(in.images, threads, [&](std::int64_t first, std::int64_t end) {
    RowUpsampler upsampler(plan);
    for (std::int64_t image = first; image < end; ++image) {
      upsampler.start(in.data + image * cells);
      for (std::int32_t y = 0; y < in.height; ++y) {
        const RowPair pair = upsampler.row(y);
        float* out = pixels + (image * in.height + y) * in.width;
        plan.kernels.lerp_rows(pair.top, pair.bottom, pair.weight, in.width, out);
      }
    }
  });
}

}  // namespace bas_edge::cpu
