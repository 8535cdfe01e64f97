// Foreground maps to boxes and masks, on the device. reference.py is the definition; results are
// equal to the bit. Nothing of full resolution but one bit a pixel is ever written.
#pragma once

#include <cstdint>

#include "bas_edge/cuda/aggregate_maps.hpp"
#include "bas_edge/cuda/device_array.hpp"
#include "bas_edge/cuda/stream.hpp"
#include "bas_edge/maps_to_boxes.hpp"

namespace bas_edge::cuda {

struct MapsToBoxesOptions {
  std::int64_t max_images;
  std::int32_t map_height, map_width;  // h, w
  std::int32_t height, width;          // H, W network pixels
  cpu::Rule rule;
  std::int32_t min_area;
  std::int32_t max_boxes;
};

// One image's result is a record of int32 words: status, label, score (the bits of a float32),
// count, then max_boxes times x0, y0, x1, y1, area. `MapsToBoxes` writes status, count and the
// boxes; unused slots are zero. Without foreground: count 0, and the whole frame in slot 0.
struct Records {
  static constexpr std::int32_t kStatus = 0, kLabel = 1, kScore = 2, kCount = 3, kBoxes = 4;
  static constexpr std::int32_t kBoxWords = 5;

  std::int32_t* words;  // [images, stride]
  std::int64_t stride;  // kBoxes + kBoxWords * max_boxes

  static std::int64_t stride_for(std::int32_t max_boxes) {
    return kBoxes + std::int64_t{kBoxWords} * max_boxes;
  }
};

class MapsToBoxes {
 public:
  explicit MapsToBoxes(const MapsToBoxesOptions& options);

  struct In {
    const float* foreground;     // [images, h, w]
    const float* thresholds;     // [images], or null:
    float threshold;             // the same for all
    const std::int32_t* status;  // [images] of earlier steps, to be passed on; or null
    std::int64_t images;
  };

  void run(const In& in, const Records& records,
           bool* masks,  // [images, H, W] the largest component of each; or null
           Stream stream) const;

  // Bilinear, half-pixel centres, edges clamped, horizontal first.
  void upsample(const float* foreground, std::int64_t images,
                float* pixels,  // [images, H, W]
                Stream stream) const;

 private:
  MapsToBoxesOptions options_;
  std::int32_t words_;  // 32-bit words of one row of pixels
  std::int32_t processors_;
  std::size_t shared_bytes_ = 0;  // of the component search; 0: it runs in global memory
  DeviceArray<std::int32_t> left_, right_, top_, bottom_;
  DeviceArray<float> x_weight_, y_weight_;
  DeviceArray<std::uint32_t> bits_;    // [max_images, H, words]
  DeviceArray<std::int32_t> parents_;  // [max_images, cells], where they do not fit on chip
  DeviceArray<std::int32_t> status_;   // [max_images]
};

}  // namespace bas_edge::cuda
