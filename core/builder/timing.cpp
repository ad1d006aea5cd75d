// SPDX-License-Identifier: Apache-2.0
#include "core/builder/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "common/log.h"
#include "core/builder/timing_memory.h"
#include "kernels/run/executors.h"

namespace tuyere {
namespace {

constexpr double kBudgetMicros = 20000;  // per candidate
constexpr double kHopeless = 4;          // times the best: not worth more than one look
constexpr int kMaxRounds = 50, kMinRounds = 3;

/// One candidate, prepared. sample() gives the microseconds of one run.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual Result<double> sample() = 0;
};

class CpuSampler : public Sampler {
 public:
  CpuSampler(std::unique_ptr<Executable> step, std::vector<void*> pointers) : step_(std::move(step)), pointers_(std::move(pointers)) {}
  Result<double> sample() override {
    using Clock = std::chrono::steady_clock;
    Clock::time_point begin = Clock::now();
    for (int i = 0; i < repeats_; ++i) TRY(step_->run(pointers_.data(), nullptr));
    double micros = std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / repeats_;
    if (repeats_ == 1 && micros < 5) repeats_ = 20;  // a clock read costs as much as such a step
    return micros;
  }

 private:
  std::unique_ptr<Executable> step_;
  std::vector<void*> pointers_;
  int repeats_ = 1;
};

/// A graph of `launches` runs between two events; steps that cannot be captured are launched one by one.
class CudaSampler : public Sampler {
 public:
  CudaSampler(DeviceApi* api, int device, std::unique_ptr<Executable> step, std::vector<void*> pointers)
      : api_(api), device_(device), step_(std::move(step)), pointers_(std::move(pointers)) {}
  ~CudaSampler() override {
    api_->destroy_graph(graph_);
    api_->destroy_event(begin_);
    api_->destroy_event(end_);
    api_->destroy_stream(stream_);
  }
  Status init() {
    TRY_ASSIGN(stream_, api_->create_stream(device_));
    TRY_ASSIGN(begin_, api_->create_event(device_, true));
    TRY_ASSIGN(end_, api_->create_event(device_, true));
    TRY(step_->run(pointers_.data(), stream_));  // warm-up: loads the module
    TRY(api_->synchronize(stream_));
    TRY_ASSIGN(double once, sample());
    launches_ = static_cast<int>(std::clamp(400 / std::max(once, 0.1), 1.0, 50.0));
    capture();
    return Status::ok();
  }
  Result<double> sample() override {
    TRY(api_->record(begin_, stream_));
    TRY(graph_ ? api_->launch_graph(graph_, stream_) : launch());
    TRY(api_->record(end_, stream_));
    TRY_ASSIGN(double micros, api_->elapsed_micros(begin_, end_));
    return micros / launches_;
  }

 private:
  Status launch() {
    for (int i = 0; i < launches_; ++i) TRY(step_->run(pointers_.data(), stream_));
    return Status::ok();
  }
  void capture() {
    if (!api_->begin_capture(stream_).is_ok()) return;
    Status launched = launch();
    Result<void*> graph = api_->end_capture(stream_);
    if (launched.is_ok() && graph.is_ok()) graph_ = *graph;
  }

  DeviceApi* api_;
  int device_;
  std::unique_ptr<Executable> step_;
  std::vector<void*> pointers_;
  void *stream_ = nullptr, *begin_ = nullptr, *end_ = nullptr, *graph_ = nullptr;
  int launches_ = 1;
};

/// The tensors of one problem, shared by its candidates.
class Bench {
 public:
  Bench(const Problem& problem, DeviceApi* api, int device) : problem_(problem), api_(api), device_(device), memory_(api, device) {}

  Status init() {
    int64_t bound = index_bound(problem_);
    args_.symbols = &problem_.hints;
    args_.store = &constants_;
    args_.device = device_;
    for (size_t i = 0; i < problem_.in.size(); ++i) {
      args_.in.push_back(view_at_hints(problem_, problem_.in[i]));
      const TensorView& view = args_.in.back();
      TRY_ASSIGN(void* data, memory_.add(span_bytes(view), random_bytes(view.dtype, span_bytes(view), bound)));
      pointers_.push_back(data);
      args_.constants.push_back(problem_.in[i].constant ? data : nullptr);
      args_.constant_keys.push_back(problem_.in[i].constant ? "timing/" + std::to_string(i) : "");
    }
    for (const TensorDesc& tensor : problem_.out) {
      args_.out.push_back(view_at_hints(problem_, tensor));
      TRY_ASSIGN(void* data, memory_.add(span_bytes(args_.out.back()), {}));
      pointers_.push_back(data);
    }
    return Status::ok();
  }

