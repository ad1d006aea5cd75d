// SPDX-License-Identifier: Apache-2.0
#include "core/builder/timing.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "common/log.h"
#include "core/builder/timing_memory.h"
#include "kernels/run/executors.h"

namespace tuyere {
namespace {

constexpr double kCandidateMicros = 20000;  // per candidate; at least kCandidateRounds rounds are taken whatever they cost
// CPUs are shared with other programs, which only ever make a sample longer: there are more samples, of which the lower quartile counts.
constexpr double kCpuCandidateMicros = 80000, kCpuQuantile = 0.25, kQuantile = 0.5;
constexpr double kTooSlow = 4;  // times the best: not worth more rounds; one look is enough to see that of a long step
constexpr double kLongMicros = 1000;
constexpr double kInterruptionMicros = 10000;  // by which another program lengthens a single sample on a CPU
constexpr int kCandidateRounds = 3;

/// Rounds in which all candidates within `within` times the best one take turns: the closer the race, the longer it lasts.
struct Stage {
  int rounds;
  double within;
};
constexpr Stage kStages[] = {{3, kTooSlow}, {5, 1.5}, {12, 1.1}};

/// One candidate, prepared. sample() gives the microseconds of one run.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual Result<double> sample() = 0;
  /// After a first look at a candidate that has a chance: what makes samples precise.
  virtual void settle(double micros) = 0;
};

/// The state of a CPU's caches before a step in a network: what the step before left is there, weights of some size are not.
class ColdWeights {
 public:
  ColdWeights(const Problem& problem, const std::vector<void*>& pointers) {
    int64_t weights = 0;
    for (size_t i = 0; i < problem.in.size(); ++i) {
      const int64_t bytes = span_bytes(view_at_hints(problem, problem.in[i]));
      if (problem.in[i].constant) weights += bytes;
      if (!problem.in[i].constant) warm_.push_back({static_cast<const std::byte*>(pointers[i]), static_cast<size_t>(bytes)});
    }
    if (weights < kLeastBytes) return;
    const long level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    other_.resize(level2 > 0 ? static_cast<size_t>(std::min<long>(level2, kMostBytes)) : kMostBytes / 4);
  }

  void set_up() const {
    if (other_.empty()) return;
    read(other_);
    for (const std::span<const std::byte> input : warm_) read(input);
  }

 private:
  static constexpr int64_t kLeastBytes = 128 << 10;  // of weights that are worth the trouble
  static constexpr long kMostBytes = 8 << 20;
  static constexpr size_t kLine = 64;

  static void read(std::span<const std::byte> memory) {
    const volatile std::byte* at = memory.data();
    for (size_t i = 0; i < memory.size(); i += kLine) (void)at[i];
  }

  std::vector<std::span<const std::byte>> warm_;
  std::vector<std::byte> other_;
};

class CpuSampler : public Sampler {
 public:
  CpuSampler(std::unique_ptr<Executable> step, std::vector<void*> pointers, const ColdWeights& caches)
      : step_(std::move(step)), pointers_(std::move(pointers)), caches_(caches) {}
  Result<double> sample() override {
    using Clock = std::chrono::steady_clock;
    caches_.set_up();
    Clock::time_point begin = Clock::now();
    for (int i = 0; i < repeats_; ++i) TRY(step_->run(pointers_.data(), nullptr));
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / repeats_;
  }
  void settle(double micros) override { repeats_ = micros < 5 ? 20 : 1; }  // a clock read costs as much as such a step

 private:
  std::unique_ptr<Executable> step_;
  std::vector<void*> pointers_;
  const ColdWeights& caches_;
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
    return api_->synchronize(stream_);
  }
  void settle(double micros) override {
    launches_ = static_cast<int>(std::clamp(400 / std::max(micros, 0.1), 1.0, 50.0));
    capture();
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
    const int64_t bound = index_bound(problem_);
    const auto input = [&](size_t i) {
      const TensorView view = view_at_hints(problem_, problem_.in[i]);
      return memory_.add(span_bytes(view), random_bytes(view.dtype, span_bytes(view), bound));
    };
    const auto output = [&](size_t i) { return memory_.add(span_bytes(view_at_hints(problem_, problem_.out[i])), {}); };
    TRY_ASSIGN(arguments_, arguments_of(problem_, device_, &constants_, input, output));
    if (!api_) caches_.emplace(problem_, arguments_.pointers);
    return Status::ok();
  }

  /// One workspace for all: candidates never run at the same time.
  Status reserve(std::span<const StepSpec* const> steps) {
    for (const StepSpec* spec : steps) {
      Result<int64_t> bytes = workspace(*spec);
      if (bytes.is_ok()) scratch_bytes_ = std::max(scratch_bytes_, *bytes);
    }
    TRY_ASSIGN(scratch_, memory_.add(scratch_bytes_, {}));
    return Status::ok();
  }

  Result<std::unique_ptr<Sampler>> sampler(const StepSpec& spec) {
    TRY_ASSIGN(Executor * executor, find_executor(spec.executor));
    TRY_ASSIGN(const int64_t needed, workspace(spec));
    std::vector<void*> pointers = arguments_.pointers;
    if (!spec.workspace.is_const(0) || needed > 0) {
      if (needed > scratch_bytes_) return Status(Code::OutOfMemory, "no memory for the workspace");
      pointers.push_back(scratch_);
    }
    TRY_ASSIGN(std::unique_ptr<Executable> step, executor->prepare(spec, arguments_.prepare));
    if (!api_) return std::unique_ptr<Sampler>(new CpuSampler(std::move(step), std::move(pointers), *caches_));
    auto sampler = std::make_unique<CudaSampler>(api_, device_, std::move(step), std::move(pointers));
    TRY(sampler->init());
    return std::unique_ptr<Sampler>(std::move(sampler));
  }

