// 8-connected components of a mask that arrives row by row, as bits or as runs.
#pragma once

#include <cstdint>
#include <vector>

namespace bas_edge::cpu {

struct Component {
  std::int32_t parent;          // itself, unless it was found to be part of an earlier one
  std::int32_t x0, y0, x1, y1;  // half-open
  std::int32_t area;            // pixels
};

struct Run {  // adjacent set pixels of one row
  std::int32_t y, first, end;
  std::int32_t component;
};

// Union-find over runs. Components are numbered by their first pixel in raster order, and a union
// keeps the lower number, so the order of roots is the raster order of first pixels.
class Components {
 public:
  enum class Keep { kBoxes, kRuns };
  explicit Components(Keep keep) : keep_(keep) {}

  void clear();
  void add_row(const std::uint64_t* bits, std::int32_t width);  // the next row, [ceil(width / 64)]
  void add_run(std::int32_t y, std::int32_t first, std::int32_t end);  // in raster order

  // Components of at least `min_area`, largest first, ties in raster order, `limit` at most.
  // The reference is valid until the next call of anything.
  const std::vector<Component>& largest(std::int64_t min_area, std::int64_t limit);

  // All runs of the component that largest(1, 1) returns. Needs Keep::kRuns.
  template <typename Visit>
  void visit_largest(const Visit& visit) {
    const std::vector<Component>& best = largest(1, 1);
    if (best.empty()) return;
    const std::int32_t root = best.front().parent;
    for (const Run& run : kept_) {
      if (find(run.component) == root) visit(run);
    }
  }

 private:
  void start_row(std::int32_t y);
  void append_run(std::int32_t first, std::int32_t end);
  std::int32_t find(std::int32_t component);
  std::int32_t unite(std::int32_t a, std::int32_t b);  // both roots; returns the root of both

  Keep keep_;
  std::int32_t y_ = -1;
  std::size_t touching_ = 0;  // first run of the row above that may touch what follows
  std::vector<Run> above_, current_, kept_;
  std::vector<Component> components_;
  std::vector<Component> largest_;
};

}  // namespace bas_edge::cpu
