// SPDX-License-Identifier: Apache-2.0
#include "core/builder/rehearsal.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>

#include "core/builder/timing_memory.h"
#include "kernels/run/executors.h"

namespace tuyere {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kWeightBytes = int64_t{256} << 20;  // weights that have memory of their own, more than caches hold
constexpr double kSegmentMicros = 15000;              // calls of one kind in a row: long enough for clocks to follow
constexpr int kLeadIn = 3;                            // one call of so many is not counted: it runs in the heat of the others
constexpr int kMostCalls = 300;
constexpr int kTurns = 2, kCloseTurns = 4;
constexpr double kClose = 0.03;

/// Everything that steps point to.
class Memory {
 public:
  Memory(std::span<const Problem> problems, DeviceApi* api, int device) : problems_(problems), api_(api), memory_(api, device) {}

  Status init() {
    for (const Problem& problem : problems_) measure(problem);
    for (auto& [key, pool] : inputs_) {
      TRY_ASSIGN(pool.data, memory_.add(pool.bytes, random_bytes(key.second, pool.bytes, 1)));
    }
    for (auto& [position, pool] : outputs_) {
      TRY_ASSIGN(pool.data, memory_.add(pool.bytes, {}));
    }
    return Status::ok();
  }

  Result<void*> input(const Problem& problem, size_t i) {
    const TensorView view = view_at_hints(problem, problem.in[i]);
    if (pooled(problem.in[i])) return inputs_[{i, view.dtype}].data;
    const int64_t bytes = span_bytes(view);
    void*& shared = own_[key(problem) + " " + std::to_string(i)];
    if (shared && (!api_ || own_bytes_ + bytes > kWeightBytes)) return shared;
    own_bytes_ += bytes;
    TRY_ASSIGN(shared, memory_.add(bytes, random_bytes(view.dtype, bytes, index_bound(problem))));
    return shared;
  }

  void* output(size_t i) { return outputs_[i].data; }

  /// One workspace for all. It may move: what was prepared does not know its address.
  Result<void*> scratch(int64_t bytes) {
    if (bytes > scratch_.bytes) {
      TRY_ASSIGN(scratch_.data, memory_.add(bytes, {}));
      scratch_.bytes = bytes;
    }
    return scratch_.data;
  }

 private:
  struct Block {
    void* data = nullptr;
    int64_t bytes = 0;
  };

  static bool pooled(const TensorDesc& tensor) { return !tensor.constant && is_float(tensor.dtype); }

  void measure(const Problem& problem) {
    const auto grow = [&](Block& block, const TensorDesc& tensor) { block.bytes = std::max(block.bytes, span_bytes(view_at_hints(problem, tensor))); };
    for (size_t i = 0; i < problem.in.size(); ++i)
      if (pooled(problem.in[i])) grow(inputs_[{i, problem.in[i].dtype}], problem.in[i]);
    for (size_t i = 0; i < problem.out.size(); ++i) grow(outputs_[i], problem.out[i]);
  }

