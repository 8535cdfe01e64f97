// 8-connected components of one image's mask, found by one block: a union-find over runs.
#pragma once

#include <cstdint>

#include "bit_rows.cuh"
#include "launch.cuh"

namespace bas_edge::cuda {

// After label() every run start holds either the start of its component's first run, or, being
// that first run itself, the complement of the component's pixel count (so it is negative). The
// slots of other cells are never touched.
class Components {
 public:
  __device__ Components(const BitRows& rows, std::int32_t* parents)
      : rows_(rows), parents_(parents) {}

  // By every thread of the block.
  __device__ void label() {
    for_each_start([&](std::int32_t, CellSpan, std::int32_t id) { parents_[id] = id; });
    __syncthreads();
    join_rows();
    __syncthreads();
    for_each_start([&](std::int32_t, CellSpan, std::int32_t id) { parents_[id] = find(id); });
    __syncthreads();
    for_each_start([&](std::int32_t, CellSpan, std::int32_t id) {
      if (parents_[id] == id) parents_[id] = kNoPixels;
    });
    __syncthreads();
    for_each_start([&](std::int32_t r, CellSpan run, std::int32_t id) {
      atomicSub(&parents_[root_of(id)], pixels_of(r, run));
    });
    __syncthreads();
  }

  __device__ std::int32_t root_of(std::int32_t id) const {
    const std::int32_t parent = parents_[id];
    return parent < 0 ? id : parent;
  }
  __device__ std::int32_t pixels_in(std::int32_t root) const { return ~parents_[root]; }
  __device__ void remove(std::int32_t root) { parents_[root] = kNoPixels; }

  __device__ std::int32_t id_of(std::int32_t r, std::int32_t cell) const {
    return r * rows_.row_cells() + cell;
  }

  // visit(cell row, run, id of the run) for every run, shared out over the block.
  template <typename Visit>
  __device__ void for_each_start(const Visit& visit) const {
    for_each_word([&](std::int32_t r, std::int32_t j) {
      for_each_bit(rows_.starts(r, j), [&](std::int32_t bit) {
        const std::int32_t first = j * kWordCells + bit / 2;
        visit(r, CellSpan{first, rows_.run_end(r, first)}, id_of(r, first));
      });
    });
  }

  // visit(cell row, word) for all of them, shared out over the block.
  template <typename Visit>
  __device__ void for_each_word(const Visit& visit) const {
    const std::int64_t count = std::int64_t{rows_.cell_rows()} * rows_.words;
    for (std::int64_t at = threadIdx.x; at < count; at += blockDim.x) {
      visit(static_cast<std::int32_t>(at / rows_.words),
            static_cast<std::int32_t>(at % rows_.words));
    }
  }

 private:
  static constexpr std::int32_t kNoPixels = ~0;

  // Joins the runs of each row of cells with those above that they touch: one union for each
  // stretch of contact.
  __device__ void join_rows() {
    for_each_word([&](std::int32_t r, std::int32_t j) {
      if (r == 0) return;
      const std::int32_t lower_y = 2 * r, upper_y = 2 * r - 1;
      const std::uint32_t lower = rows_.word(lower_y, j), upper = rows_.word(upper_y, j);
      // Bit i of these is the pixel left or right of bit i.
      const std::uint32_t lower_left = lower << 1 | rows_.word(lower_y, j - 1) >> 31;
      const std::uint32_t upper_left = upper << 1 | rows_.word(upper_y, j - 1) >> 31;
      const std::uint32_t lower_right = lower >> 1 | rows_.word(lower_y, j + 1) << 31;
      const std::uint32_t upper_right = upper >> 1 | rows_.word(upper_y, j + 1) << 31;
      const auto join = [&](std::uint32_t contacts, std::int32_t shift) {
        for_each_bit(contacts, [&](std::int32_t bit) {
          const std::int32_t x = j * 32 + bit;
          unite(id_of(r - 1, rows_.run_start(r - 1, x / 2)),
                id_of(r, rows_.run_start(r, (x + shift) / 2)));
        });
      };
      join(upper & lower & ~(upper_left & lower_left), 0);
      join(upper & lower_left & ~lower & ~upper_left, -1);
      join(upper & lower_right & ~lower & ~upper_right, 1);
    });
  }

  // Other threads change parents meanwhile; a chain only ever leads to lower ids.
  __device__ std::int32_t find(std::int32_t id) const {
    const volatile std::int32_t* parents = parents_;
    for (std::int32_t parent = parents[id]; parent != id; parent = parents[id]) id = parent;
    return id;
  }

  __device__ void unite(std::int32_t a, std::int32_t b) {
    while (true) {
      a = find(a);
      b = find(b);
      if (a == b) return;
      if (a > b) {
        const std::int32_t swapped = a;
        a = b;
        b = swapped;
      }
      const std::int32_t before = atomicMin(&parents_[b], a);
      if (before == b) return;  // b was a root, and now hangs below a
      b = before;               // someone was faster: join what b hung below instead
    }
  }

  __device__ std::int32_t pixels_of(std::int32_t r, CellSpan run) const {
    std::int32_t count = 0;
    for (std::int32_t j = run.first / kWordCells; j * kWordCells < run.end; ++j) {
      const std::uint32_t inside = BitRows::span_bits(run, j);
      count += __popc(rows_.word(2 * r, j) & inside) + __popc(rows_.word(2 * r + 1, j) & inside);
    }
    return count;
  }

  const BitRows& rows_;
  std::int32_t* parents_;  // [cell rows, row cells]
};

}  // namespace bas_edge::cuda
