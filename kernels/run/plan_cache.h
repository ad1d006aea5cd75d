// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace tuyere {

/// What library executors chose or built, by the text that determines it, so that asking for the workspace, preparing, and further contexts do the work once.
/// Forgets everything when full. Thread-safe.
template <class T>
class PlanCache {
 public:
  explicit PlanCache(size_t capacity) : capacity_(capacity) {}
  std::shared_ptr<T> find(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto at = plans_.find(key);
    return at == plans_.end() ? nullptr : at->second;
  }
  void add(const std::string& key, std::shared_ptr<T> plan) {
    const std::lock_guard lock(mutex_);
    if (plans_.size() >= capacity_) plans_.clear();
    plans_[key] = std::move(plan);
  }

 private:
  size_t capacity_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<T>> plans_;
};

}  // namespace tuyere
