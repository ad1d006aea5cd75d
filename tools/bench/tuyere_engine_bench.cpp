// SPDX-License-Identifier: Apache-2.0
// tuyere-engine-bench model.engine: times an engine file without Python, as `tuyere bench` does. Links only libtuyere_runtime.so.
#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <random>
#include <stdexcept>

#include "kernels/run/device_api.h"
#include "runtime/engine/engine.h"
#include "runtime/plan/sizes.h"
#include "tools/bench/energy_meter.h"
#include "tools/bench/timing_report.h"

namespace tuyere::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kUsage =
    "usage: tuyere-engine-bench model.engine [--size NAME=N]... [--device N] [--seconds S] [--warmup S] [--profile] [--json]\n"
    "  --size     a dynamic size by its name; otherwise the one that the engine was tuned for\n"
    "  --device   CUDA ordinal of a GPU engine (0)\n"
    "  --seconds  of measuring (2), after --warmup seconds (0.5)\n"
    "  --profile  the time of each step, run one by one\n"
    "  --json     as `tuyere bench --json`\n";

constexpr int kQueue = 8;  // calls between two waits of the throughput, not so many that the launch queue is full
constexpr size_t kFewest = 10;

void check(const Status& status) {
  if (!status.is_ok()) throw std::runtime_error(status.message());
}
template <class T>
T need(Result<T> result) {
  check(result.status());
  return std::move(*result);
}

struct Options {
  std::string path;
  std::vector<std::pair<std::string, int64_t>> sizes;
  int device = 0;
  double seconds = 2, warmup = 0.5;
  bool profile = false, json = false;
};

double number(const std::string& option, const std::string& text) {
  size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  if (used == 0 || used != text.size() || !(value >= 0)) throw std::invalid_argument(option + " takes a number, not '" + text + "'");
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw std::invalid_argument(arg + " takes a value");
      return argv[++i];
    };
    if (arg == "--profile") {
      options.profile = true;
    } else if (arg == "--json") {
      options.json = true;
    } else if (arg == "--seconds") {
      options.seconds = number(arg, value());
    } else if (arg == "--warmup") {
      options.warmup = number(arg, value());
    } else if (arg == "--device") {
      options.device = static_cast<int>(number(arg, value()));
    } else if (arg == "--size") {
      const std::string text = value();
      const size_t equal = text.find('=');
      if (equal == std::string::npos) throw std::invalid_argument("--size takes NAME=NUMBER, not '" + text + "'");
      options.sizes.emplace_back(text.substr(0, equal), static_cast<int64_t>(number(arg, text.substr(equal + 1))));
    } else if (arg.starts_with("-") || !options.path.empty()) {
      throw std::invalid_argument("unknown argument '" + arg + "'");
    } else {
      options.path = arg;
    }
  }
  if (options.path.empty()) throw std::invalid_argument("which engine file?");
  return options;
}

Symbols symbols_of(const PlanBody& body, const std::vector<std::pair<std::string, int64_t>>& given) {
  Symbols symbols;
  std::string names;
  for (const PlanSymbol& symbol : body.symbols) {
    symbols.set(symbol.name, symbol.opt);
    names += (names.empty() ? "" : ", ") + symbol.name;
  }
  for (const auto& [name, size] : given) {
    if (!symbols.find(name)) throw std::invalid_argument("the engine has no size '" + name + "'" + (names.empty() ? "; all are fixed" : "; it has " + names));
    symbols.set(name, size);
  }
  return symbols;
}

/// Floats in [-1, 1) and zeros, which index everything.
std::vector<std::byte> values_for(DType type, int64_t bytes) {
  std::vector<std::byte> data(static_cast<size_t>(bytes));
  std::minstd_rand random(1);
  const int64_t count = is_float(type) ? bytes * 8 / bits(type) : 0;
  for (int64_t i = 0; i < count; ++i) store_from_double(type, data.data(), i, static_cast<double>(random() % 2000) / 1000.0 - 1.0);
  return data;
}

