// SPDX-License-Identifier: Apache-2.0
// What an Engine holds, and the context over any of its bodies.
#pragma once
#include <atomic>
#include <mutex>

#include "runtime/engine/constants.h"
#include "runtime/engine/engine.h"

namespace tuyere {

struct Engine::Impl {
  Plan plan;
  EngineOptions options;
  int device = -1;
  DeviceApi* api = nullptr;          // GPU plans
  std::shared_ptr<const void> keep;  // the file's bytes

  std::mutex refit_mutex;    // one refit at a time
  mutable std::mutex mutex;  // guards constants_
  std::atomic<uint64_t> version{0};

  std::shared_ptr<const ConstantSet> constants() const {
    const std::lock_guard lock(mutex);
    return constants_;
  }
  void set_constants(std::shared_ptr<const ConstantSet> next) {
    const std::lock_guard lock(mutex);
    constants_ = std::move(next);
    version.store(constants_->version, std::memory_order_release);
  }

 private:
  std::shared_ptr<const ConstantSet> constants_;
};

/// Gives a loaded engine its constants: those of `set`, the shared parameters, and what the weight program makes of them. FailedPrecondition names
/// the parameters that are nowhere.
Status first_constants(const std::shared_ptr<Engine>& engine, std::shared_ptr<ConstantSet> set, std::span<const SharedWeight> shared);
/// A constant in host memory: itself, or a copy of what is on the device.
Result<PlanConstant> on_host(const Engine::Impl& impl, const ConstantSet& set, const std::string& name);
/// A context over bodies[body]; device -1: the body runs on the CPU (the weight program of any engine).
Result<std::unique_ptr<Context>> make_context(std::shared_ptr<Engine> engine, int body, int device);

}  // namespace tuyere
