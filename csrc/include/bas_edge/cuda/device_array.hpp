// Memory on the device that is current when it is made.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace bas_edge::cuda {

void* allocate(std::size_t bytes);  // at least one byte; throws KernelError
void release(void* memory) noexcept;
void upload(void* to, const void* from, std::size_t bytes);  // waits until it is there

template <typename Value>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(std::size_t count)
      : data_(static_cast<Value*>(allocate(count * sizeof(Value)))) {}
  explicit DeviceArray(const std::vector<Value>& values) : DeviceArray(values.size()) {
    upload(data_, values.data(), values.size() * sizeof(Value));
  }
  DeviceArray(DeviceArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { release(data_); }

  Value* get() const { return data_; }

 private:
  Value* data_ = nullptr;
};

}  // namespace bas_edge::cuda
