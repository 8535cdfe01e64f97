// The set of kernels in use, for the ops.
#pragma once

#include "kernels.hpp"

namespace bas_edge::cpu {

// One pointer for a whole call: a concurrent set_path() must not change kernels half-way.
const Kernels& kernels();

}  // namespace bas_edge::cpu
