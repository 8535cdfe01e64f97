#include "bas_edge/cuda/device_array.hpp"
#include "launch.cuh"

namespace bas_edge::cuda {

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  const std::string what = "allocating " + std::to_string(bytes) + " bytes on the device";
  check(cudaMalloc(&memory, bytes == 0 ? 1 : bytes), what.c_str());
  return memory;
}

void release(void* memory) noexcept {
  if (memory != nullptr) cudaFree(memory);  // at exit the driver may be gone: nothing to be done
}

void upload(void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "copying a table to the device");
  // From pageable memory it may return before the data is there, and streams that do not wait for
  // the default one could read too early.
  check(cudaStreamSynchronize(cudaStreamLegacy), "copying a table to the device");
}

}  // namespace bas_edge::cuda
