#include "bas_edge/cuda/aggregate_maps.hpp"
#include "block_reduce.cuh"
#include "launch.cuh"

namespace bas_edge::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;

// Ascending keys are ascending scores; -0 ties with 0. NaN has a place too, so ranks are always a
// permutation and nothing is read out of bounds before the status says what is wrong.
__device__ std::uint32_t score_key(float score) {
  const std::uint32_t bits = __float_as_uint(score == 0 ? 0.0f : score);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

struct RankIn {
  const float* scores;  // [N, C]
  std::int32_t classes, k;
};

struct RankOut {
  std::int32_t* order;   // [N, k]
  std::int32_t* status;  // [N]
  std::int32_t* label;   // [N], `stride` apart
  float* score;          // [N], `stride` apart
  std::int64_t stride;
};

// The status, the best class and its softmax probability; one block does it for an image.
__device__ void write_score(const float* scores, std::int32_t classes, const RankOut& out) {
  __shared__ float scratch[kWarps];
  __shared__ std::int32_t status_scratch[kWarps];
  __shared__ unsigned long long place_scratch[kWarps];
  float best = scores[0];
  std::int32_t status = 0;
  unsigned long long first = 0;  // ascending: better scores, then lower classes
  for (std::int32_t c = static_cast<std::int32_t>(threadIdx.x); c < classes; c += kThreads) {
    const float score = scores[c];
    if (!(score == score)) {
      status |= kScoreNaN;
    } else if (!(score - score == 0)) {
      status |= kScoreInfinite;
    }
    best = score > best ? score : best;
    const unsigned long long place = static_cast<unsigned long long>(score_key(score)) << 32 |
                                     (0xffffffffu - static_cast<std::uint32_t>(c));
    first = place > first ? place : first;
  }
  first = block_reduce(first, place_scratch,
                       [](unsigned long long a, unsigned long long b) { return a > b ? a : b; });
  best = block_reduce(best, scratch, [](float a, float b) { return a > b ? a : b; });
  status =
      block_reduce(status, status_scratch, [](std::int32_t a, std::int32_t b) { return a | b; });
  float sum = 0;
  for (std::int32_t c = static_cast<std::int32_t>(threadIdx.x); c < classes; c += kThreads) {
    sum += expf(scores[c] - best);
  }
  sum = block_reduce(sum, scratch, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) {
    out.status[blockIdx.y] = status;
    out.label[blockIdx.y * out.stride] =
        static_cast<std::int32_t>(0xffffffffu - static_cast<std::uint32_t>(first));
    out.score[blockIdx.y * out.stride] = 1 / sum;
  }
}

// The rank of a class is the number of classes before it. A block ranks 32 classes, one for each
// lane; its warps share out the classes to compare with.
__global__ void __launch_bounds__(kThreads) rank_kernel(RankIn in, RankOut out) {
  __shared__ std::int32_t counts[kWarps][kWarp];
  const float* scores = in.scores + std::int64_t{blockIdx.y} * in.classes;
  if (blockIdx.x == 0) write_score(scores, in.classes, out);
  if (in.k == 0) return;
  const std::int32_t lane = static_cast<std::int32_t>(threadIdx.x % kWarp);
  const std::int32_t warp = static_cast<std::int32_t>(threadIdx.x / kWarp);
  const std::int32_t own = static_cast<std::int32_t>(blockIdx.x * kWarp) + lane;
  const std::uint32_t own_key = own < in.classes ? score_key(scores[own]) : 0;

  std::int32_t before = 0;
  for (std::int32_t c = warp; c < in.classes; c += kWarps) {
    const std::uint32_t key = score_key(scores[c]);
    before += key > own_key || (key == own_key && c < own);
  }
  counts[warp][lane] = before;
  __syncthreads();
  if (warp == 0 && own < in.classes) {
    std::int32_t rank = 0;
    for (unsigned w = 0; w < kWarps; ++w) rank += counts[w][lane];
    if (rank < in.k) out.order[std::int64_t{blockIdx.y} * in.k + rank] = own;
  }
}

constexpr std::int32_t kTileMaps = 96;  // maps that are on the way at the same time: 12 KiB

// A block averages 32 cells. All its warps fetch, so that the whole tile is on the way at once;
// then one warp adds it up, in order.
__global__ void __launch_bounds__(kThreads)
    mean_kernel(SelectedMaps in, float* foreground, std::int32_t* status) {
  __shared__ float tile[kTileMaps][kWarp];
  const std::int32_t lane = static_cast<std::int32_t>(threadIdx.x % kWarp);
  const std::int32_t warp = static_cast<std::int32_t>(threadIdx.x / kWarp);
  const std::int64_t image = blockIdx.y;
  const std::int64_t cell = std::int64_t{blockIdx.x} * kWarp + lane;
  const bool inside = cell < in.cells;
  const float* maps = in.maps + image * in.maps_per_image * in.cells;
  const std::int32_t* order = in.order == nullptr ? nullptr : in.order + image * in.k;

  float sum = 0;
  for (std::int32_t base = 0; base < in.k; base += kTileMaps) {
    const std::int32_t count = in.k - base < kTileMaps ? in.k - base : kTileMaps;
    for (std::int32_t i = warp; i < count; i += kWarps) {
      const std::int64_t map = order == nullptr ? base + i : order[base + i];
      tile[i][lane] = inside ? maps[map * in.cells + cell] : 0.0f;
    }
    __syncthreads();
    if (warp == 0) {
      // The first map starts the sum: 0 + (-0) would lose a sign.
      std::int32_t i = 0;
      if (base == 0) sum = tile[i++][lane];
      for (; i < count; ++i) sum += tile[i][lane];
    }
    __syncthreads();
  }
  if (warp == 0 && inside) {
    const float mean = sum / static_cast<float>(in.k);
    foreground[image * in.cells + cell] = mean;
    if (!(mean - mean == 0)) atomicOr(&status[image], static_cast<std::int32_t>(kMeanNotFinite));
  }
}

}  // namespace

