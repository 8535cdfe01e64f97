// cudaStream_t, for headers that need no CUDA.
#pragma once

struct CUstream_st;

namespace bas_edge::cuda {

using Stream = CUstream_st*;

}  // namespace bas_edge::cuda
