// Which set of SIMD kernels the ops run on. All sets give the same bits.
#pragma once

#include <string>
#include <vector>

namespace bas_edge::cpu {

// Names of the sets this processor can run, fastest first; "scalar" is always the last.
std::vector<std::string> available_paths();

std::string active_path();

// For tests: run every later call, on any thread, on this set. Throws InputError on a name that
// available_paths() does not list.
void set_path(const std::string& name);

}  // namespace bas_edge::cpu
