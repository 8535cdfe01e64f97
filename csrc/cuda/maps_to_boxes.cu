#include <algorithm>

#include "bas_edge/cuda/maps_to_boxes.hpp"
#include "block_reduce.cuh"
#include "components.cuh"
#include "launch.cuh"
#include "lerp_axis.hpp"

namespace bas_edge::cuda {

// Of the kernel that runs, as large as its launch says.
extern __shared__ std::uint32_t dynamic_shared[];

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kMaxThreads = 1024;

struct Geometry {
  std::int32_t map_height, map_width, height, width;
  std::int32_t words;                // of one row of bits
  const std::int32_t *left, *right;  // [width] cells of each pixel
  const std::int32_t *top, *bottom;  // [height]
  const float *x_weight, *y_weight;  // of right and of bottom
};

__device__ float lerp(float a, float b, float weight) { return a + weight * (b - a); }

__device__ float pixel_at(const Geometry& g, const float* map, std::int32_t y, std::int32_t x) {
  const float* top = map + std::int64_t{g.top[y]} * g.map_width;
  const float* bottom = map + std::int64_t{g.bottom[y]} * g.map_width;
  const std::int32_t left = g.left[x], right = g.right[x];
  const float weight = g.x_weight[x];
  return lerp(lerp(top[left], top[right], weight), lerp(bottom[left], bottom[right], weight),
              g.y_weight[y]);
}

struct Extent {
  float lo, hi;
  bool finite;
};

__device__ Extent extent_of(const float* map, std::int64_t cells) {
  __shared__ float scratch[kWarps];
  __shared__ std::int32_t finite_scratch[kWarps];
  float lo = map[0], hi = map[0];
  std::int32_t finite = 1;
  for (std::int64_t cell = threadIdx.x; cell < cells; cell += kThreads) {
    const float value = map[cell];
    lo = value < lo ? value : lo;
    hi = value > hi ? value : hi;
    if (!(value - value == 0)) finite = 0;
  }
  lo = block_reduce(lo, scratch, [](float a, float b) { return b < a ? b : a; });
  hi = block_reduce(hi, scratch, [](float a, float b) { return b > a ? b : a; });
  finite =
      block_reduce(finite, finite_scratch, [](std::int32_t a, std::int32_t b) { return a & b; });
  return {lo, hi, finite != 0};
}

// Rows first, each left to right by one thread, then the rows' sums: this order is part of the
// definition.
__device__ float mean_above(const Geometry& g, const float* map, float lo) {
  __shared__ float sums[kThreads];
  __shared__ float mean;
  float total = 0;
  for (std::int32_t base = 0; base < g.map_height; base += kThreads) {
    const std::int32_t y = base + static_cast<std::int32_t>(threadIdx.x);
    if (y < g.map_height) {
      const float* row = map + std::int64_t{y} * g.map_width;
      float sum = row[0] - lo;
      for (std::int32_t x = 1; x < g.map_width; ++x) sum += row[x] - lo;
      sums[threadIdx.x] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      const std::int32_t rows = min(static_cast<std::int32_t>(kThreads), g.map_height - base);
      for (std::int32_t i = 0; i < rows; ++i) total = base + i == 0 ? sums[0] : total + sums[i];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    mean = total / static_cast<float>(std::int64_t{g.map_height} * g.map_width);
  }
  __syncthreads();
  return mean;
}

struct ThresholdIn {
  const float* foreground;  // [N, h, w]
  const float* thresholds;  // [N] or null
  float threshold;
  bool mean_rule;
};

// One bit a pixel: strictly above the cut. Every block of an image finds the cut again, which
// costs less than another launch; a warp then makes one word at a time.
__global__ void __launch_bounds__(kThreads) threshold_kernel(Geometry g, ThresholdIn in,
                                                             std::uint32_t* bits,  // [N, H, words]
                                                             std::int32_t* status) {  // [N]
  const std::int64_t image = blockIdx.y;
  const std::int64_t cells = std::int64_t{g.map_height} * g.map_width;
  const float* map = in.foreground + image * cells;
  const Extent extent = extent_of(map, cells);
  const bool flat = !extent.finite || extent.lo == extent.hi;  // has no foreground
  float scale = extent.hi - extent.lo;
  if (in.mean_rule && !flat) scale = mean_above(g, map, extent.lo);
  const float threshold = in.thresholds == nullptr ? in.threshold : in.thresholds[image];
  const float cut = threshold * scale;

  const std::int64_t items = std::int64_t{g.height} * g.words;
  std::uint32_t* image_bits = bits + image * items;
  const std::int32_t lane = static_cast<std::int32_t>(threadIdx.x % kWarp);
  for (std::int64_t item = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; item < items;
       item += std::int64_t{gridDim.x} * kWarps) {
    const std::int32_t y = static_cast<std::int32_t>(item / g.words);
    const std::int32_t x = static_cast<std::int32_t>(item % g.words * kWarp) + lane;
    const bool above = !flat && x < g.width && pixel_at(g, map, y, x) - extent.lo > cut;
    const std::uint32_t word = __ballot_sync(kAllLanes, above);
    if (lane == 0) image_bits[item] = word;
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    status[image] = extent.finite ? 0 : static_cast<std::int32_t>(kForegroundNotFinite);
  }
}

struct ComponentsIn {
  const std::uint32_t* bits;         // [N, H, words]
  const std::int32_t* status;        // [N]
  const std::int32_t* other_status;  // [N] or null
  std::int32_t* parents;             // [N, cells], or null: on chip
  std::int32_t height, width, words;
  std::int32_t min_area, max_boxes;
};

// The largest component's mask: [H, W] of bool, written whole. `winner` < 0: there is none.
__device__ void write_mask(const BitRows& rows, const Components& components, std::int32_t winner,
                           std::int32_t width, bool* mask) {
  components.for_each_word([&](std::int32_t r, std::int32_t j) {
    std::uint32_t inside = 0;
    const std::uint32_t own = rows.columns(r, j);
    std::uint32_t occupied = winner < 0 ? 0 : (own | own >> 1) & kEvenBits;
    while (occupied != 0) {
      const std::int32_t cell = j * kWordCells + (__ffs(static_cast<int>(occupied)) - 1) / 2;
      const CellSpan run = {rows.run_start(r, cell), rows.run_end(r, rows.run_start(r, cell))};
      const std::uint32_t span = BitRows::span_bits(run, j);
      if (components.root_of(components.id_of(r, run.first)) == winner) inside |= span;
      occupied &= ~span;
    }
    for (std::int32_t y = 2 * r; y < min(2 * r + 2, rows.height); ++y) {
      const std::uint32_t set = rows.word(y, j) & inside;
      bool* to = mask + std::int64_t{y} * width + std::int64_t{j} * 32;
      const std::int32_t pixels = min(32, width - j * 32);
      for (std::int32_t i = 0; i < pixels; ++i) to[i] = (set >> i & 1) != 0;
    }
  });
}

// Places in raster order compare like their keys; the low half says which component it is.
__device__ unsigned long long raster_key(const BitRows& rows, std::int32_t r, CellSpan run,
                                         std::int32_t width, std::int32_t root) {
  for (std::int32_t y = 2 * r; y < 2 * r + 2; ++y) {
    for (std::int32_t j = run.first / kWordCells; j * kWordCells < run.end; ++j) {
      const std::uint32_t set = rows.word(y, j) & BitRows::span_bits(run, j);
      if (set == 0) continue;
      const std::int32_t x = j * 32 + __ffs(static_cast<int>(set)) - 1;
      const unsigned long long place = static_cast<unsigned long long>(y) * width + x;
      return place << 32 | static_cast<std::uint32_t>(root);
    }
  }
  return ~0ull;  // not reached: a run holds a pixel
}

struct SharedBox {
  std::int32_t left, top, right, bottom;  // half-open
};

__device__ void extend_box(const BitRows& rows, std::int32_t r, CellSpan run, SharedBox* box) {
  const std::int32_t first_word = run.first / kWordCells, last_word = (run.end - 1) / kWordCells;
  const std::uint32_t first = rows.columns(r, first_word) & BitRows::span_bits(run, first_word);
  const std::uint32_t last = rows.columns(r, last_word) & BitRows::span_bits(run, last_word);
  bool upper = false, lower = false;
  for (std::int32_t j = first_word; j <= last_word; ++j) {
    const std::uint32_t inside = BitRows::span_bits(run, j);
    upper |= (rows.word(2 * r, j) & inside) != 0;
    lower |= (rows.word(2 * r + 1, j) & inside) != 0;
  }
  atomicMin(&box->left, first_word * 32 + __ffs(static_cast<int>(first)) - 1);
  atomicMax(&box->right, last_word * 32 + 32 - __clz(static_cast<int>(last)));
  atomicMin(&box->top, upper ? 2 * r : 2 * r + 1);
  atomicMax(&box->bottom, lower ? 2 * r + 2 : 2 * r + 1);
}

// One block finds the largest components of one image.
__global__ void __launch_bounds__(kMaxThreads)
    components_kernel(ComponentsIn in, Records records,
                      bool* masks) {  // [N, H, W] or null
  __shared__ std::int32_t largest;
  __shared__ unsigned long long first_place;
  __shared__ SharedBox box;
  const std::int64_t image = blockIdx.x;
  const std::int64_t pixel_words = std::int64_t{in.height} * in.words;
  BitRows rows = {in.bits + image * pixel_words, in.height, in.words};
  std::int32_t* parents = in.parents;
  if (parents == nullptr) {
    for (std::int64_t i = threadIdx.x; i < pixel_words; i += blockDim.x) {
      dynamic_shared[i] = rows.bits[i];
    }
    rows.bits = dynamic_shared;
    parents = reinterpret_cast<std::int32_t*>(dynamic_shared + pixel_words);
    __syncthreads();
  } else {
    parents += image * rows.cell_rows() * rows.row_cells();
  }
  Components components(rows, parents);
  components.label();

  std::int32_t* record = records.words + image * records.stride;
  std::int32_t count = 0, winner = -1;
  for (; count < in.max_boxes; ++count) {
    if (threadIdx.x == 0) {
      largest = 0;
      first_place = ~0ull;
      box = {in.width, in.height, 0, 0};
    }
    __syncthreads();
    components.for_each_start([&](std::int32_t, CellSpan, std::int32_t id) {
      if (components.root_of(id) == id) atomicMax(&largest, components.pixels_in(id));
    });
    __syncthreads();
    const std::int32_t area = largest;
    if (area < in.min_area) break;  // min_area is at least 1
    components.for_each_start([&](std::int32_t r, CellSpan run, std::int32_t id) {
      const std::int32_t root = components.root_of(id);
      if (components.pixels_in(root) != area) return;
      atomicMin(&first_place, raster_key(rows, r, run, in.width, root));
    });
    __syncthreads();
    const std::int32_t root = static_cast<std::int32_t>(first_place & 0xffffffffu);
    if (count == 0) winner = root;
    components.for_each_start([&](std::int32_t r, CellSpan run, std::int32_t id) {
      if (components.root_of(id) == root) extend_box(rows, r, run, &box);
    });
    __syncthreads();
    if (threadIdx.x == 0) {
      std::int32_t* slot = record + Records::kBoxes + Records::kBoxWords * count;
      slot[0] = box.left;
      slot[1] = box.top;
      slot[2] = box.right;
      slot[3] = box.bottom;
      slot[4] = area;
      components.remove(root);  // the others see it after the barrier above
    }
  }

  for (std::int32_t i = Records::kBoxWords * count + static_cast<std::int32_t>(threadIdx.x);
       i < Records::kBoxWords * in.max_boxes; i += static_cast<std::int32_t>(blockDim.x)) {
    const bool whole_frame = count == 0 && (i == 2 || i == 3);
    record[Records::kBoxes + i] = !whole_frame ? 0 : i == 2 ? in.width : in.height;
  }
  if (threadIdx.x == 0) {
    const std::int32_t other = in.other_status == nullptr ? 0 : in.other_status[image];
    record[Records::kStatus] = in.status[image] | other;
    record[Records::kCount] = count;
  }
  if (masks != nullptr) {
    write_mask(rows, components, winner, in.width,
               masks + image * in.height * std::int64_t{in.width});
  }
}

__global__ void __launch_bounds__(kThreads)
    upsample_kernel(Geometry g, const float* foreground, float* pixels) {
  const std::int64_t image = blockIdx.y, count = std::int64_t{g.height} * g.width;
  const float* map = foreground + image * g.map_height * g.map_width;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * kThreads) {
    pixels[image * count + i] = pixel_at(g, map, static_cast<std::int32_t>(i / g.width),
                                         static_cast<std::int32_t>(i % g.width));
  }
}

std::int32_t attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "asking for the current device");
  check(cudaDeviceGetAttribute(&value, which, device), "asking for a property of the device");
  return value;
}

}  // namespace

