// A frame on the device to a network's input. reference.py is the definition; results are equal to
// the byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bas_edge/cuda/device_array.hpp"
#include "bas_edge/cuda/stream.hpp"

namespace bas_edge::cuda {

struct Rectangle {
  std::int32_t left, top, right, bottom;  // half-open
};

struct ResizeFrameOptions {
  std::int32_t frame_height, frame_width;  // H, W
  Rectangle shown;                         // what of the frame is shown
  std::int32_t height, width;              // h, w of the network's input
  Rectangle target;                        // where on it; the rest becomes `padding`
  std::uint8_t padding;
  bool swap_channels;  // write blue first where the frame has red first, and the other way round
};

// Interleaved: 3 bytes a pixel. NV12: a plane of luma, then one of interleaved U, V of half the
// size, rounded up.
struct DeviceFrame {
  const std::uint8_t* pixels;  // or luma
  std::int64_t pitch;          // bytes from one row to the next
  const std::uint8_t* chroma;  // null: interleaved
  std::int64_t chroma_pitch;
};

// From NV12 to RGB in fixed point of 16 bits; bas_edge.ops.reference has the values.
struct YuvCoefficients {
  std::int32_t offset;  // of luma
  std::int32_t luma, v_to_red, u_to_green, v_to_green, u_to_blue;
};

class ResizeFrame {
 public:
  explicit ResizeFrame(const ResizeFrameOptions& options);

  // Triangle filter, horizontal pass first, each rounded to 8 bits.
  void run(const DeviceFrame& frame, const YuvCoefficients& yuv,
           std::uint8_t* input,  // [h, w, 3]
           Stream stream) const;

 private:
  struct Axis {
    std::int32_t taps;                // of the widest output
    std::size_t first, coefficients;  // where their tables begin
  };
  static Axis append(std::int32_t source, std::int32_t target, std::vector<std::int32_t>& tables);

  ResizeFrameOptions options_;
  Axis columns_, rows_;
  DeviceArray<std::int32_t> tables_;  // of both axes: [target] first lines of what is shown, then
                                      // [target, taps] coefficients
};

}  // namespace bas_edge::cuda
