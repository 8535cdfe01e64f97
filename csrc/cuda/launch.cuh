// Checked calls and launches. A launch that CUDA refuses is reported here, not at a later wait.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "bas_edge/cuda/kernel_error.hpp"

namespace bas_edge::cuda {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  const bool no_device = error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice;
  throw KernelError(
      std::string("CUDA: ") + what + " failed: " +
      (no_device ? "there is no NVIDIA GPU here, or its driver is missing or too old: " : "") +
      cudaGetErrorName(error) + " (" + std::to_string(static_cast<int>(error)) + "), " +
      cudaGetErrorString(error));
}

template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, cudaStream_t stream, Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

template <typename Count>
constexpr unsigned blocks_for(Count count, Count each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

}  // namespace bas_edge::cuda
