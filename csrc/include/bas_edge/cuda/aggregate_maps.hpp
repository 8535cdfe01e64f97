// Class maps to one foreground map, on the device. reference.py is the definition; results are
// equal to the bit. Every pointer is device memory.
#pragma once

#include <cstdint>

#include "bas_edge/cuda/device_array.hpp"
#include "bas_edge/cuda/stream.hpp"

namespace bas_edge::cuda {

// What is wrong with an image's numbers, as bits. 0: nothing.
enum Status : std::int32_t {
  kScoreNaN = 1,             // a score is NaN
  kScoreInfinite = 2,        // a score is infinite, so there is no softmax
  kMeanNotFinite = 4,        // the mean of the selected maps is not finite
  kForegroundNotFinite = 8,  // a foreground map holds NaN or Inf
};

// The k best classes of each image, best first, ties to the lower class; also the best class and
// its softmax probability (float32 sums: within 2e-6 of the exact one).
class RankClasses {
 public:
  // Workspace for up to `max_images`; 0 <= k <= classes.
  RankClasses(std::int64_t max_images, std::int32_t classes, std::int32_t k);

  struct Out {
    std::int32_t* label;  // of image 0; the next one is `stride` further
    float* score;         // the same
    std::int64_t stride;  // in elements of 4 bytes
  };

  void run(const float* scores,  // [images, classes]
           std::int64_t images, const Out& out, Stream stream) const;

  const std::int32_t* order() const { return order_.get(); }  // [images, k]
  std::int32_t* status() const { return status_.get(); }      // [images]
  std::int32_t k() const { return k_; }

 private:
  std::int64_t max_images_;
  std::int32_t classes_, k_;
  DeviceArray<std::int32_t> order_, status_;
};

struct SelectedMaps {
  const float* maps;          // [images, maps_per_image, cells]
  const std::int32_t* order;  // [images, k] the maps to average, in order; null: the first k
  std::int64_t images;
  std::int32_t maps_per_image;
  std::int32_t cells;
  std::int32_t k;
};

// Their mean: added one by one in that order, then one division. Sets kMeanNotFinite in `status`.
//
//   maps [[[4], [6], [9]]], order [[1, 2]]  →  foreground [[7.5]]
void mean_of_maps(const SelectedMaps& in,
                  float* foreground,     // [images, cells]
                  std::int32_t* status,  // [images]
                  Stream stream);

// Both together: the op of bas_edge.ops.
class AggregateMaps {
 public:
  AggregateMaps(std::int64_t max_images, std::int32_t classes, std::int32_t cells, std::int32_t k);

  void run(const float* maps,    // [images, classes, cells]
           const float* scores,  // [images, classes]
           std::int64_t images,
           float* foreground,  // [images, cells]
           Stream stream) const;

  const std::int32_t* status() const { return rank_.status(); }  // [images] of the last run

 private:
  std::int32_t classes_, cells_;
  RankClasses rank_;
  DeviceArray<std::int32_t> label_;  // [max_images]
  DeviceArray<float> score_;         // [max_images]
};

}  // namespace bas_edge::cuda