MapsToBoxes::MapsToBoxes(const MapsToBoxesOptions& options)
    : options_(options),
      words_((options.width + 31) / 32),
      processors_(attribute(cudaDevAttrMultiProcessorCount)) {
  const cpu::LerpAxis x(options.map_width, options.width);
  const cpu::LerpAxis y(options.map_height, options.height);
  left_ = DeviceArray<std::int32_t>(x.left);
  right_ = DeviceArray<std::int32_t>(x.right);
  x_weight_ = DeviceArray<float>(x.weight);
  top_ = DeviceArray<std::int32_t>(y.left);
  bottom_ = DeviceArray<std::int32_t>(y.right);
  y_weight_ = DeviceArray<float>(y.weight);

  const auto images = static_cast<std::size_t>(options.max_images);
  const std::size_t pixel_words = static_cast<std::size_t>(options.height) * words_;
  const std::size_t cells =
      static_cast<std::size_t>((options.height + 1) / 2) * words_ * kWordCells;
  bits_ = DeviceArray<std::uint32_t>(images * pixel_words);
  status_ = DeviceArray<std::int32_t>(images);
  const std::size_t wanted = (pixel_words + cells) * sizeof(std::uint32_t);
  constexpr std::size_t kStatic = 1024;  // what the kernel has besides
  const auto most =
      static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)) - kStatic;
  if (wanted <= most) {
    shared_bytes_ = wanted;
    // The limit belongs to the kernel and not to this object, so all set the same one.
    check(cudaFuncSetAttribute(components_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(most)),
          "preparing the kernels for this GPU (see bas-edge doctor for which they were compiled)");
  } else {
    parents_ = DeviceArray<std::int32_t>(images * cells);
  }
}

