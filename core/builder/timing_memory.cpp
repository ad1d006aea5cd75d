// SPDX-License-Identifier: Apache-2.0
#include "core/builder/timing_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

namespace tuyere {

TimingMemory::~TimingMemory() {
  for (void* block : blocks_) api_ ? api_->free(device_, block) : std::free(block);
}

Result<void*> TimingMemory::add(int64_t bytes, const std::vector<std::byte>& pattern) {
  const int64_t size = (std::max<int64_t>(bytes, 1) + 255) / 256 * 256;
  void* block = nullptr;
  if (api_) {
    TRY_ASSIGN(block, api_->alloc(device_, size));
  } else if (block = std::aligned_alloc(256, static_cast<size_t>(size)); !block) {
    return Status(Code::OutOfMemory, "no memory for timing");
  }
  blocks_.push_back(block);
  TRY(api_ ? fill_device(block, size, pattern) : fill_host(block, size, pattern));
  return block;
}

/// Only the pattern crosses the bus: filling the tensors of large layers from the host would take longer than timing them.
Status TimingMemory::fill_device(void* block, int64_t size, const std::vector<std::byte>& pattern) {
  const DeviceScope scope(api_, device_);
  TRY(scope.status());
  int64_t filled = std::min<int64_t>(size, static_cast<int64_t>(pattern.size()));
  if (filled == 0) TRY(api_->fill(block, 0, size, nullptr));
  if (filled > 0) TRY(api_->copy_now(device_, block, pattern.data(), filled));
  for (int64_t at = filled; filled > 0 && at < size; at += std::min(at, size - at))
    TRY(api_->copy(static_cast<std::byte*>(block) + at, block, std::min(at, size - at), nullptr));
  return api_->synchronize(nullptr);
}

Status TimingMemory::fill_host(void* block, int64_t size, const std::vector<std::byte>& pattern) {
  auto* data = static_cast<std::byte*>(block);
  if (pattern.empty()) std::memset(data, 0, static_cast<size_t>(size));
  for (int64_t at = 0; !pattern.empty() && at < size; at += static_cast<int64_t>(pattern.size()))
    std::memcpy(data + at, pattern.data(), static_cast<size_t>(std::min<int64_t>(size - at, static_cast<int64_t>(pattern.size()))));
  return Status::ok();
}

std::shared_ptr<void> TimingConstants::packed(const std::string& key, const std::function<std::shared_ptr<void>()>& make) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<void>& pack = packs_[key];
  if (!pack) pack = make();
  return pack;
}

Result<ProblemArguments> arguments_of(const Problem& problem, int device, ConstantStore* store, const AddressOf& input, const AddressOf& output) {
  ProblemArguments result;
  result.prepare.symbols = &problem.hints;
  result.prepare.store = store;
  result.prepare.device = device;
  for (size_t i = 0; i < problem.in.size(); ++i) {
    TRY_ASSIGN(void* data, input(i));
    const bool constant = problem.in[i].constant;
    result.prepare.in.push_back(view_at_hints(problem, problem.in[i]));
    result.prepare.constants.push_back(constant ? data : nullptr);
    result.prepare.constant_keys.push_back(constant ? key(problem) + "/" + std::to_string(i) : "");
    result.pointers.push_back(data);
  }
  for (size_t i = 0; i < problem.out.size(); ++i) {
    TRY_ASSIGN(void* data, output(i));
    result.prepare.out.push_back(view_at_hints(problem, problem.out[i]));
    result.pointers.push_back(data);
  }
  return result;
}

TensorView view_at_hints(const Problem& problem, const TensorDesc& tensor) { return {tensor.dtype, problem.dims(tensor), problem.strides(tensor)}; }

int64_t span_bytes(const TensorView& view) {
  int64_t last = 0;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    if (view.shape[i] == 0) return 0;
    last += (view.shape[i] - 1) * view.strides[i];
  }
  return bytes_of(view.dtype, last + 1);
}

std::vector<std::byte> random_bytes(DType dtype, int64_t bytes, int64_t bound) {
  constexpr int64_t kPeriod = 4096;
  const int64_t count = std::min(bytes * 8 / bits(dtype), kPeriod);
  std::vector<std::byte> data(static_cast<size_t>(std::min(bytes, bytes_of(dtype, kPeriod))));
  std::minstd_rand random(1234);
  for (int64_t i = 0; i < count; ++i) {
    double value = is_float(dtype) ? static_cast<double>(random() % 2000) / 1000.0 - 1.0 : static_cast<double>(random() % bound);
    store_from_double(dtype, data.data(), i, value);
  }
  return data;
}

int64_t index_bound(const Problem& problem) {
  int64_t bound = 100;
  if (problem.in.empty()) return bound;
  for (int64_t size : problem.dims(problem.in[0])) bound = std::max<int64_t>(1, std::min(bound, size));
  return bound;
}

}  // namespace tuyere
