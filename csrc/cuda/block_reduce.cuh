// One value from all threads of a block, in an order that does not depend on timing.
#pragma once

#include "launch.cuh"

namespace bas_edge::cuda {

// The combination of every thread's value, on every thread. `combine` is symmetric, so lanes that
// exchange their values agree to the bit. `scratch` holds one value for each warp; the block must
// be whole warps along x.
template <typename Value, typename Combine>
__device__ Value block_reduce(Value value, Value* scratch, const Combine& combine) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  const unsigned warps = blockDim.x / kWarp;
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  Value all = scratch[0];
  for (unsigned warp = 1; warp < warps; ++warp) all = combine(all, scratch[warp]);
  __syncthreads();  // scratch may be used again
  return all;
}

}  // namespace bas_edge::cuda
