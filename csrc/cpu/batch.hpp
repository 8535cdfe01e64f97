// Threads over the images of a batch, and nowhere else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace bas_edge::cpu {

// Calls work(first, end) on contiguous ranges of [0, images), one for each thread. If any throw,
// the exception of the lowest range is rethrown once all have ended.
template <typename Work>
void for_each_range(std::int64_t images, int threads, const Work& work) {
  const std::int64_t ranges = std::min<std::int64_t>(images, threads);
  if (ranges <= 1) {
    if (images > 0) work(std::int64_t{0}, images);
    return;
  }
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(ranges));
  const auto run = [&](std::int64_t range) {
    try {
      work(images * range / ranges, images * (range + 1) / ranges);
    } catch (...) {
      failures[static_cast<std::size_t>(range)] = std::current_exception();
    }
  };
  std::vector<std::thread> workers;
  workers.reserve(static_cast<std::size_t>(ranges - 1));
  std::int64_t started = 1;  // range 0 is the calling thread's
  try {
    for (; started < ranges; ++started) workers.emplace_back(run, started);
  } catch (const std::exception&) {
    // No more threads to be had: the calling thread does the ranges that found none.
  }
  run(0);
  for (; started < ranges; ++started) run(started);
  for (std::thread& worker : workers) worker.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace bas_edge::cpu
