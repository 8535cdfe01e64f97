// The scheduler behind cuda_runtime.h: fibers of one block, run in turns.
#undef _FORTIFY_SOURCE  // which takes a jump to another stack for a mistake
#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_runtime.h"

namespace bas_edge::cuda {
// What kernels declare as `extern __shared__`.
thread_local std::uint32_t dynamic_shared[96 * 1024 / 4];
}  // namespace bas_edge::cuda

thread_local uint3 threadIdx, blockIdx;
thread_local dim3 blockDim, gridDim;

namespace emulated {
namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
constexpr unsigned kMaxThreads = 1024;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "emulated CUDA: %s\n", what);
  std::abort();
}

// A place where `expected` fibers wait for each other.
struct Barrier {
  unsigned expected = 0, arrived = 0, generation = 0;
};

// It outlives its block: the next one's thread of this number runs on it too.
struct Fiber {
  jmp_buf here;  // where it stopped; a jump asks nothing of the system, as swapcontext does
  std::unique_ptr<char[]> stack;
  bool begun = false;
  bool finished;
  Barrier* waits_for;
  unsigned generation;  // of waits_for when the wait began
};

struct Block {
  jmp_buf scheduler;
  std::vector<std::unique_ptr<Fiber>> fibers;
  unsigned threads = 0;
  unsigned current = 0;
  const std::function<void()>* body = nullptr;
  Barrier barrier;
  Barrier warp_barriers[kMaxThreads / 32];
  std::uint64_t values[kMaxThreads];
  std::mt19937 random;
};

Block& block() {
  static thread_local Block instance;
  return instance;
}

void yield() {
  Block& b = block();
  if (_setjmp(b.fibers[b.current]->here) == 0) _longjmp(b.scheduler, 1);
}

void wait(Barrier& barrier) {
  Block& b = block();
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  Fiber& fiber = *b.fibers[b.current];
  fiber.waits_for = &barrier;
  fiber.generation = barrier.generation;
  yield();
  fiber.waits_for = nullptr;
}

void fiber_main() {
  Block& b = block();
  for (;;) {
    (*b.body)();
    b.fibers[b.current]->finished = true;
    yield();
  }
}

// Lets a fiber run until it yields. A function that calls setjmp is never inlined.
void resume(Fiber& fiber) {
  Block& b = block();
  if (_setjmp(b.scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.here, 1);
  fiber.begun = true;
  ucontext_t first;
  getcontext(&first);
  first.uc_stack.ss_sp = fiber.stack.get();
  first.uc_stack.ss_size = kStackBytes;
  first.uc_link = nullptr;
  makecontext(&first, fiber_main, 0);
  setcontext(&first);
}

void run_block(Block& b) {
  while (b.fibers.size() < b.threads) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack.reset(new char[kStackBytes]);
    b.fibers.push_back(std::move(fiber));
  }
  for (unsigned t = 0; t < b.threads; ++t) {
    Fiber& fiber = *b.fibers[t];
    fiber.finished = false;
    fiber.waits_for = nullptr;
  }
  b.barrier = {b.threads, 0, 0};
  for (unsigned warp = 0; warp < b.threads / 32; ++warp) b.warp_barriers[warp] = {32, 0, 0};

  std::vector<unsigned> order(b.threads);
  std::iota(order.begin(), order.end(), 0u);
  // Some warps are slow: in most rounds they stand still, so that others run far ahead of them.
  bool slow[kMaxThreads / 32];
  for (unsigned warp = 0; warp < b.threads / 32; ++warp) slow[warp] = b.random() % 2 == 0;
  bool everyone = false;
  for (unsigned left = b.threads; left > 0;) {
    std::shuffle(order.begin(), order.end(), b.random);
    bool still[kMaxThreads / 32], progress = false;
    for (unsigned warp = 0; warp < b.threads / 32; ++warp) {
      still[warp] = slow[warp] && !everyone && b.random() % 32 != 0;
    }
    for (const unsigned t : order) {
      Fiber& fiber = *b.fibers[t];
      if (fiber.finished || still[t / 32]) continue;
      if (fiber.waits_for != nullptr && fiber.waits_for->generation == fiber.generation) continue;
      progress = true;
      b.current = t;
      threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
      resume(fiber);
      if (fiber.finished) --left;
    }
    if (!progress && everyone) {
      fail("deadlock: some threads wait at a barrier that others never reach");
    }
    everyone = !progress;
  }
}

}  // namespace

void wait_for_block() { wait(block().barrier); }

void wait_for_warp() {
  Block& b = block();
  wait(b.warp_barriers[b.current / 32]);
}

void perhaps_yield() {
  if (block().random() % 8 == 0) yield();
}

std::uint64_t* warp_values() {
  Block& b = block();
  return b.values + b.current / 32 * 32;
}

void check_full_mask(unsigned mask) {
  if (mask != 0xffffffffu) fail("only full warps are emulated");
}

// Each kernel may have 48 KiB, until it is given more: the last one to say so is obeyed.
std::map<const void*, std::size_t>& shared_limits() {
  static std::map<const void*, std::size_t> limits;
  return limits;
}
std::mutex& limits_mutex() {
  static std::mutex mutex;
  return mutex;
}

void set_shared_limit(const void* kernel, std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(limits_mutex());
  shared_limits()[kernel] = bytes;
}

std::size_t shared_limit(const void* kernel) {
  const std::lock_guard<std::mutex> lock(limits_mutex());
  const auto found = shared_limits().find(kernel);
  return found == shared_limits().end() ? 48 * 1024 : found->second;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   const std::function<void()>& thread) {
  const dim3 grid = config.gridDim, size = config.blockDim;
  const unsigned threads = size.x * size.y * size.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
      threads == 0 || threads > kMaxThreads ||
      config.dynamicSmemBytes > sizeof bas_edge::cuda::dynamic_shared) {
    return cudaErrorInvalidConfiguration;
  }
  if (config.dynamicSmemBytes > shared_limit(kernel)) return cudaErrorInvalidValue;
  if (threads % 32 != 0) fail("a block must be whole warps");
  Block& b = block();
  static const char* const seed = std::getenv("BAS_EDGE_EMULATION_SEED");
  if (seed != nullptr) b.random.seed(static_cast<unsigned>(std::atoi(seed)));
  b.threads = threads;
  b.body = &thread;
  blockDim = size;
  gridDim = grid;

  std::vector<unsigned> order(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), b.random);
  for (const unsigned at : order) {
    blockIdx = {at % grid.x, at / grid.x % grid.y, at / (grid.x * grid.y)};
    // Shared memory holds whatever was there before.
    std::memset(bas_edge::cuda::dynamic_shared, 0xa5, sizeof bas_edge::cuda::dynamic_shared);
    run_block(b);
  }
  return cudaSuccess;
}

}  // namespace emulated

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation       ? "cudaErrorMemoryAllocation"
         : error == cudaErrorInvalidConfiguration ? "cudaErrorInvalidConfiguration"
         : error == cudaSuccess                   ? "cudaSuccess"
                                                  : "cudaErrorInvalidValue";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
cudaError_t cudaGetLastError() { return cudaSuccess; }

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  // Few processors and little shared memory, so that loops and fallbacks run too.
  *value = attribute == cudaDevAttrMultiProcessorCount ? 3 : 64 * 1024;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xa5, bytes);  // new memory holds anything
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
