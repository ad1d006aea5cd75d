// SPDX-License-Identifier: Apache-2.0
// Machine code loaded on a device, shared by the steps that hold the same bytes.
#pragma once
#include <memory>
#include <mutex>

#include "kernels/api/step.h"
#include "kernels/run/cuda_driver.h"

namespace tuyere {

/// Unloaded when the last step that uses it goes.
class CudaModule {
 public:
  CudaModule(const CudaDriver& driver, int device, CUmodule module, Bytes code) : driver_(driver), device_(device), module_(module), code_(std::move(code)) {}
  ~CudaModule();
  CudaModule(const CudaModule&) = delete;
  CudaModule& operator=(const CudaModule&) = delete;

  /// The kernel `name`, allowed to use `shared_bytes` of dynamic shared memory and clusters of `cluster` blocks. The device must be current.
  Result<CUfunction> function(const std::string& name, int shared_bytes, int cluster);
  int device() const { return device_; }
  const Bytes& code() const { return code_; }

 private:
  Status allow_shared(CUfunction function, const std::string& name, int bytes);

  const CudaDriver& driver_;
  int device_;
  CUmodule module_;
  Bytes code_;
  std::mutex mutex_;
};

/// Loads a cubin, or finds it loaded. The device must be current. Thread-safe.
Result<std::shared_ptr<CudaModule>> load_module(int device, const Bytes& code);

}  // namespace tuyere
