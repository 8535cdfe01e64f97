// A CUDA call failed. Bindings translate it to bas_edge.errors.KernelError.
#pragma once

#include <stdexcept>
#include <string>

namespace bas_edge::cuda {

class KernelError : public std::runtime_error {
 public:
  explicit KernelError(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace bas_edge::cuda