RankClasses::RankClasses(std::int64_t max_images, std::int32_t classes, std::int32_t k)
    : classes_(classes),
      k_(k),
      order_(static_cast<std::size_t>(max_images * k)),
      status_(static_cast<std::size_t>(max_images)) {}

void RankClasses::run(const float* scores, std::int64_t images, const Out& out,
                      Stream stream) const {
  if (images == 0) return;  // an empty grid is a launch error
  const unsigned blocks = k_ == 0 ? 1 : blocks_for(classes_, std::int32_t{kWarp});
  launch("rank_classes", rank_kernel, dim3(blocks, static_cast<unsigned>(images)), dim3(kThreads),
         0, stream, RankIn{scores, classes_, k_},
         RankOut{order_.get(), status_.get(), out.label, out.score, out.stride});
}

void mean_of_maps(const SelectedMaps& in, float* foreground, std::int32_t* status, Stream stream) {
  if (in.images == 0) return;
  launch("mean_of_maps", mean_kernel,
         dim3(blocks_for(in.cells, std::int32_t{kWarp}), static_cast<unsigned>(in.images)),
         dim3(kThreads), 0, stream, in, foreground, status);
}

AggregateMaps::AggregateMaps(std::int64_t max_images, std::int32_t classes, std::int32_t cells,
                             std::int32_t k)
    : classes_(classes),
      cells_(cells),
      rank_(max_images, classes, k),
      label_(static_cast<std::size_t>(max_images)),
      score_(static_cast<std::size_t>(max_images)) {}

void AggregateMaps::run(const float* maps, const float* scores, std::int64_t images,
                        float* foreground, Stream stream) const {
  rank_.run(scores, images, {label_.get(), score_.get(), 1}, stream);
  mean_of_maps({maps, rank_.order(), images, classes_, cells_, rank_.k()}, foreground,
               rank_.status(), stream);
}

}  // namespace bas_edge::cuda
