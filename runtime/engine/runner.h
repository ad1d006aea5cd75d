// SPDX-License-Identifier: Apache-2.0
// Runs the steps of a prepared body in order; on a device also over side streams and events.
#pragma once
#include <vector>

#include "kernels/run/device_api.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/prepared.h"

namespace tuyere {

class Runner {
 public:
  /// Steps [first, last).
  struct Range {
    size_t first, last;
  };

  /// api nullptr: a CPU body, streams and events are ignored.
  static Result<std::unique_ptr<Runner>> make(const PlanBody& body, int device, DeviceApi* api);
  ~Runner();

  /// Everything is ordered after earlier work on `stream` and before later work on it. The device must be current.
  Status run(Prepared& prepared, void* stream) noexcept { return run(prepared, {0, prepared.steps.size()}, stream); }
  /// A part of the steps; the parts before have been run.
  Status run(Prepared& prepared, Range range, void* stream) noexcept;
  /// One step after the other on `stream`, timed.
  Result<std::vector<StepTime>> profile(Prepared& prepared, void* stream);

 private:
  Runner(const PlanBody& body, DeviceApi* api) : body_(body), api_(api) {}
  Status open(int device);
  Status run_on_streams(Prepared& prepared, Range range, void* stream) noexcept;
  Status run_step(Prepared& prepared, size_t index, void* stream) noexcept;
  Status join(void* stream) noexcept;

  const PlanBody& body_;
  DeviceApi* api_;
  struct Side {
    void *stream = nullptr, *done = nullptr;
    bool used = false;
  };
  std::vector<Side> sides_;
  std::vector<void*> events_;      // by plan event id
  std::vector<size_t> recorders_;  // the step that records it
  void* fork_ = nullptr;
};

}  // namespace tuyere
