// SPDX-License-Identifier: Apache-2.0
#include "core/builder/whole_network.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "common/log.h"
#include "core/builder/timing_memory.h"
#include "runtime/engine/engine.h"
#include "runtime/plan/sizes.h"
#include "runtime/plan/validate.h"

namespace tuyere {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kHottest = 8;            // problems
constexpr double kWorthwhile = 0.995;     // a smaller gain is noise
constexpr double kBudgetMicros = 200000;  // of one measurement
constexpr int kMinRounds = 5, kMaxRounds = 100;

/// Inputs and outputs of the program in the memory of its device.
class Io {
 public:
  Io(DeviceApi* api, int device) : memory_(api, device), device_(api ? device : -1) {}

  Status add(const PlanBody& body, const Symbols& hints) {
    TRY_ASSIGN(const BodySizes sizes, eval_sizes(body, hints));
    views_.reserve(body.inputs.size() + body.outputs.size());
    for (const PlanIo& io : body.inputs) TRY(add(sizes.tensors[io.tensor], true, in));
    for (const PlanIo& io : body.outputs) TRY(add(sizes.tensors[io.tensor], false, out));
    return Status::ok();
  }

  std::vector<TensorRef> in, out;

 private:
  Status add(const TensorView& view, bool fill, std::vector<TensorRef>& list) {
    views_.push_back(view);
    const int64_t bytes = std::max<int64_t>(view_extent(view.dtype, view.shape, view.strides), 1);
    TRY_ASSIGN(void* data, memory_.add(bytes, fill ? random_bytes(view.dtype, bytes, 2) : std::vector<std::byte>{}));
    list.push_back({data, view.dtype, views_.back().shape, views_.back().strides, device_});
    return Status::ok();
  }

  TimingMemory memory_;
  int device_;
  std::vector<TensorView> views_;
};

Result<double> call(Context& context, const Io& io, DeviceApi* api, void* stream) {
  const Clock::time_point begin = Clock::now();
  TRY(context.execute(io.in, io.out, stream));
  if (api) TRY(api->synchronize(stream));
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

Result<double> median_call(Context& context, const Io& io, DeviceApi* api, void* stream) {
  double first = 0;
  for (int i = 0; i < 3; ++i) {  // the first prepares, the second captures
    TRY_ASSIGN(first, call(context, io, api, stream));
  }
  const int rounds = static_cast<int>(std::clamp<double>(kBudgetMicros / std::max(first, 1.0), kMinRounds, kMaxRounds));
  std::vector<double> samples;
  for (int i = 0; i < rounds; ++i) {
    TRY_ASSIGN(const double micros, call(context, io, api, stream));
    samples.push_back(micros);
  }
  std::nth_element(samples.begin(), samples.begin() + rounds / 2, samples.end());
  return samples[rounds / 2];
}

/// The distinct problems with measured runners-up, by the time they take in all, the hottest first.
std::vector<std::vector<size_t>> hottest(const std::vector<Problem>& problems, const std::vector<Choice>& choices) {
  std::map<std::string, std::vector<size_t>> steps;
  for (size_t i = 0; i < problems.size(); ++i)
    if (!choices[i].runners_up.empty()) steps[key(problems[i])].push_back(i);
  std::vector<std::vector<size_t>> result;
  for (auto& [name, list] : steps) result.push_back(std::move(list));
  const auto micros = [&](const std::vector<size_t>& list) { return choices[list[0]].micros * static_cast<double>(list.size()); };
  std::stable_sort(result.begin(), result.end(), [&](const auto& a, const auto& b) { return micros(a) > micros(b); });
  if (result.size() > kHottest) result.resize(kHottest);
  return result;
}

std::string id_of(const std::string& text) { return content_id(std::as_bytes(std::span(text))); }

}  // namespace

Result<double> time_engine(const EngineFile& file, const Symbols& hints, const Target& target) {
  DeviceApi* api = nullptr;
  if (target.is_cuda()) {
    TRY_ASSIGN(api, cuda_device());
  }
  const auto bytes = std::make_shared<const std::vector<std::byte>>(write_engine(file));
  EngineOptions options;
  options.device = target.device;
  TRY_ASSIGN(const std::shared_ptr<Engine> engine, Engine::load(*bytes, bytes, options));
  TRY_ASSIGN(const std::unique_ptr<Context> context, engine->create_context());
  const DeviceScope scope(api, target.device);
  TRY(scope.status());
  Io io(api, target.device);
  TRY(io.add(engine->body(), hints));
  if (!api) return median_call(*context, io, nullptr, nullptr);
  TRY_ASSIGN(void* stream, api->create_stream(target.device));
  Result<double> micros = median_call(*context, io, api, stream);
  api->destroy_stream(stream);
  return micros;
}

int check_in_network(const std::vector<Problem>& problems, std::vector<Choice>& choices, const std::function<EngineFile(const std::vector<Choice>&)>& emit,
                     const Symbols& hints, const Target& target, TimingCache& cache) {
  std::string all_problems;
  for (const Problem& problem : problems) all_problems += key(problem) + "\n";
  const std::string network = "network " + id_of(all_problems);
  int measured = 0;
  const auto measure = [&]() -> std::optional<double> {
    std::string text;
    for (const Choice& choice : choices) text += choice.tactic + " " + choice.config + "\n";
    const std::string which = id_of(text);
    if (auto known = cache.find(network, "whole", which)) return known;
    Result<double> micros = time_engine(emit(choices), hints, target);
    if (!micros.is_ok()) {
      TUYERE_LOG(Warning, "the whole network cannot be timed: " << micros.status().message());
      return std::nullopt;
    }
    ++measured;
    cache.add(network, {"whole", which, *micros});
    return cache.find(network, "whole", which);
  };
  const std::vector<std::vector<size_t>> hot = hottest(problems, choices);
  std::optional<double> best = hot.empty() ? std::nullopt : measure();
  for (const std::vector<size_t>& steps : hot) {
    const std::vector<Choice> runners_up = choices[steps[0]].runners_up;
    for (const Choice& other : runners_up) {
      if (!best) return measured;
      const std::vector<Choice> before = choices;
      for (size_t i : steps) {
        const std::vector<std::string> why_not = choices[i].why_not;
        choices[i] = other;
        choices[i].why_not = why_not;
      }
      const std::optional<double> micros = measure();
      if (micros && *micros < kWorthwhile * *best) {
        TUYERE_LOG(Info, "in the network " << *micros << " us instead of " << *best << " us with " << other.tactic << " " << other.config);
        best = micros;
      } else {
        choices = before;
      }
    }
  }
  return measured;
}

}  // namespace tuyere
