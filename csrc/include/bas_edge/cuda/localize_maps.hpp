// A network's outputs to one small record per image, in one go: what the runtime captures into a
// CUDA graph. Allocates only when made; run() only enqueues, and one run must be over before the
// next, as on one stream: they share the workspace.
#pragma once

#include <cstdint>
#include <optional>

#include "bas_edge/cuda/aggregate_maps.hpp"
#include "bas_edge/cuda/maps_to_boxes.hpp"
#include "bas_edge/cuda/stream.hpp"

namespace bas_edge::cuda {

// docs/graph.md: which maps the network gives.
enum class MapsForm { kAll, kSelected, kMean };

struct LocalizeMapsOptions {
  MapsForm form;
  std::int32_t classes;  // C
  std::int32_t maps;     // per image: C, K or 1
  std::int32_t top_k;    // 1 to maps
  float threshold;
  MapsToBoxesOptions boxes;
};

class LocalizeMaps {
 public:
  explicit LocalizeMaps(const LocalizeMapsOptions& options);

  struct In {
    const float* logits;  // [images, C]
    const float* maps;    // [images, maps, h, w]; kSelected: best class first
    std::int64_t images;  // up to max_images
  };

  void run(const In& in, const Records& records,
           bool* masks,  // [images, H, W], or null
           Stream stream) const;

  // [max_images, h, w] the foreground maps of the last run; for kMean the caller has them.
  const float* foreground() const { return foreground_.get(); }

 private:
  LocalizeMapsOptions options_;
  RankClasses rank_;
  MapsToBoxes boxes_;
  DeviceArray<float> foreground_;
};

}  // namespace bas_edge::cuda
