#include "bas_edge/cuda/localize_maps.hpp"
#include "launch.cuh"

namespace bas_edge::cuda {

LocalizeMaps::LocalizeMaps(const LocalizeMapsOptions& options)
    : options_(options),
      rank_(options.boxes.max_images, options.classes,
            options.form == MapsForm::kAll ? options.top_k : 0),
      boxes_(options.boxes) {
  if (options.form == MapsForm::kMean) return;
  const MapsToBoxesOptions& boxes = options.boxes;
  foreground_ = DeviceArray<float>(static_cast<std::size_t>(boxes.max_images) * boxes.map_height *
                                   boxes.map_width);
}

void LocalizeMaps::run(const In& in, const Records& records, bool* masks, Stream stream) const {
  const auto words = [&](std::int32_t at) { return records.words + at; };
  rank_.run(
      in.logits, in.images,
      {words(Records::kLabel), reinterpret_cast<float*>(words(Records::kScore)), records.stride},
      stream);
  const float* foreground = in.maps;
  if (options_.form != MapsForm::kMean) {
    const MapsToBoxesOptions& boxes = options_.boxes;
    mean_of_maps({in.maps, options_.form == MapsForm::kAll ? rank_.order() : nullptr, in.images,
                  options_.maps, boxes.map_height * boxes.map_width, options_.top_k},
                 foreground_.get(), rank_.status(), stream);
    foreground = foreground_.get();
  }
  boxes_.run({foreground, nullptr, options_.threshold, rank_.status(), in.images}, records, masks,
             stream);
}

}  // namespace bas_edge::cuda
