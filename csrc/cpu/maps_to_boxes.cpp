#include "bas_edge/maps_to_boxes.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "active_kernels.hpp"
#include "bas_edge/input_error.hpp"
#include "batch.hpp"
#include "components.hpp"
#include "row_upsampler.hpp"

namespace bas_edge::cpu {
namespace {

// Rows first, each left to right, then the rows' sums: this order is part of the definition.
float mean_above(const float* map, const ForegroundMaps& in, float lo) {
  float total = 0;
  for (std::int32_t y = 0; y < in.map_height; ++y) {
    const float* row = map + std::int64_t{y} * in.map_width;
    float sum = row[0] - lo;
    for (std::int32_t x = 1; x < in.map_width; ++x) sum += row[x] - lo;
    total = y == 0 ? sum : total + sum;
  }
  return total / static_cast<float>(std::int64_t{in.map_height} * in.map_width);
}

// The components above the cut of one image after another; one for each thread.
class Segmenter {
 public:
  Segmenter(const ForegroundMaps& in, const Cut& cut, const UpsamplePlan& plan,
            Components::Keep keep)
      : in_(in),
        cut_(cut),
        plan_(plan),
        upsampler_(plan),
        components_(keep),
        bits_((static_cast<std::size_t>(in.width) + 63) / 64) {}

  Components& components_of(std::int64_t image) {
    components_.clear();
    const std::int64_t cells = std::int64_t{in_.map_height} * in_.map_width;
    const float* map = in_.data + image * cells;
    const Extent extent = plan_.kernels.extent(map, cells);
    if (!extent.finite) {
      throw InputError("foreground[" + std::to_string(image) + "] holds NaN or Inf");
    }
    if (extent.lo == extent.hi) return components_;  // a flat map has no foreground
    const float scale =
        cut_.rule == Rule::kFixed ? extent.hi - extent.lo : mean_above(map, in_, extent.lo);
    const float cut = cut_.thresholds[image] * scale;
    upsampler_.start(map);
    for (std::int32_t y = 0; y < in_.height; ++y) {
      const RowPair pair = upsampler_.row(y);
      plan_.kernels.threshold_rows(pair.top, pair.bottom, pair.weight, in_.width, extent.lo, cut,
                                   bits_.data());
      components_.add_row(bits_.data(), in_.width);
    }
    return components_;
  }

 private:
  const ForegroundMaps& in_;
  const Cut& cut_;
  const UpsamplePlan& plan_;
  RowUpsampler upsampler_;
  Components components_;
  std::vector<std::uint64_t> bits_;  // [ceil(W / 64)]
};

}  // namespace

void maps_to_boxes(const ForegroundMaps& in, const Cut& cut, std::int64_t min_area,
                   std::int64_t max_boxes, const BoxesOut& out, int threads) {
  const UpsamplePlan plan(in, kernels());
  for_each_range(in.images, threads, [&](std::int64_t first, std::int64_t end) {
    Segmenter segmenter(in, cut, plan, Components::Keep::kBoxes);
    for (std::int64_t image = first; image < end; ++image) {
      std::int32_t* boxes = out.boxes + image * max_boxes * 4;
      std::int32_t* areas = out.areas + image * max_boxes;
      std::fill(boxes, boxes + max_boxes * 4, 0);
      std::fill(areas, areas + max_boxes, 0);
      const std::vector<Component>& kept =
          segmenter.components_of(image).largest(min_area, max_boxes);
      for (std::size_t slot = 0; slot < kept.size(); ++slot) {
        std::int32_t* box = boxes + 4 * slot;
        box[0] = kept[slot].x0;
        box[1] = kept[slot].y0;
        box[2] = kept[slot].x1;
        box[3] = kept[slot].y1;
        areas[slot] = kept[slot].area;
      }
      if (kept.empty()) {
        boxes[2] = in.width;
        boxes[3] = in.height;
      }
      out.found[image] = !kept.empty();
      out.count[image] = static_cast<std::int32_t>(kept.size());
    }
  });
}

void maps_to_masks(const ForegroundMaps& in, const Cut& cut, bool* masks, int threads) {
  const UpsamplePlan plan(in, kernels());
  const std::int64_t pixels = std::int64_t{in.height} * in.width;
  for_each_range(in.images, threads, [&](std::int64_t first, std::int64_t end) {
    Segmenter segmenter(in, cut, plan, Components::Keep::kRuns);
    for (std::int64_t image = first; image < end; ++image) {
      bool* mask = masks + image * pixels;
      std::fill(mask, mask + pixels, false);
      segmenter.components_of(image).visit_largest([&](const Run& run) {
        bool* row = mask + std::int64_t{run.y} * in.width;
        std::fill(row + run.first, row + run.end, true);
      });
    }
  });
}

}  // namespace bas_edge::cpu
