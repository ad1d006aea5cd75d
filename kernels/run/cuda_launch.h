// SPDX-License-Identifier: Apache-2.0
// One launch of a cuda step for concrete sizes.
#pragma once
#include <memory>
#include <vector>

#include "kernels/api/cuda_step.h"
#include "kernels/run/cuda_modules.h"

namespace tuyere {

/// The values of a kernel's parameters. They stay where they are: the driver reads them through `params` at every launch.
class CudaParams {
 public:
  /// `pointers`: how many addresses run() gets; an argument beyond them is DataLoss.
  Status init(const CudaDriver& driver, int device, const std::vector<KernelArg>& args, const Symbols& symbols, size_t pointers);
  /// Writes the addresses, and encodes the tensor maps whose address has changed.
  Status bind(void* const* pointers) noexcept;
  void** data() { return params_.data(); }

 private:
  struct Pointer {
    size_t slot;
    int position;
    uint64_t offset;
  };
  struct Map {
    CUtensorMap map;
    int position;
    uint64_t offset, address;  // address: the one encoded, 0 for none
    CUtensorMapDataType type;
    CUtensorMapSwizzle swizzle;
    std::vector<cuuint64_t> dims, strides;
    std::vector<cuuint32_t> box, steps;
  };
  Status add(const KernelArg& arg, size_t slot, const Symbols& symbols, size_t pointers);
  Status add_map(const KernelArg& arg, size_t slot, const Symbols& symbols);
  Status encode(Map& map, uint64_t address) noexcept;

  const CudaDriver* driver_ = nullptr;
  int device_ = 0;
  std::vector<uint64_t> values_;  // one slot per parameter
  std::vector<void*> params_;
  std::vector<Pointer> pointers_;
  std::vector<std::unique_ptr<Map>> maps_;
};

/// A kernel with its grid and parameters, or a memset.
class CudaLaunch {
 public:
  /// FailedPrecondition: not launchable on this device. DataLoss: arguments that cannot be.
  static Result<CudaLaunch> make(const CudaDriver& driver, const KernelLaunch& launch, const StepSpec& spec, const PrepareArgs& args, size_t pointers);
  Status run(void* const* pointers, CUstream stream) noexcept;
  /// Nothing to do at these sizes.
  bool empty() const { return empty_; }

 private:
  Status init_set(const KernelLaunch& launch, const Symbols& symbols, size_t pointers);
  Status init_kernel(const KernelLaunch& launch, const StepSpec& spec, const PrepareArgs& args, const Symbols& symbols, size_t pointers);
  void add_attributes(const KernelLaunch& launch, int major);

  const CudaDriver* driver_ = nullptr;
  std::string name_;
  bool empty_ = false, is_set_ = false;
  int position_ = 0;  // memset
  uint64_t offset_ = 0, bytes_ = 0;
  std::shared_ptr<CudaModule> module_;
  CUfunction function_ = nullptr;
  CUlaunchConfig config_ = {};
  CUlaunchAttribute attributes_[2] = {};
  CudaParams params_;
};

}  // namespace tuyere