 private:
  Result<int64_t> workspace(const StepSpec& spec) const {
    TRY_ASSIGN(Executor * executor, find_executor(spec.executor));
    return executor->workspace(spec, arguments_.prepare);
  }

  const Problem& problem_;
  DeviceApi* api_;
  int device_;
  TimingMemory memory_;
  void* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
  TimingConstants constants_;
  ProblemArguments arguments_;
  std::optional<ColdWeights> caches_;
};

double quantile(std::vector<double>& samples, double part) {
  auto place = samples.begin() + static_cast<ptrdiff_t>(static_cast<double>(samples.size()) * part);
  std::nth_element(samples.begin(), place, samples.end());
  return *place;
}

/// The candidates of one problem and their race.
class Race {
 public:
  Race(size_t count, std::vector<Timing>& timings, bool cpu)
      : runners_(count), timings_(timings), cpu_(cpu), budget_(cpu ? kCpuCandidateMicros : kCandidateMicros), quantile_(cpu ? kCpuQuantile : kQuantile) {}

  /// A look at a candidate (after a warm-up) as soon as it is there: a hopeless one is not looked at again.
  void enter(size_t i, std::unique_ptr<Sampler> sampler) {
    Runner& runner = runners_[i];
    runner.sampler = std::move(sampler);
    take(i);
    if (!runner.sampler) return;
    if (runner.samples[0] > kLongMicros) look_again_if_interrupted(i, best_look_);
    if (!runner.sampler) return;
    const double first = runner.samples[0];
    best_look_ = std::min(best_look_, first);
    if (first > kLongMicros && first > kTooSlow * best_look_) return;
    runner.sampler->settle(first);
    if (first > kCandidateMicros * kCandidateRounds) return;  // a warm-up would cost more than it tells
    take(i);
    runner.samples.erase(runner.samples.begin());
  }

  void run() {
    for (const Stage& stage : kStages) {
      double best = INFINITY;
      for (Runner& runner : runners_)
        if (runner.sampler) best = std::min(best, time_of(runner));
      for (size_t i = 0; i < runners_.size(); ++i)
        if (runners_[i].sampler) look_again_if_interrupted(i, best);
      std::vector<size_t> close;
      for (size_t i = 0; i < runners_.size(); ++i)
        if (runners_[i].sampler && time_of(runners_[i]) <= stage.within * best) close.push_back(i);
      if (close.size() == 1 && &stage != kStages) break;
      for (int round = 0; round < stage.rounds; ++round)
        for (size_t i : close)
          if (affordable(runners_[i])) take(i);
    }
    for (size_t i = 0; i < runners_.size(); ++i)
      if (runners_[i].sampler) timings_[i].micros = time_of(runners_[i]);
  }

 private:
  struct Runner {
    std::unique_ptr<Sampler> sampler;  // none: not in the race
    std::vector<double> samples;
    double spent = 0;
  };

  double time_of(Runner& runner) const { return quantile(runner.samples, quantile_); }
  bool affordable(const Runner& runner) const {
    return runner.sampler && (runner.spent < budget_ || runner.samples.size() < static_cast<size_t>(kCandidateRounds));
  }

  /// A single sample that would end the race for a candidate, and need not be its own time, gets a second one.
  void look_again_if_interrupted(size_t i, double best) {
    Runner& runner = runners_[i];
    if (!cpu_ || runner.samples.size() != 1) return;
    const double look = runner.samples[0];
    if (look <= kTooSlow * best || look - kInterruptionMicros > kTooSlow * best) return;
    take(i);
    if (!runner.sampler) return;
    runner.samples = {std::min(look, runner.samples[1])};
  }

  void take(size_t i) {
    Runner& runner = runners_[i];
    Result<double> micros = runner.sampler->sample();
    if (micros.is_ok()) {
      runner.samples.push_back(*micros);
      runner.spent += *micros;
      return;
    }
    timings_[i].error = micros.status().message();
    runner.sampler.reset();
  }

  std::vector<Runner> runners_;
  std::vector<Timing>& timings_;
  bool cpu_;
  double budget_, quantile_;
  double best_look_ = INFINITY;
};

Status run(const Problem& problem, std::span<const StepSpec* const> steps, const Target& target, std::vector<Timing>& timings) {
  DeviceApi* api = nullptr;
  if (target.is_cuda()) {
    TRY_ASSIGN(api, cuda_device());
  }
  DeviceScope scope(api, target.device);
  TRY(scope.status());
  Bench bench(problem, api, target.device);
  TRY(bench.init());
  TRY(bench.reserve(steps));
  Race race(steps.size(), timings, !api);
  for (size_t i = 0; i < steps.size(); ++i) {
    auto sampler = bench.sampler(*steps[i]);
    if (sampler.is_ok()) {
      race.enter(i, std::move(*sampler));
    } else {
      timings[i].error = sampler.status().message();
    }
  }
  race.run();
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