  std::span<const Problem> problems_;
  DeviceApi* api_;
  TimingMemory memory_;
  std::map<std::pair<size_t, DType>, Block> inputs_;  // by position and type
  std::map<size_t, Block> outputs_;                   // by position
  std::map<std::string, void*> own_;                  // of weights and indices, by problem and position
  int64_t own_bytes_ = 0;
  Block scratch_;
};

/// A step with its addresses.
struct Launch {
  Executable* step;
  std::vector<void*> pointers;
};

/// Between two events on a stream, or by a clock.
class Stopwatch {
 public:
  Stopwatch(DeviceApi* api, int device) : api_(api), device_(device) {}
  ~Stopwatch() {
    if (!api_) return;
    api_->destroy_event(begin_);
    api_->destroy_event(end_);
    api_->destroy_stream(stream_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  Status init() {
    if (!api_) return Status::ok();
    TRY_ASSIGN(stream_, api_->create_stream(device_));
    TRY_ASSIGN(begin_, api_->create_event(device_, true));
    TRY_ASSIGN(end_, api_->create_event(device_, true));
    return Status::ok();
  }

  void* stream() const { return stream_; }

  /// Microseconds of `calls` calls of `run`, after `lead_in` that are not counted.
  template <class F>
  Result<double> time(int lead_in, int calls, F run) {
    for (int i = 0; i < lead_in; ++i) TRY(run());
    const Clock::time_point begin = Clock::now();
    if (api_) TRY(api_->record(begin_, stream_));
    for (int i = 0; i < calls; ++i) TRY(run());
    if (!api_) return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
    TRY(api_->record(end_, stream_));
    return api_->elapsed_micros(begin_, end_);
  }

 private:
  DeviceApi* api_;
  int device_;
  void *stream_ = nullptr, *begin_ = nullptr, *end_ = nullptr;
};

/// The body with one set of choices: a graph of all launches where they can be captured.
class Take {
 public:
  Take(DeviceApi* api, std::vector<Launch> launches) : api_(api), launches_(std::move(launches)) {}
  ~Take() {
    if (graph_) api_->destroy_graph(graph_);
  }
  Take(const Take&) = delete;
  Take& operator=(const Take&) = delete;

  Status init(void* stream) {
    TRY(launch(stream));  // loads what is loaded late
    if (!api_) return Status::ok();
    TRY(api_->synchronize(stream));
    if (!api_->begin_capture(stream).is_ok()) return Status::ok();
    const Status launched = launch(stream);
    const Result<void*> graph = api_->end_capture(stream);
    if (launched.is_ok() && graph.is_ok()) graph_ = graph.value();
    return Status::ok();
  }
  Status run(void* stream) { return graph_ ? api_->launch_graph(graph_, stream) : launch(stream); }

 private:
  Status launch(void* stream) {
    for (Launch& launch : launches_) TRY(launch.step->run(launch.pointers.data(), stream));
    return Status::ok();
  }

  DeviceApi* api_;
  std::vector<Launch> launches_;
  void* graph_ = nullptr;
};

class Rehearsal : public NetworkTimer {
 public:
  Rehearsal(std::span<const Problem> problems, const Target& target) : problems_(problems), cuda_(target.is_cuda()), device_(target.device) {}

  ~Rehearsal() override {
    const DeviceScope scope(api_, device_);
    first_.take.reset();
    second_.take.reset();
    executables_.clear();
    watch_.reset();
    memory_.reset();
  }

  Result<std::pair<double, double>> compare(const std::vector<Choice>& a, const std::vector<Choice>& b) override {
    if (cuda_ && !api_) {
      TRY_ASSIGN(api_, cuda_device());
    }
    const DeviceScope scope(api_, device_);
    TRY(scope.status());
    if (!memory_) TRY(init());
    TRY(stage(first_, a));
    TRY(stage(second_, b));
    TRY_ASSIGN(auto micros, take_turns());
    if (micros.second < micros.first) std::swap(first_, second_);  // likely the next one's rival
    return micros;
  }

 private:
  struct Staged {
    std::string id;
    std::unique_ptr<Take> take;
    double look = 0;  // microseconds of a call, roughly
  };

  Status init() {
    memory_ = std::make_unique<Memory>(problems_, api_, device_);
    watch_ = std::make_unique<Stopwatch>(api_, device_);
    TRY(watch_->init());
    TRY(memory_->init());
    for (const Problem& problem : problems_) {
      ProblemArguments& arguments = arguments_.emplace_back();
      if (group(problem.op) == OpGroup::control) continue;
      const auto input = [&](size_t i) { return memory_->input(problem, i); };
      const auto output = [&](size_t i) { return Result<void*>(memory_->output(i)); };
      TRY_ASSIGN(arguments, arguments_of(problem, device_, &packs_, input, output));
    }
    return Status::ok();
  }

  /// Equal problems share what is prepared: addresses come with every launch.
  Result<Executable*> prepared(size_t i, const Choice& choice) {
    std::unique_ptr<Executable>& known = executables_[key(problems_[i]) + "\n" + choice.tactic + " " + choice.config];
    if (known) return known.get();
    TRY_ASSIGN(Executor * executor, find_executor(choice.spec.executor));
    TRY_ASSIGN(known, executor->prepare(choice.spec, arguments_[i].prepare));
    return known.get();
  }

  Result<Launch> launch(size_t i, const Choice& choice) {
    TRY_ASSIGN(Executor * executor, find_executor(choice.spec.executor));
    TRY_ASSIGN(const int64_t bytes, executor->workspace(choice.spec, arguments_[i].prepare));
    Launch result{nullptr, arguments_[i].pointers};
    if (!choice.spec.workspace.is_const(0) || bytes > 0) {
      TRY_ASSIGN(void* scratch, memory_->scratch(bytes));
      result.pointers.push_back(scratch);
    }
    TRY_ASSIGN(result.step, prepared(i, choice));
    return result;
  }

  Status stage(Staged& staged, const std::vector<Choice>& choices) {
    std::string id = names_of(choices);
    if (staged.take && staged.id == id) return Status::ok();
    std::vector<Launch> launches;
    for (size_t i = 0; i < problems_.size(); ++i) {
      if (group(problems_[i].op) == OpGroup::control) continue;
      TRY_ASSIGN(Launch one, launch(i, choices[i]));
      launches.push_back(std::move(one));
    }
    staged = {std::move(id), std::make_unique<Take>(api_, std::move(launches)), 0};
    TRY(staged.take->init(watch_->stream()));
    TRY_ASSIGN(staged.look, watch_->time(1, 1, [&] { return staged.take->run(watch_->stream()); }));
    return Status::ok();
  }

  Result<std::pair<double, double>> take_turns() {
    std::pair<double, double> sums{0, 0};
    for (int turn = 0; turn < kCloseTurns; ++turn) {
      TRY_ASSIGN(const double first, segment(first_));
      TRY_ASSIGN(const double second, segment(second_));
      sums.first += first;
      sums.second += second;
      const double ratio = sums.second / sums.first;
      if (turn + 1 >= kTurns && (ratio > 1 || ratio < 1 - kClose)) return std::pair{sums.first / (turn + 1), sums.second / (turn + 1)};
    }
    return std::pair{sums.first / kCloseTurns, sums.second / kCloseTurns};
  }

  /// Microseconds of one call among many.
  Result<double> segment(Staged& staged) {
    const int calls = static_cast<int>(std::clamp<double>(kSegmentMicros / std::max(staged.look, 1.0), 1, kMostCalls));
    TRY_ASSIGN(const double micros, watch_->time(std::max(1, calls / kLeadIn), calls, [&] { return staged.take->run(watch_->stream()); }));
    return micros / calls;
  }

  std::span<const Problem> problems_;
  bool cuda_;
  int device_;
  DeviceApi* api_ = nullptr;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Stopwatch> watch_;
  TimingConstants packs_;
  std::vector<ProblemArguments> arguments_;                         // by step
  std::map<std::string, std::unique_ptr<Executable>> executables_;  // by problem, tactic and configuration
  Staged first_, second_;
};

}  // namespace

std::unique_ptr<NetworkTimer> make_rehearsal(std::span<const Problem> problems, const Target& target) { return std::make_unique<Rehearsal>(problems, target); }

}  // namespace tuyere
