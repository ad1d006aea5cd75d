// SPDX-License-Identifier: Apache-2.0
// Owned memory on the host or a device, lent by the host table when one is installed.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>

#include "common/status.h"
#include "kernels/run/device_api.h"
#include "kernels/run/host_table.h"

namespace tuyere {

/// What shares one allocation starts at multiples of this.
constexpr int64_t kMemoryAlignment = 256;
inline int64_t align_memory(int64_t bytes) { return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment; }

class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory();

  /// device -1: host memory (api may be nullptr). 64-byte aligned on the host, 256 on a device. Usable on every stream on return.
  static Result<Memory> allocate(int64_t bytes, int device, DeviceApi* api, void* stream = nullptr);
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  int64_t bytes() const { return bytes_; }

 private:
  void swap(Memory& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(device_, other.device_);
    std::swap(api_, other.api_);
    std::swap(lender_, other.lender_);
  }

  void* data_ = nullptr;
  int64_t bytes_ = 0;
  int device_ = -1;
  DeviceApi* api_ = nullptr;
  const HostTable* lender_ = nullptr;
};

}  // namespace tuyere
