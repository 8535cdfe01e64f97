// The one exception of the C++ API: the caller's data cannot be used. Bindings translate it.
#pragma once

#include <stdexcept>
#include <string>

namespace bas_edge {

class InputError : public std::runtime_error {
 public:
  explicit InputError(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace bas_edge
