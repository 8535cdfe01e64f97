#include "bas_edge/scores_to_masks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "active_kernels.hpp"
#include "bas_edge/input_error.hpp"
#include "batch.hpp"
#include "byte_runs.hpp"
#include "components.hpp"
#include "row_upsampler.hpp"

namespace bas_edge::cpu {
namespace {

constexpr float kLimit = 0x1p126f;  // sums and differences of smaller scores are finite

// What an upsampled value may lie outside of its four cells, as a share of the greatest score. Each
// of its two lerps a + weight * (b - a), weight 0 to 1, ends between a and a + (b - a), which
// rounding takes at most 3 * 2^-24 of that score away from b. This is for two values, and ample.
constexpr float kRounding = 0x1p-18f;

struct Tile {  // adjacent columns of pixels
  std::int32_t first, pixels;
  std::int32_t first_cell, cells;  // between which they lie
  LerpColumns columns;
};

// What depends on sizes alone; shared by the threads of a call.
struct TilePlan {
  explicit TilePlan(const ClassScores& in, const Kernels& set)
      : upsample(
            {in.data, in.images * in.classes, in.map_height, in.map_width, in.height, in.width},
            set),
        stride((in.classes + set.lanes - 1) / set.lanes * set.lanes) {
    const LerpAxis axis(in.map_width, in.width);
    const LerpColumns columns = upsample.columns.columns();
    for (std::int32_t first = 0; first < in.width; first += kTilePixels) {
      const std::int32_t pixels = std::min<std::int32_t>(kTilePixels, in.width - first);
      const std::int32_t first_cell = axis.left[static_cast<std::size_t>(first)];
      const std::int32_t last_cell = axis.right[static_cast<std::size_t>(first + pixels - 1)];
      const LerpColumns own = {columns.left + first, columns.right + first, columns.weight + first,
                               columns.window + first / set.lanes,
                               (pixels + set.lanes - 1) / set.lanes};
      tiles.push_back({first, pixels, first_cell, last_cell + 1 - first_cell, own});
    }
  }

  UpsamplePlan upsample;
  std::int64_t stride;  // of the classes of one cell, whole vectors
  std::vector<Tile> tiles;
};

// The masks of one image after another; one for each thread.
class MaskMaker {
 public:
  MaskMaker(const ClassScores& in, const TilePlan& plan)
      : in_(in),
        plan_(plan),
        set_(plan.upsample.kernels),
        cells_(std::int64_t{in.map_height} * in.map_width),
        by_cell_(static_cast<std::size_t>(cells_ * plan.stride),
                 -std::numeric_limits<float>::infinity()),
        tops_(static_cast<std::size_t>(in.classes * kTilePixels)),
        bottoms_(tops_.size()),
        contenders_(static_cast<std::size_t>(in.classes)),
        parts_(static_cast<std::size_t>(in.classes), Components(Components::Keep::kBoxes)) {}

  void make(std::int64_t image, const ClassMasksOut& out) {
    start(image);
    std::uint8_t* const mask = out.masks + image * in_.height * in_.width;
    std::int32_t* const areas = out.areas + image * in_.classes;
    std::fill(areas, areas + in_.classes, 0);
    const std::vector<std::int32_t>& above = plan_.upsample.rows.left;
    for (std::int32_t y = 0, end; y < in_.height; y = end) {
      for (end = y + 1; end < in_.height;) {  // all rows between the same two of the map
        if (above[static_cast<std::size_t>(end)] != above[static_cast<std::size_t>(y)]) break;
        ++end;
      }
      for (const Tile& tile : plan_.tiles) decide(tile, y, end, mask);
      for (std::int32_t row = y; row < end; ++row) {
        add_runs(mask + std::int64_t{row} * in_.width, row, areas);
      }
    }
    write_boxes(out.boxes + image * in_.classes * 4);
  }

 private:
  void start(std::int64_t image) {
    scores_ = in_.data + image * in_.classes * cells_;
    const Extent extent = set_.extent(scores_, in_.classes * cells_);
    const float greatest = std::max(std::abs(extent.lo), std::abs(extent.hi));
    if (!extent.finite || greatest >= kLimit) {
      throw InputError("scores[" + std::to_string(image) +
                       "] holds NaN, Inf or a score of 2^126 or more");
    }
    margin_ = greatest * kRounding;
    for (std::int32_t label = 0; label < in_.classes; ++label) {
      const float* const map = scores_ + label * cells_;
      float* const to = by_cell_.data() + label;
      for (std::int64_t cell = 0; cell < cells_; ++cell) to[cell * plan_.stride] = map[cell];
    }
    for (Components& part : parts_) part.clear();
  }

