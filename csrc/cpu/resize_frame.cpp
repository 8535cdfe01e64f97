#include "bas_edge/resize_frame.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "active_kernels.hpp"
#include "triangle_axis.hpp"

namespace bas_edge::cpu {
namespace {

// Rows of the frame at the target width, made on demand and in order. Only the last `window` rows
// asked for are kept.
class NarrowedRows {
 public:
  NarrowedRows(const Kernels& set, const Frame& in, std::int32_t width, std::int64_t window)
      : set_(set), in_(in), axis_(in.width, width), capacity_((window + 3) / 4 * 4 + kGroup) {
    const std::int64_t reach = (axis_.taps().taps + 1) * 3;  // beyond the frame's last pixel
    source_stride_ = 3 * std::int64_t{in.width} + reach + kBytePadding;
    stride_ = 3 * std::int64_t{width} + kBytePadding;
    source_.resize(static_cast<std::size_t>(kGroup * source_stride_));
    narrowed_.resize(static_cast<std::size_t>(capacity_ * stride_));
  }

  const std::uint8_t* row(std::int64_t y) {
    while (made_ <= y) make_group();
    return slot(y);
  }

 private:
  static constexpr std::int64_t kGroup = 4;

  std::uint8_t* slot(std::int64_t y) { return narrowed_.data() + y % capacity_ * stride_; }

  void make_group() {
    const std::uint8_t* from[kGroup];
    std::uint8_t* to[kGroup];
    for (std::int64_t i = 0; i < kGroup; ++i) {
      // Copied, because kernels read whole vectors, beyond the end of the row.
      std::uint8_t* copy = source_.data() + i * source_stride_;
      const std::int64_t y = std::min<std::int64_t>(made_ + i, in_.height - 1);
      std::memcpy(copy, in_.data + y * in_.row_stride, static_cast<std::size_t>(3 * in_.width));
      from[i] = copy;
      to[i] = slot(made_ + i);
    }
    set_.resample_columns(from, axis_.taps(), to);
    made_ += kGroup;
  }

  const Kernels& set_;
  const Frame& in_;
  TriangleAxis axis_;
  std::int64_t capacity_;  // a multiple of kGroup
  std::int64_t source_stride_, stride_;
  std::int64_t made_ = 0;               // rows so far
  std::vector<std::uint8_t> source_;    // [kGroup, source_stride]
  std::vector<std::uint8_t> narrowed_;  // [capacity, stride]
};

// Vertical pass over rows that `row_of` gives.
template <typename RowOf>
void resample_height(const Kernels& set, const TriangleAxis& axis, std::int64_t lines,
                     std::int64_t bytes, std::uint8_t* resized, const RowOf& row_of) {
  const ResampleTaps taps = axis.taps();
  std::vector<const std::uint8_t*> rows(static_cast<std::size_t>(taps.taps));
  for (std::int64_t y = 0; y < taps.outputs; ++y) {
    for (std::int64_t tap = 0; tap < taps.taps; ++tap) {
      rows[static_cast<std::size_t>(tap)] = row_of(std::min(taps.first[y] + tap, lines - 1));
    }
    set.resample_rows(rows.data(), taps, y, bytes, resized + y * bytes);
  }
}

}  // namespace

void resize_frame(const Frame& in, std::int32_t height, std::int32_t width, std::uint8_t* resized) {
  const Kernels& set = kernels();
  const std::int64_t bytes = 3 * std::int64_t{width};
  const auto source_row = [&](std::int64_t y) { return in.data + y * in.row_stride; };
  const auto copy_rows = [&](const auto& row_of) {
    for (std::int64_t y = 0; y < height; ++y) {
      std::memcpy(resized + y * bytes, row_of(y), static_cast<std::size_t>(bytes));
    }
  };

  if (in.width == width && in.height == height) {
    copy_rows(source_row);
  } else if (in.width == width) {
    resample_height(set, TriangleAxis(in.height, height), in.height, bytes, resized, source_row);
  } else if (in.height == height) {
    NarrowedRows narrowed(set, in, width, 1);
    copy_rows([&](std::int64_t y) { return narrowed.row(y); });
  } else {
    const TriangleAxis axis(in.height, height);
    NarrowedRows narrowed(set, in, width, axis.taps().taps);
    resample_height(set, axis, in.height, bytes, resized,
                    [&](std::int64_t y) { return narrowed.row(y); });
  }
}

}  // namespace bas_edge::cpu