/// Inputs or outputs on the engine's device, with host memory to copy them from or to.
class Tensors {
 public:
  Tensors(DeviceApi* api, int device) : api_(api), device_(device) {}
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;
  ~Tensors() {
    for (const TensorRef& ref : refs_)
      if (api_) api_->free(device_, ref.data);
  }

  void add(const TensorView& view, int64_t bytes) {
    views_.push_back(std::make_unique<TensorView>(view));
    host_.push_back(values_for(view.dtype, std::max<int64_t>(bytes, 1)));
    void* data = host_.back().data();
    if (api_) data = need(api_->alloc(device_, static_cast<int64_t>(host_.back().size())));
    refs_.push_back({data, view.dtype, views_.back()->shape, views_.back()->strides, device_});
    if (api_) copy(refs_.size() - 1, true);
  }
  /// All of them; waits.
  void transfer(bool to_device) {
    for (size_t i = 0; i < refs_.size(); ++i) copy(i, to_device);
    check(api_->synchronize(nullptr));
  }
  std::span<const TensorRef> refs() const { return refs_; }

 private:
  void copy(size_t i, bool to_device) {
    void *there = refs_[i].data, *here = host_[i].data();
    check(api_->copy(to_device ? there : here, to_device ? here : there, static_cast<int64_t>(host_[i].size()), nullptr));
  }

