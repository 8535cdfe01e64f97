#include "bas_edge/dispatch.hpp"

#include <atomic>

#include "active_kernels.hpp"
#include "bas_edge/input_error.hpp"

namespace bas_edge::cpu {

#if defined(BAS_EDGE_X86)
namespace sse41 {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
#elif defined(BAS_EDGE_AARCH64)
namespace neon {
extern const Kernels kKernels;
}
#endif
namespace scalar {
extern const Kernels kKernels;
}

namespace {

std::vector<const Kernels*> runnable() {
  std::vector<const Kernels*> sets;
#if defined(BAS_EDGE_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) sets.push_back(&avx2::kKernels);
  if (__builtin_cpu_supports("sse4.1")) sets.push_back(&sse41::kKernels);
#elif defined(BAS_EDGE_AARCH64)
  sets.push_back(&neon::kKernels);  // every aarch64 has it
#endif
  sets.push_back(&scalar::kKernels);
  return sets;
}

std::atomic<const Kernels*>& active() {
  static std::atomic<const Kernels*> set{runnable().front()};
  return set;
}

}  // namespace

const Kernels& kernels() { return *active().load(std::memory_order_acquire); }

std::vector<std::string> available_paths() {
  std::vector<std::string> names;
  for (const Kernels* set : runnable()) names.emplace_back(set->name);
  return names;
}

std::string active_path() { return kernels().name; }

void set_path(const std::string& name) {
  for (const Kernels* set : runnable()) {
    if (name == set->name) {
      active().store(set, std::memory_order_release);
      return;
    }
  }
  throw InputError("this processor has no path '" + name + "'");
}

}  // namespace bas_edge::cpu