void MapsToBoxes::run(const In& in, const Records& records, bool* masks, Stream stream) const {
  if (in.images == 0) return;
  const Geometry geometry = {
      options_.map_height, options_.map_width, options_.height, options_.width, words_,
      left_.get(),         right_.get(),       top_.get(),      bottom_.get(),  x_weight_.get(),
      y_weight_.get()};
  // Two blocks for each processor fill the device; one word for each warp is the least.
  const std::int64_t items = std::int64_t{options_.height} * words_;
  const std::int64_t enough = (2 * processors_ + in.images - 1) / in.images;
  const std::int64_t most = (items + kWarps - 1) / kWarps;
  launch("threshold_maps", threshold_kernel,
         dim3(static_cast<unsigned>(std::min(enough, most)), static_cast<unsigned>(in.images)),
         dim3(kThreads), 0, stream, geometry,
         ThresholdIn{in.foreground, in.thresholds, in.threshold, options_.rule == cpu::Rule::kMean},
         bits_.get(), status_.get());

  const std::int64_t search_items = std::int64_t{(options_.height + 1) / 2} * words_;
  const unsigned threads =
      std::min(kMaxThreads, blocks_for(search_items, std::int64_t{kWarp}) * kWarp);
  launch("find_components", components_kernel, dim3(static_cast<unsigned>(in.images)),
         dim3(threads), shared_bytes_, stream,
         ComponentsIn{bits_.get(), status_.get(), in.status, parents_.get(), options_.height,
                      options_.width, words_, options_.min_area, options_.max_boxes},
         records, masks);
}

void MapsToBoxes::upsample(const float* foreground, std::int64_t images, float* pixels,
                           Stream stream) const {
  if (images == 0) return;
  const Geometry geometry = {
      options_.map_height, options_.map_width, options_.height, options_.width, words_,
      left_.get(),         right_.get(),       top_.get(),      bottom_.get(),  x_weight_.get(),
      y_weight_.get()};
  const std::int64_t pixel_count = std::int64_t{options_.height} * options_.width;
  const std::int64_t blocks = std::min<std::int64_t>((pixel_count + kThreads - 1) / kThreads,
                                                     std::int64_t{16} * processors_);
  launch("upsample_maps", upsample_kernel,
         dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(images)), dim3(kThreads), 0,
         stream, geometry, foreground, pixels);
}

}  // namespace bas_edge::cuda