  DeviceApi* api_;
  int device_;
  std::vector<std::unique_ptr<TensorView>> views_;
  std::vector<std::vector<std::byte>> host_;
  std::vector<TensorRef> refs_;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        engine_(need(Engine::load(options.path, {.device = options.device}))),
        api_(engine_->device() >= 0 ? need(cuda_device()) : nullptr),
        scope_(api_, std::max(0, engine_->device())),
        inputs_(api_, engine_->device()),
        outputs_(api_, engine_->device()),
        context_(need(engine_->create_context())) {
    const PlanBody& body = engine_->body();
    const BodySizes sizes = need(eval_sizes(body, symbols_of(body, options.sizes)));
    for (const PlanIo& io : body.outputs)
      if (io.data_dependent) throw std::runtime_error("output '" + io.name + "' has a size that depends on data: time it with `tuyere bench`");
    for (const PlanIo& io : body.inputs) add(inputs_, body, sizes, io);
    for (const PlanIo& io : body.outputs) add(outputs_, body, sizes, io);
    check(context_->prepare(inputs_.refs()));
    if (!api_) return;
    stream_ = need(api_->create_stream(engine_->device()));
    begin_ = need(api_->create_event(engine_->device(), true));
    end_ = need(api_->create_event(engine_->device(), true));
  }
  ~Bench() {
    if (!api_) return;
    context_.reset();  // it waits for its last call, on the stream
    api_->destroy_event(begin_);
    api_->destroy_event(end_);
    api_->destroy_stream(stream_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  TimingReport run() {
    for_seconds(options_.warmup, 3, [&] { run_one(), wait(); });
    TimingReport report;
    single_calls(report);
    queued_calls(report);
    if (api_) {
      report.upload = transfers(inputs_, true);
      report.download = transfers(outputs_, false);
    }
    report.mode = context_->mode();
    report.weight_bytes = engine_->weight_bytes();
    report.arena_bytes = context_->arena_bytes();
    if (options_.profile) profile(report);
    return report;
  }

 private:
  static void add(Tensors& tensors, const PlanBody& body, const BodySizes& sizes, const PlanIo& io) {
    tensors.add(sizes.tensors[io.tensor], sizes.buffer_bytes[body.tensors[io.tensor].buffer]);
  }
  static double millis(Clock::time_point from, Clock::time_point to) { return std::chrono::duration<double, std::milli>(to - from).count(); }

  static size_t for_seconds(double seconds, size_t at_least, const std::function<void()>& call) {
    size_t count = 0;
    for (const Clock::time_point begin = Clock::now(); count < at_least || millis(begin, Clock::now()) < seconds * 1e3; ++count) call();
    return count;
  }

  void run_one() { check(context_->execute(inputs_.refs(), outputs_.refs(), stream_)); }
  void wait() {
    if (api_) check(api_->synchronize(stream_));
  }

  void single_calls(TimingReport& report) {
    std::vector<double> latency, enqueue, device;
    report.calls = for_seconds(options_.seconds / 2, kFewest, [&] {
      if (api_) check(api_->record(begin_, stream_));
      const Clock::time_point begin = Clock::now();
      run_one();
      const Clock::time_point returned = Clock::now();
      if (api_) check(api_->record(end_, stream_));
      wait();
      latency.push_back(millis(begin, Clock::now()));
      enqueue.push_back(millis(begin, returned));
      if (api_) device.push_back(need(api_->elapsed_micros(begin_, end_)) / 1e3);
    });
    report.latency = Spread::of(latency);
    report.enqueue = Spread::of(enqueue);
    if (api_) report.device = Spread::of(device);
    report.warnings = warnings_of(latency);
  }

  void queued_calls(TimingReport& report) {
    const std::optional<EnergyMeter> meter = api_ ? std::optional<EnergyMeter>(engine_->device()) : std::nullopt;
    const std::optional<double> before = meter ? meter->joules() : std::nullopt;
    const Clock::time_point begin = Clock::now();
    const size_t queues = for_seconds(options_.seconds / 2, 2, [&] {
      for (int i = 0; i < kQueue; ++i) run_one();
      wait();
    });
    const auto calls = static_cast<double>(queues * kQueue);
    report.throughput = calls / (millis(begin, Clock::now()) / 1e3);
    if (before) report.energy = (*meter->joules() - *before) / calls;
  }

  /// From and to pageable memory.
  static std::optional<Spread> transfers(Tensors& tensors, bool to_device) {
    if (tensors.refs().empty()) return std::nullopt;
    std::vector<double> times;
    for (int i = 0; i < 20; ++i) {
      const Clock::time_point begin = Clock::now();
      tensors.transfer(to_device);
      if (i >= 3) times.push_back(millis(begin, Clock::now()));
    }
    return Spread::of(times);
  }

  void profile(TimingReport& report) {
    need(context_->profile(inputs_.refs(), outputs_.refs(), stream_));
    const std::vector<StepTime> times = need(context_->profile(inputs_.refs(), outputs_.refs(), stream_));
    const std::vector<PlanStep>& steps = engine_->body().steps;
    for (const StepTime& time : times) report.steps.push_back({steps[time.step].name, steps[time.step].tactic, time.micros});
    std::stable_sort(report.steps.begin(), report.steps.end(), [](const StepReport& a, const StepReport& b) { return a.micros > b.micros; });
  }

  const Options& options_;
  std::shared_ptr<Engine> engine_;
  DeviceApi* api_;
  DeviceScope scope_;
  Tensors inputs_, outputs_;
  std::unique_ptr<Context> context_;
  void *stream_ = nullptr, *begin_ = nullptr, *end_ = nullptr;
};

}  // namespace
}  // namespace tuyere::bench

int main(int argc, char** argv) try {
  const tuyere::bench::Options options = tuyere::bench::parse(argc, argv);
  const tuyere::bench::TimingReport report = tuyere::bench::Bench(options).run();
  if (options.json) {
    std::cout << report.json().dump(1) << "\n";
  } else {
    report.print();
  }
} catch (const std::invalid_argument& error) {
  return std::fprintf(stderr, "error: %s\n%s", error.what(), tuyere::bench::kUsage), 2;
} catch (const std::exception& error) {
  return std::fprintf(stderr, "error: %s\n", error.what()), 1;
}
