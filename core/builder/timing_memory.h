// SPDX-License-Identifier: Apache-2.0
// The memory of a problem that is being timed: tensors at hint sizes, on the host or on a device.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/api/problem.h"
#include "kernels/api/step.h"
#include "kernels/run/device_api.h"

namespace tuyere {

/// Host memory when `api` is null.
class TimingMemory {
 public:
  TimingMemory(DeviceApi* api, int device) : api_(api), device_(device) {}
  ~TimingMemory();
  TimingMemory(const TimingMemory&) = delete;
  TimingMemory& operator=(const TimingMemory&) = delete;

  /// `bytes` (at least one) of memory filled with repetitions of `pattern`, or zeros when it is empty.
  Result<void*> add(int64_t bytes, const std::vector<std::byte>& pattern);

 private:
  Status fill_device(void* block, int64_t size, const std::vector<std::byte>& pattern);
  static Status fill_host(void* block, int64_t size, const std::vector<std::byte>& pattern);

  DeviceApi* api_;
  int device_;
  std::vector<void*> blocks_;
};

/// Every request is packed once and kept: as an engine does.
class TimingConstants : public ConstantStore {
 public:
  std::shared_ptr<void> packed(const std::string& key, const std::function<std::shared_ptr<void>()>& make) override;

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<void>> packs_;
};

/// What the steps of a problem are prepared and run with.
struct ProblemArguments {
  PrepareArgs prepare;
  std::vector<void*> pointers;  // inputs, outputs
};

/// At the hint sizes. input(i), output(i): addresses.
using AddressOf = std::function<Result<void*>(size_t)>;
Result<ProblemArguments> arguments_of(const Problem& problem, int device, ConstantStore* store, const AddressOf& input, const AddressOf& output);

/// A view of the tensor at the hint sizes, and the bytes its strides span.
TensorView view_at_hints(const Problem& problem, const TensorDesc& tensor);
int64_t span_bytes(const TensorView& view);
/// A pattern for a tensor of `bytes`, not longer than it. Floats in [-1, 1); integers in [0, bound), so that they can index any dimension of input 0.
std::vector<std::byte> random_bytes(DType dtype, int64_t bytes, int64_t bound);
int64_t index_bound(const Problem& problem);

}  // namespace tuyere