  // Rows y to end of a tile. Most have one contender, and then nothing is interpolated.
  void decide(const Tile& tile, std::int32_t y, std::int32_t end, std::uint8_t* mask) {
    const LerpAxis& rows = plan_.upsample.rows;
    const std::int64_t top = std::int64_t{rows.left[static_cast<std::size_t>(y)]} * in_.map_width;
    const std::int64_t bottom =
        std::int64_t{rows.right[static_cast<std::size_t>(y)]} * in_.map_width;
    const std::int64_t count = find_contenders(tile, top, bottom);
    std::uint8_t best[kTilePixels];
    if (count == 1) {
      std::memset(best, contenders_[0], sizeof best);
    } else {
      for (std::int64_t i = 0; i < count; ++i) {
        const float* const map = scores_ + contenders_[static_cast<std::size_t>(i)] * cells_;
        set_.lerp_columns(map + top, tile.columns, tops_.data() + i * kTilePixels);
        set_.lerp_columns(map + bottom, tile.columns, bottoms_.data() + i * kTilePixels);
      }
    }
    for (; y < end; ++y) {
      if (count > 1) {
        set_.argmax_rows(tops_.data(), bottoms_.data(), rows.weight[static_cast<std::size_t>(y)],
                         contenders_.data(), count, best);
      }
      std::memcpy(mask + std::int64_t{y} * in_.width + tile.first, best,
                  static_cast<std::size_t>(tile.pixels));
    }
  }

  // Ascending in contenders_; returns how many.
  std::int64_t find_contenders(const Tile& tile, std::int64_t top, std::int64_t bottom) {
    std::uint64_t bits[kMaxClasses / 64];
    set_.contenders(by_cell_.data() + (top + tile.first_cell) * plan_.stride,
                    by_cell_.data() + (bottom + tile.first_cell) * plan_.stride, tile.cells,
                    plan_.stride, margin_, bits);
    std::size_t count = 0;
    for (std::int32_t base = 0; base < in_.classes; base += 64) {
      for (std::uint64_t left = bits[base / 64]; left != 0; left &= left - 1) {
        contenders_[count++] = static_cast<std::uint8_t>(base + __builtin_ctzll(left));
      }
    }
    return static_cast<std::int64_t>(count);
  }

  void add_runs(const std::uint8_t* row, std::int32_t y, std::int32_t* areas) {
    for_each_run(row, in_.width, [&](std::int32_t first, std::int32_t end, std::uint8_t label) {
      parts_[label].add_run(y, first, end);
      areas[label] += end - first;
    });
  }

  void write_boxes(std::int32_t* boxes) {
    std::fill(boxes, boxes + in_.classes * 4, 0);
    for (Components& part : parts_) {
      for (const Component& largest : part.largest(1, 1)) {
        boxes[0] = largest.x0;
        boxes[1] = largest.y0;
        boxes[2] = largest.x1;
        boxes[3] = largest.y1;
      }
      boxes += 4;
    }
  }

  const ClassScores& in_;
  const TilePlan& plan_;
  const Kernels& set_;
  std::int64_t cells_;
  const float* scores_ = nullptr;         // [K, h, w] of the image
  float margin_ = 0;                      // between scores that rounding cannot bridge
  std::vector<float> by_cell_;            // [h, w, stride]: the same, -inf beyond the last class
  std::vector<float> tops_, bottoms_;     // [contenders, kTilePixels] of a tile
  std::vector<std::uint8_t> contenders_;  // classes that may be the highest of a tile
  std::vector<Components> parts_;         // [K]
};

}  // namespace

void scores_to_masks(const ClassScores& in, const ClassMasksOut& out, int threads) {
  const TilePlan plan(in, kernels());
  for_each_range(in.images, threads, [&](std::int64_t first, std::int64_t end) {
    MaskMaker maker(in, plan);
    for (std::int64_t image = first; image < end; ++image) maker.make(image, out);
  });
}

}  // namespace bas_edge::cpu