  Result<std::unique_ptr<Sampler>> sampler(const StepSpec& spec) {
    TRY_ASSIGN(Executor * executor, find_executor(spec.executor));
    TRY_ASSIGN(int64_t workspace, executor->workspace(spec, args_));
    std::vector<void*> pointers = pointers_;
    if (!spec.workspace.is_const(0) || workspace > 0) {
      TRY_ASSIGN(void* scratch, memory_.add(workspace, {}));
      pointers.push_back(scratch);
    }
    TRY_ASSIGN(std::unique_ptr<Executable> step, executor->prepare(spec, args_));
    if (!api_) return std::unique_ptr<Sampler>(new CpuSampler(std::move(step), std::move(pointers)));
    auto sampler = std::make_unique<CudaSampler>(api_, device_, std::move(step), std::move(pointers));
    TRY(sampler->init());
    return std::unique_ptr<Sampler>(std::move(sampler));
  }

 private:
  const Problem& problem_;
  DeviceApi* api_;
  int device_;
  TimingMemory memory_;
  TimingConstants constants_;
  PrepareArgs args_;
  std::vector<void*> pointers_;
};

double median(std::vector<double>& samples) {
  auto middle = samples.begin() + samples.size() / 2;
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

struct Candidate {
  std::unique_ptr<Sampler> sampler;
  std::vector<double> samples;
  int rounds = 0;
};

void take(Candidate& candidate, Timing& timing) {
  Result<double> micros = candidate.sampler->sample();
  if (micros.is_ok()) {
    candidate.samples.push_back(*micros);
    return;
  }
  timing.error = micros.status().message();
  candidate.rounds = 0;
}

/// One look at each (after a warm-up), then rounds in which all promising ones take turns, so that clocks and neighbours disturb all alike.
void measure(std::vector<Candidate>& candidates, std::vector<Timing>& timings) {
  double best = INFINITY;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!candidates[i].sampler) continue;
    for (int look = 0; look < 2 && timings[i].error.empty(); ++look) {
      candidates[i].samples.clear();
      take(candidates[i], timings[i]);
      if (!candidates[i].samples.empty() && candidates[i].samples[0] > kBudgetMicros * 5) break;
    }
    if (timings[i].error.empty()) best = std::min(best, candidates[i].samples[0]);
  }
  int longest = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    Candidate& c = candidates[i];
    if (!c.sampler || !timings[i].error.empty() || c.samples[0] > kHopeless * best) continue;
    double rounds = kBudgetMicros / std::max(c.samples[0], 1.0);
    c.rounds = static_cast<int>(std::clamp<double>(rounds, kMinRounds, kMaxRounds));
    longest = std::max(longest, c.rounds);
  }
  for (int round = 0; round < longest; ++round) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (round < candidates[i].rounds) take(candidates[i], timings[i]);
    }
  }
}

Status run(const Problem& problem, std::span<const StepSpec* const> steps, const Target& target, std::vector<Timing>& timings) {
  DeviceApi* api = nullptr;
  if (target.is_cuda()) {
    TRY_ASSIGN(api, cuda_device());
  }
  DeviceScope scope(api, target.device);
  TRY(scope.status());
  Bench bench(problem, api, target.device);
  TRY(bench.init());
  std::vector<Candidate> candidates(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    auto sampler = bench.sampler(*steps[i]);
    if (sampler.is_ok()) {
      candidates[i].sampler = std::move(*sampler);
    } else {
      timings[i].error = sampler.status().message();
    }
  }
  measure(candidates, timings);
  for (size_t i = 0; i < steps.size(); ++i) {
    if (timings[i].error.empty()) timings[i].micros = median(candidates[i].samples);
  }
  return Status::ok();
}

}  // namespace

std::vector<Timing> time_steps(const Problem& problem, std::span<const StepSpec* const> steps, const Target& target) {
  std::vector<Timing> timings(steps.size());
  Status status = run(problem, steps, target, timings);
  if (!status.is_ok()) {
    for (Timing& timing : timings) timing.error = status.message();
    TUYERE_LOG(Warning, "cannot time " << key(problem) << ": " << status.message());
  }
  return timings;
}

int64_t workspace_at_hints(const Problem& problem, const StepSpec& spec, const Target& target) {
  const int64_t planned = spec.workspace.eval(problem.hints);
  const Result<Executor*> executor = target.present ? find_executor(spec.executor) : Result<Executor*>(Status(Code::FailedPrecondition, "absent"));
  if (!executor.is_ok()) return planned;
  PrepareArgs args;
  for (const TensorDesc& tensor : problem.in) args.in.push_back(view_at_hints(problem, tensor));
  for (const TensorDesc& tensor : problem.out) args.out.push_back(view_at_hints(problem, tensor));
  static const std::byte somewhere{};  // the question depends on what is constant, not on its values
  for (const TensorDesc& tensor : problem.in) args.constants.push_back(tensor.constant ? &somewhere : nullptr);
  args.constant_keys.resize(problem.in.size());
  args.symbols = &problem.hints;
  args.device = target.is_cuda() ? target.device : -1;
  const Result<int64_t> asked = executor.value()->workspace(spec, args);
  return asked.is_ok() ? std::max(planned, asked.value()) : planned;
}

}  // namespace tuyere
