// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/runner.h"

#include <algorithm>
#include <chrono>
#include <functional>

namespace tuyere {
namespace {

Status in_running_step(const PlanStep& step, int index, const Status& status) {
  return {status.code(),
          "step " + std::to_string(index) + " '" + step.name + "'" + (step.tactic.empty() ? "" : " (" + step.tactic + ")") + ": " + status.message()};
}

}  // namespace

Result<std::unique_ptr<Runner>> Runner::make(const PlanBody& body, int device, DeviceApi* api) {
  std::unique_ptr<Runner> runner(new Runner(body, api));
  if (api) TRY(runner->open(device));
  return runner;
}

Status Runner::open(int device) {
  int streams = 1, events = 0;
  for (const PlanStep& step : body_.steps) {
    streams = std::max(streams, step.stream + 1);
    events = std::max(events, step.record_event + 1);
  }
  if (streams == 1) return Status::ok();
  sides_.resize(streams - 1);
  events_.resize(events);
  recorders_.resize(events);
  for (size_t i = 0; i < body_.steps.size(); ++i)
    if (body_.steps[i].record_event >= 0) recorders_[body_.steps[i].record_event] = i;
  TRY_ASSIGN(fork_, api_->create_event(device, false));
  for (Side& side : sides_) {
    TRY_ASSIGN(side.stream, api_->create_stream(device));
    TRY_ASSIGN(side.done, api_->create_event(device, false));
  }
  for (void*& event : events_) {
    TRY_ASSIGN(event, api_->create_event(device, false));
  }
  return Status::ok();
}

Runner::~Runner() {
  for (const Side& side : sides_) {
    api_->destroy_event(side.done);
    api_->destroy_stream(side.stream);
  }
  for (void* event : events_) api_->destroy_event(event);
  if (fork_) api_->destroy_event(fork_);
}

Status Runner::run_step(Prepared& prepared, size_t index, void* stream) noexcept {
  const Prepared::Step& step = prepared.steps[index];
  Status status = step.code->run(prepared.pointers.data() + step.first_pointer, stream);
  if (status.is_ok()) [[likely]]
    return status;
  return in_running_step(body_.steps[index], static_cast<int>(index), status);
}

Status Runner::run(Prepared& prepared, Range range, void* stream) noexcept {
  if (!sides_.empty()) return run_on_streams(prepared, range, stream);
  for (size_t i = range.first; i < range.last; ++i) TRY(run_step(prepared, i, stream));
  return Status::ok();
}

Status Runner::run_on_streams(Prepared& prepared, Range range, void* stream) noexcept {
  for (Side& side : sides_) side.used = false;
  TRY(api_->record(fork_, stream));
  for (size_t i = range.first; i < range.last; ++i) {
    const PlanStep& step = body_.steps[i];
    void* on = stream;
    if (step.stream > 0) {
      Side& side = sides_[step.stream - 1];
      on = side.stream;
      if (!side.used) TRY(api_->wait(on, fork_));
      side.used = true;
    }
    for (int event : step.wait_events)  // what an earlier part did has been joined
      if (recorders_[event] >= range.first) TRY(api_->wait(on, events_[event]));
    TRY(run_step(prepared, i, on));
    if (step.record_event >= 0) TRY(api_->record(events_[step.record_event], on));
  }
  return join(stream);
}

Status Runner::join(void* stream) noexcept {
  for (const Side& side : sides_) {
    if (!side.used) continue;
    TRY(api_->record(side.done, side.stream));
    TRY(api_->wait(stream, side.done));
  }
  return Status::ok();
}

namespace {

Result<std::vector<StepTime>> time_on_host(size_t count, const std::function<Status(size_t)>& run) {
  using Clock = std::chrono::steady_clock;
  std::vector<StepTime> times;
  for (size_t i = 0; i < count; ++i) {
    const auto begin = Clock::now();
    TRY(run(i));
    times.push_back({static_cast<int>(i), std::chrono::duration<double, std::micro>(Clock::now() - begin).count()});
  }
  return times;
}

/// An event before every step and one after the last.
Result<std::vector<StepTime>> time_on_device(size_t count, const std::function<Status(size_t)>& run, DeviceApi& api, int device, void* stream) {
  struct Events : std::vector<void*> {
    explicit Events(DeviceApi& api) : api(api) {}
    ~Events() {
      for (void* event : *this) api.destroy_event(event);
    }
    DeviceApi& api;
  } events(api);
  for (size_t i = 0; i <= count; ++i) {
    TRY_ASSIGN(void* event, api.create_event(device, true));
    events.push_back(event);
  }
  for (size_t i = 0; i < count; ++i) {
    TRY(api.record(events[i], stream));
    TRY(run(i));
  }
  TRY(api.record(events[count], stream));
  std::vector<StepTime> times;
  for (size_t i = 0; i < count; ++i) {
    TRY_ASSIGN(const double micros, api.elapsed_micros(events[i], events[i + 1]));
    times.push_back({static_cast<int>(i), micros});
  }
  return times;
}

}  // namespace

Result<std::vector<StepTime>> Runner::profile(Prepared& prepared, void* stream) {
  const auto run = [&](size_t i) { return run_step(prepared, i, stream); };
  if (api_) return time_on_device(prepared.steps.size(), run, *api_, prepared.device, stream);
  return time_on_host(prepared.steps.size(), run);
}

}  // namespace tuyere
