// Stands in for NVIDIA's header of this name, so that csrc/cuda compiles as plain C++ and its
// kernels run on the CPU: every CUDA thread is a fiber, and the fibers of a block take turns in a
// random order that BAS_EDGE_EMULATION_SEED fixes. It is for tests: it shows whether a kernel is
// right and whether its result depends on the order of its threads, not how fast it is. Only what
// csrc/cuda uses is here, and device memory is host memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// All fibers of a launch run on one thread of the system, one block after another.
#define __shared__ thread_local

struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
};
inline const cudaStream_t cudaStreamLegacy = reinterpret_cast<cudaStream_t>(1);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : x(nx), y(ny), z(nz) {}
};
struct uint3 {
  unsigned x, y, z;
};

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMalloc(void** memory, std::size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);

namespace emulated {
void set_shared_limit(const void* kernel, std::size_t bytes);
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
  emulated::set_shared_limit(reinterpret_cast<const void*>(kernel),
                             static_cast<std::size_t>(bytes));
  return cudaSuccess;
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

// Of the fiber that runs now.
extern thread_local uint3 threadIdx, blockIdx;
extern thread_local dim3 blockDim, gridDim;

namespace emulated {

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   const std::function<void()>& thread);

void wait_for_block();
void wait_for_warp();
void perhaps_yield();  // before each atomic, so that other orders are seen

// What the lanes of this fiber's warp have handed in: [32] values of 8 bytes.
std::uint64_t* warp_values();
void check_full_mask(unsigned mask);

inline int lane() { return static_cast<int>(threadIdx.x % 32); }

template <typename Value, typename Read>
auto exchange(unsigned mask, Value value, const Read& read) {
  static_assert(sizeof(Value) <= 8);
  check_full_mask(mask);
  std::uint64_t* values = warp_values();
  std::memcpy(&values[lane()], &value, sizeof value);
  wait_for_warp();
  const auto result = read([&](int lane) {
    Value of_lane;
    std::memcpy(&of_lane, &values[lane], sizeof of_lane);
    return of_lane;
  });
  wait_for_warp();
  return result;
}

}  // namespace emulated

using std::max;
using std::min;

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  return emulated::launch(*config, reinterpret_cast<const void*>(kernel),
                          [&] { kernel(static_cast<Parameters>(arguments)...); });
}

inline void __syncthreads() { emulated::wait_for_block(); }
inline void __syncwarp() { emulated::wait_for_warp(); }

template <typename Value>
Value __shfl_xor_sync(unsigned mask, Value value, int distance) {
  return emulated::exchange(mask, value,
                            [&](const auto& of) { return of(emulated::lane() ^ distance); });
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return emulated::exchange(mask, predicate, [](const auto& of) {
    unsigned bits = 0;
    for (int lane = 0; lane < 32; ++lane) bits |= unsigned{of(lane) != 0} << lane;
    return bits;
  });
}

template <typename Value, typename Change>
Value emulated_atomic(Value* at, const Change& change) {
  emulated::perhaps_yield();
  const Value before = *at;
  *at = change(before);
  return before;
}
template <typename Value>
Value atomicAdd(Value* at, Value by) {
  return emulated_atomic(at, [&](Value old) { return old + by; });
}
template <typename Value>
Value atomicSub(Value* at, Value by) {
  return emulated_atomic(at, [&](Value old) { return old - by; });
}
template <typename Value>
Value atomicOr(Value* at, Value by) {
  return emulated_atomic(at, [&](Value old) { return old | by; });
}
template <typename Value>
Value atomicMin(Value* at, Value with) {
  return emulated_atomic(at, [&](Value old) { return std::min(old, with); });
}
template <typename Value>
Value atomicMax(Value* at, Value with) {
  return emulated_atomic(at, [&](Value old) { return std::max(old, with); });
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
