// bas_edge.ops._native: binds the C++ API and nothing else. Arguments were checked in Python
// (bas_edge/ops/arguments.py); InputError becomes bas_edge.errors.InputError.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <exception>
#include <numeric>
#include <string>

#include "bas_edge/aggregate_maps.hpp"
#include "bas_edge/dispatch.hpp"
#include "bas_edge/input_error.hpp"
#include "bas_edge/maps_to_boxes.hpp"
#include "bas_edge/repeat_pixels.hpp"
#include "bas_edge/resize_frame.hpp"
#include "bas_edge/scores_to_masks.hpp"

namespace py = pybind11;
namespace cpu = bas_edge::cpu;

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using Counts = py::array_t<std::int64_t, py::array::c_style>;

py::array_t<float> aggregate_maps(const Floats& maps, const Floats& scores, std::int64_t k,
                                  int threads) {
  const cpu::ClassMaps in = {maps.data(), scores.data(), maps.shape(0), maps.shape(1),
                             std::int64_t{maps.shape(2)} * maps.shape(3)};
  py::array_t<float> foreground({maps.shape(0), maps.shape(2), maps.shape(3)});
  float* const out = foreground.mutable_data();
  py::gil_scoped_release release;
  cpu::aggregate_maps(in, k, out, threads);
  return foreground;
}

cpu::ForegroundMaps as_maps(const Floats& foreground, std::int32_t height, std::int32_t width) {
  return {foreground.data(),
          foreground.shape(0),
          static_cast<std::int32_t>(foreground.shape(1)),
          static_cast<std::int32_t>(foreground.shape(2)),
          height,
          width};
}

cpu::Cut as_cut(const Floats& thresholds, bool mean_rule) {
  return {thresholds.data(), mean_rule ? cpu::Rule::kMean : cpu::Rule::kFixed};
}

py::array_t<float> upsample_maps(const Floats& foreground, std::int32_t height, std::int32_t width,
                                 int threads) {
  const cpu::ForegroundMaps in = as_maps(foreground, height, width);
  py::array_t<float> pixels({in.images, std::int64_t{height}, std::int64_t{width}});
  float* const out = pixels.mutable_data();
  py::gil_scoped_release release;
  cpu::upsample_maps(in, out, threads);
  return pixels;
}

py::tuple maps_to_boxes(const Floats& foreground, std::int32_t height, std::int32_t width,
                        const Floats& thresholds, bool mean_rule, std::int64_t min_area,
                        std::int64_t max_boxes, int threads) {
  const cpu::ForegroundMaps in = as_maps(foreground, height, width);
  py::array_t<std::int32_t> boxes({in.images, max_boxes, std::int64_t{4}});
  py::array_t<std::int32_t> areas({in.images, max_boxes});
  py::array_t<bool> found(in.images);
  py::array_t<std::int32_t> count(in.images);
  const cpu::BoxesOut out = {boxes.mutable_data(), areas.mutable_data(), found.mutable_data(),
                             count.mutable_data()};
  {
    py::gil_scoped_release release;
    cpu::maps_to_boxes(in, as_cut(thresholds, mean_rule), min_area, max_boxes, out, threads);
  }
  return py::make_tuple(boxes, areas, found, count);
}

py::array_t<bool> maps_to_masks(const Floats& foreground, std::int32_t height, std::int32_t width,
                                const Floats& thresholds, bool mean_rule, int threads) {
  const cpu::ForegroundMaps in = as_maps(foreground, height, width);
  py::array_t<bool> masks({in.images, std::int64_t{height}, std::int64_t{width}});
  bool* const out = masks.mutable_data();
  py::gil_scoped_release release;
  cpu::maps_to_masks(in, as_cut(thresholds, mean_rule), out, threads);
  return masks;
}

py::tuple scores_to_masks(const Floats& scores, std::int32_t height, std::int32_t width,
                          int threads) {
  const cpu::ClassScores in = {scores.data(),
                               scores.shape(0),
                               static_cast<std::int32_t>(scores.shape(1)),
                               static_cast<std::int32_t>(scores.shape(2)),
                               static_cast<std::int32_t>(scores.shape(3)),
                               height,
                               width};
  py::array_t<std::uint8_t> masks({in.images, std::int64_t{height}, std::int64_t{width}});
  py::array_t<std::int32_t> areas({in.images, std::int64_t{in.classes}});
  py::array_t<std::int32_t> boxes({in.images, std::int64_t{in.classes}, std::int64_t{4}});
  const cpu::ClassMasksOut out = {masks.mutable_data(), areas.mutable_data(), boxes.mutable_data()};
  {
    py::gil_scoped_release release;
    cpu::scores_to_masks(in, out, threads);
  }
  return py::make_tuple(masks, areas, boxes);
}

py::tuple repeat_pixels(const Bytes& mask, const Counts& rows, const Counts& columns) {
  const cpu::RepeatedMask in = {mask.data(), rows.data(), columns.data(), mask.shape(0),
                                mask.shape(1)};
  const auto sum = [](const Counts& of) {
    return std::accumulate(of.data(), of.data() + of.size(), std::int64_t{0});
  };
  py::array_t<std::uint8_t> pixels({sum(rows), sum(columns)});
  py::array_t<std::int64_t> counts(256);
  std::uint8_t* const out = pixels.mutable_data();
  std::int64_t* const counted = counts.mutable_data();
  {
    py::gil_scoped_release release;
    cpu::repeat_pixels(in, out, counted);
  }
  return py::make_tuple(pixels, counts);
}

py::array_t<std::uint8_t> resize_frame(const py::array_t<std::uint8_t>& frame, std::int32_t height,
                                       std::int32_t width) {
  const cpu::Frame in = {frame.data(), frame.strides(0), static_cast<std::int32_t>(frame.shape(0)),
                         static_cast<std::int32_t>(frame.shape(1))};
  py::array_t<std::uint8_t> resized({std::int64_t{height}, std::int64_t{width}, std::int64_t{3}});
  std::uint8_t* const out = resized.mutable_data();
  py::gil_scoped_release release;
  cpu::resize_frame(in, height, width, out);
  return resized;
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const bas_edge::InputError& error) {
      const py::object type = py::module_::import("bas_edge.errors").attr("InputError");
      PyErr_SetString(type.ptr(), error.what());
    }
  });
  const auto exact = [](const char* name) { return py::arg(name).noconvert(); };

  m.def("aggregate_maps", &aggregate_maps, exact("maps"), exact("scores"), py::arg("k"),
        py::arg("threads"));
  m.def("upsample_maps", &upsample_maps, exact("foreground"), py::arg("height"), py::arg("width"),
        py::arg("threads"));
  m.def("maps_to_boxes", &maps_to_boxes, exact("foreground"), py::arg("height"), py::arg("width"),
        exact("thresholds"), py::arg("mean_rule"), py::arg("min_area"), py::arg("max_boxes"),
        py::arg("threads"));
  m.def("maps_to_masks", &maps_to_masks, exact("foreground"), py::arg("height"), py::arg("width"),
        exact("thresholds"), py::arg("mean_rule"), py::arg("threads"));
  m.def("scores_to_masks", &scores_to_masks, exact("scores"), py::arg("height"), py::arg("width"),
        py::arg("threads"));
  m.def("repeat_pixels", &repeat_pixels, exact("mask"), exact("rows"), exact("columns"));
  m.def("resize_frame", &resize_frame, exact("frame"), py::arg("height"), py::arg("width"));

  m.def("available_paths", &cpu::available_paths);
  m.def("active_path", &cpu::active_path);
  m.def("set_path", &cpu::set_path, py::arg("name"));
}
