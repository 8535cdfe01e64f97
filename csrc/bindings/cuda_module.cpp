// bas_edge.ops._cuda: binds the CUDA API and nothing else. Addresses of device memory and streams
// are plain integers; arguments were checked in Python (bas_edge/ops/cuda.py). The tests build this
// file a second time, against emulated CUDA, under another name.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <exception>
#include <string>
#include <tuple>

#include "bas_edge/cuda/aggregate_maps.hpp"
#include "bas_edge/cuda/kernel_error.hpp"
#include "bas_edge/cuda/localize_maps.hpp"
#include "bas_edge/cuda/maps_to_boxes.hpp"
#include "bas_edge/cuda/resize_frame.hpp"

namespace py = pybind11;
namespace cuda = bas_edge::cuda;
using bas_edge::cpu::Rule;

namespace {

using Address = std::uintptr_t;
using Release = py::call_guard<py::gil_scoped_release>;

template <typename Value>
Value* at(Address address) {
  return reinterpret_cast<Value*>(address);
}

cuda::Stream as_stream(Address stream) { return reinterpret_cast<cuda::Stream>(stream); }

Address address_of(const void* memory) { return reinterpret_cast<Address>(memory); }

cuda::MapsToBoxesOptions box_options(std::int64_t max_images, std::int32_t map_height,
                                     std::int32_t map_width, std::int32_t height,
                                     std::int32_t width, bool mean_rule, std::int32_t min_area,
                                     std::int32_t max_boxes) {
  return {max_images, map_height, map_width, height, width, mean_rule ? Rule::kMean : Rule::kFixed,
          min_area,   max_boxes};
}

cuda::Records as_records(Address records, std::int64_t stride) {
  return {at<std::int32_t>(records), stride};
}

void run_boxes(const cuda::MapsToBoxes& op, Address foreground, Address thresholds, float threshold,
               std::int64_t images, Address records, std::int64_t stride, Address masks,
               Address stream) {
  op.run({at<const float>(foreground), at<const float>(thresholds), threshold, nullptr, images},
         as_records(records, stride), at<bool>(masks), as_stream(stream));
}

void upsample(const cuda::MapsToBoxes& op, Address foreground, std::int64_t images, Address pixels,
              Address stream) {
  op.upsample(at<const float>(foreground), images, at<float>(pixels), as_stream(stream));
}

void run_aggregate(const cuda::AggregateMaps& op, Address maps, Address scores, std::int64_t images,
                   Address foreground, Address stream) {
  op.run(at<const float>(maps), at<const float>(scores), images, at<float>(foreground),
         as_stream(stream));
}

void run_localize(const cuda::LocalizeMaps& op, Address logits, Address maps, std::int64_t images,
                  Address records, std::int64_t stride, Address masks, Address stream) {
  op.run({at<const float>(logits), at<const float>(maps), images}, as_records(records, stride),
         at<bool>(masks), as_stream(stream));
}

using Corners = std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int32_t>;

cuda::Rectangle as_rectangle(const Corners& xyxy) {
  return {std::get<0>(xyxy), std::get<1>(xyxy), std::get<2>(xyxy), std::get<3>(xyxy)};
}

void run_resize(const cuda::ResizeFrame& op, Address pixels, std::int64_t pitch, Address chroma,
                std::int64_t chroma_pitch, const cuda::YuvCoefficients& yuv, Address input,
                Address stream) {
  op.run({at<const std::uint8_t>(pixels), pitch, at<const std::uint8_t>(chroma), chroma_pitch}, yuv,
         at<std::uint8_t>(input), as_stream(stream));
}

}  // namespace

