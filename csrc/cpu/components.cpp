#include "components.hpp"

#include <algorithm>
#include <utility>

namespace bas_edge::cpu {

void Components::clear() {
  y_ = -1;
  above_.clear();
  current_.clear();
  kept_.clear();
  components_.clear();
}

void Components::start_row(std::int32_t y) {
  std::swap(above_, current_);
  current_.clear();
  if (y != y_ + 1) above_.clear();  // rows without a run lie between
  touching_ = 0;
  y_ = y;
}

void Components::add_run(std::int32_t y, std::int32_t first, std::int32_t end) {
  if (y != y_) start_row(y);
  append_run(first, end);
}

void Components::add_row(const std::uint64_t* bits, std::int32_t width) {
  start_row(y_ + 1);
  std::int32_t first = -1;  // of the run that is open
  std::uint64_t carry = 0;
  for (std::int32_t start = 0; start < width; start += 64) {
    const std::uint64_t word = bits[start / 64];
    std::uint64_t edges = word ^ (word << 1 | carry);  // a bit where a run begins or has ended
    carry = word >> 63;
    for (; edges != 0; edges &= edges - 1) {
      const std::int32_t x = start + __builtin_ctzll(edges);
      if (first < 0) {
        first = x;
      } else {
        append_run(first, x);
        first = -1;
      }
    }
  }
  if (first >= 0) append_run(first, width);
}

void Components::append_run(std::int32_t first, std::int32_t end) {
  // Corners touch: a run above that ends at `first`, or begins at `end`, is a neighbour.
  while (touching_ < above_.size() && above_[touching_].end < first) ++touching_;
  std::int32_t root = -1;
  for (std::size_t i = touching_; i < above_.size() && above_[i].first <= end; ++i) {
    const std::int32_t neighbour = find(above_[i].component);
    root = root < 0 || root == neighbour ? neighbour : unite(root, neighbour);
  }
  if (root < 0) {
    root = static_cast<std::int32_t>(components_.size());
    components_.push_back({root, first, y_, end, y_ + 1, 0});
  }
  Component& component = components_[static_cast<std::size_t>(root)];
  component.x0 = std::min(component.x0, first);
  component.x1 = std::max(component.x1, end);
  component.y1 = y_ + 1;
  component.area += end - first;
  current_.push_back({y_, first, end, root});
  if (keep_ == Keep::kRuns) kept_.push_back(current_.back());
}

std::int32_t Components::find(std::int32_t component) {
  Component* const all = components_.data();
  while (all[component].parent != component) {
    all[component].parent = all[all[component].parent].parent;
    component = all[component].parent;
  }
  return component;
}

std::int32_t Components::unite(std::int32_t a, std::int32_t b) {
  Component& kept = components_[static_cast<std::size_t>(std::min(a, b))];
  Component& merged = components_[static_cast<std::size_t>(std::max(a, b))];
  merged.parent = kept.parent;
  kept.x0 = std::min(kept.x0, merged.x0);
  kept.y0 = std::min(kept.y0, merged.y0);
  kept.x1 = std::max(kept.x1, merged.x1);
  kept.y1 = std::max(kept.y1, merged.y1);
  kept.area += merged.area;
  return kept.parent;
}

const std::vector<Component>& Components::largest(std::int64_t min_area, std::int64_t limit) {
  largest_.clear();
  for (std::size_t i = 0; i < components_.size(); ++i) {
    const Component& component = components_[i];
    const bool root = component.parent == static_cast<std::int32_t>(i);
    if (root && component.area >= min_area) largest_.push_back(component);
  }
  const auto before = [](const Component& a, const Component& b) {
    return a.area != b.area ? a.area > b.area : a.parent < b.parent;
  };
  const auto count = std::min(static_cast<std::int64_t>(largest_.size()), limit);
  std::partial_sort(largest_.begin(), largest_.begin() + count, largest_.end(), before);
  largest_.resize(static_cast<std::size_t>(count));
  return largest_;
}

}  // namespace bas_edge::cpu
