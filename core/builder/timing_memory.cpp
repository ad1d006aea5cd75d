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

Result<void*> TimingMemory::add(int64_t bytes, const std::vector<std::byte>& fill) {
  int64_t size = (std::max<int64_t>(bytes, 1) + 255) / 256 * 256;
  void* block = nullptr;
  if (api_) {
    TRY_ASSIGN(block, api_->alloc(device_, size));
  } else if (block = std::aligned_alloc(256, size); !block) {
    return Status(Code::OutOfMemory, "no memory for timing");
  }
  blocks_.push_back(block);
  if (api_) {
    std::vector<std::byte> zeros(fill.empty() ? size : 0);
    TRY(api_->copy_now(device_, block, fill.empty() ? zeros.data() : fill.data(), fill.empty() ? size : std::min<int64_t>(size, fill.size())));
  } else if (fill.empty()) {
    std::memset(block, 0, size);
  } else {
    std::memcpy(block, fill.data(), fill.size());
  }
  return block;
}

std::shared_ptr<void> TimingConstants::packed(const std::string& key, const std::function<std::shared_ptr<void>()>& make) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<void>& pack = packs_[key];
  if (!pack) pack = make();
  return pack;
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
  std::vector<std::byte> data(bytes);
  std::minstd_rand random(1234);
  int64_t count = bytes * 8 / bits(dtype);
  constexpr int64_t kPeriod = 4096;  // repeated: filling large tensors one by one would take longer than timing them
  int64_t first = std::min(count, kPeriod);
  for (int64_t i = 0; i < first; ++i) {
    double value = is_float(dtype) ? static_cast<double>(random() % 2000) / 1000.0 - 1.0 : static_cast<double>(random() % bound);
    store_from_double(dtype, data.data(), i, value);
  }
  int64_t period = bytes_of(dtype, kPeriod);
  for (int64_t at = period; at < bytes; at += period) std::memcpy(data.data() + at, data.data(), std::min(period, bytes - at));
  return data;
}

int64_t index_bound(const Problem& problem) {
  int64_t bound = 100;
  if (problem.in.empty()) return bound;
  for (int64_t size : problem.dims(problem.in[0])) bound = std::max<int64_t>(1, std::min(bound, size));
  return bound;
}

}  // namespace tuyere