PYBIND11_MODULE(BAS_EDGE_CUDA_MODULE, m) {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const cuda::KernelError& error) {
      const py::object type = py::module_::import("bas_edge.errors").attr("KernelError");
      PyErr_SetString(type.ptr(), error.what());
    }
  });
  m.attr("architectures") = BAS_EDGE_CUDA_ARCHITECTURES;
  m.attr("toolkit") = BAS_EDGE_CUDA_TOOLKIT;
  m.attr("SCORE_NAN") = static_cast<int>(cuda::kScoreNaN);
  m.attr("SCORE_INFINITE") = static_cast<int>(cuda::kScoreInfinite);
  m.attr("MEAN_NOT_FINITE") = static_cast<int>(cuda::kMeanNotFinite);
  m.attr("FOREGROUND_NOT_FINITE") = static_cast<int>(cuda::kForegroundNotFinite);

  py::class_<cuda::AggregateMaps>(m, "AggregateMaps")
      .def(py::init<std::int64_t, std::int32_t, std::int32_t, std::int32_t>(), Release(),
           py::arg("max_images"), py::arg("classes"), py::arg("cells"), py::arg("k"))
      .def("run", &run_aggregate, Release(), py::arg("maps"), py::arg("scores"), py::arg("images"),
           py::arg("foreground"), py::arg("stream"))
      .def_property_readonly("status",
                             [](const cuda::AggregateMaps& op) { return address_of(op.status()); });

  py::class_<cuda::MapsToBoxes>(m, "MapsToBoxes")
      .def(py::init([](std::int64_t max_images, std::int32_t map_height, std::int32_t map_width,
                       std::int32_t height, std::int32_t width, bool mean_rule,
                       std::int32_t min_area, std::int32_t max_boxes) {
             return cuda::MapsToBoxes(box_options(max_images, map_height, map_width, height, width,
                                                  mean_rule, min_area, max_boxes));
           }),
           Release(), py::arg("max_images"), py::arg("map_height"), py::arg("map_width"),
           py::arg("height"), py::arg("width"), py::arg("mean_rule"), py::arg("min_area"),
           py::arg("max_boxes"))
      .def("run", &run_boxes, Release(), py::arg("foreground"), py::arg("thresholds"),
           py::arg("threshold"), py::arg("images"), py::arg("records"), py::arg("stride"),
           py::arg("masks"), py::arg("stream"))
      .def("upsample", &upsample, Release(), py::arg("foreground"), py::arg("images"),
           py::arg("pixels"), py::arg("stream"));

  py::class_<cuda::LocalizeMaps>(m, "LocalizeMaps")
      .def(py::init([](const std::string& form, std::int32_t classes, std::int32_t maps,
                       std::int32_t top_k, float threshold, std::int64_t max_images,
                       std::int32_t map_height, std::int32_t map_width, std::int32_t height,
                       std::int32_t width, bool mean_rule, std::int32_t min_area,
                       std::int32_t max_boxes) {
             const cuda::MapsForm maps_form = form == "all"        ? cuda::MapsForm::kAll
                                              : form == "selected" ? cuda::MapsForm::kSelected
                                                                   : cuda::MapsForm::kMean;
             return cuda::LocalizeMaps({maps_form, classes, maps, top_k, threshold,
                                        box_options(max_images, map_height, map_width, height,
                                                    width, mean_rule, min_area, max_boxes)});
           }),
           Release(), py::arg("form"), py::arg("classes"), py::arg("maps"), py::arg("top_k"),
           py::arg("threshold"), py::arg("max_images"), py::arg("map_height"), py::arg("map_width"),
           py::arg("height"), py::arg("width"), py::arg("mean_rule"), py::arg("min_area"),
           py::arg("max_boxes"))
      .def("run", &run_localize, Release(), py::arg("logits"), py::arg("maps"), py::arg("images"),
           py::arg("records"), py::arg("stride"), py::arg("masks"), py::arg("stream"))
      .def_property_readonly(
          "foreground", [](const cuda::LocalizeMaps& op) { return address_of(op.foreground()); });

  py::class_<cuda::YuvCoefficients>(m, "YuvCoefficients")
      .def(py::init([](std::int32_t offset, std::int32_t luma, std::int32_t v_to_red,
                       std::int32_t u_to_green, std::int32_t v_to_green, std::int32_t u_to_blue) {
             return cuda::YuvCoefficients{offset,     luma,       v_to_red,
                                          u_to_green, v_to_green, u_to_blue};
           }),
           py::arg("offset"), py::arg("luma"), py::arg("v_to_red"), py::arg("u_to_green"),
           py::arg("v_to_green"), py::arg("u_to_blue"));

  py::class_<cuda::ResizeFrame>(m, "ResizeFrame")
      .def(py::init([](std::int32_t frame_height, std::int32_t frame_width, const Corners& shown,
                       std::int32_t height, std::int32_t width, const Corners& target,
                       std::uint8_t padding, bool swap_channels) {
             return cuda::ResizeFrame({frame_height, frame_width, as_rectangle(shown), height,
                                       width, as_rectangle(target), padding, swap_channels});
           }),
           py::arg("frame_height"), py::arg("frame_width"), py::arg("shown"), py::arg("height"),
           py::arg("width"), py::arg("target"), py::arg("padding"), py::arg("swap_channels"))
      .def("run", &run_resize, Release(), py::arg("pixels"), py::arg("pitch"), py::arg("chroma"),
           py::arg("chroma_pitch"), py::arg("yuv"), py::arg("input"), py::arg("stream"));
}
