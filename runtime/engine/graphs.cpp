// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/graphs.h"

#include <algorithm>

namespace tuyere {
namespace {

constexpr size_t kMaxGraphs = 16;
constexpr int kMissesBeforeStaging = 4;
constexpr int kLaunchesWithoutGraph = 2;  // of our own: a graph takes the host no less, and keeps a launch from beginning before the one before it ends

/// Writing back whole spans is right only when a view has no gaps.
bool is_dense(const IoSlot& slot) { return slot.extent == bytes_of(slot.view.dtype, slot.view.numel()); }

bool can_stage(const Prepared& prepared) {
  for (size_t i = 0; i < prepared.inputs.size(); ++i)
    if (prepared.body.inputs[i].mutated && !is_dense(prepared.inputs[i])) return false;
  return std::all_of(prepared.outputs.begin(), prepared.outputs.end(), [](const IoSlot& slot) { return !slot.bound_by_caller || is_dense(slot); });
}

/// Runs of steps that can be captured, and the steps between them. A graph of one step saves nothing.
std::vector<std::pair<Runner::Range, bool>> split(const Prepared& prepared) {
  std::vector<std::pair<Runner::Range, bool>> parts;
  for (size_t i = 0; i < prepared.steps.size(); ++i) {
    const bool graph = prepared.steps[i].capturable;
    if (parts.empty() || parts.back().second != graph) parts.push_back({{i, i}, graph});
    parts.back().first.last = i + 1;
  }
  if (parts.size() > 1)
    for (auto& [range, graph] : parts) graph &= range.last - range.first > 1;
  return parts;
}

bool needs_graph(const Prepared& prepared) {
  int launches = 0;
  for (const Prepared::Step& step : prepared.steps) {
    const int own = step.code->launches();
    if (own < 0) return true;
    launches += own;
  }
  return launches > kLaunchesWithoutGraph;
}

std::string cut_text(const Prepared& prepared) {
  const auto cuts = std::count_if(prepared.steps.begin(), prepared.steps.end(), [](const Prepared::Step& step) { return !step.capturable; });
  return cuts ? "cut at " + std::to_string(cuts) + (cuts == 1 ? " host step" : " host steps") : "";
}

}  // namespace

void GraphCache::destroy(Parts& parts) noexcept {
  for (const Part& part : parts)
    if (part.graph) api_->destroy_graph(part.graph);
  parts.clear();
}

void GraphCache::clear() noexcept {
  for (Captured& entry : captured_) destroy(entry.parts);
  captured_.clear();
  destroy(staged_);
}

Status GraphCache::launch(Prepared& prepared, Runner& runner, const Parts& parts, void* stream) noexcept {
  for (const Part& part : parts) TRY(part.graph ? api_->launch_graph(part.graph, stream) : runner.run(prepared, part.range, stream));
  return Status::ok();
}

GraphCache::Captured* GraphCache::find(const Prepared& prepared, void* const* inputs, void* const* outputs) noexcept {
  const size_t split = prepared.inputs.size();
  for (Captured& entry : captured_)
    if (std::equal(entry.addresses.begin(), entry.addresses.begin() + split, inputs) &&
        std::equal(entry.addresses.begin() + split, entry.addresses.end(), outputs)) {
      entry.used = ++clock_;
      return &entry;
    }
  return nullptr;
}

Status GraphCache::run(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream, void* capture_stream) {
  if (disabled_) return run_steps(prepared, runner, inputs, outputs, stream, nullptr);
  if (Captured* hit = find(prepared, inputs, outputs)) {
    misses_ = 0;
    mode_ = "graph";
    why_ = cuts_;
    prepared.use_io(inputs, outputs);
    return launch(prepared, runner, hit->parts, stream);
  }
  if (!staged_.empty()) return run_staged(prepared, runner, inputs, outputs, stream);
  if (!warm_) {
    warm_ = true;
    disabled_ = !needs_graph(prepared);
    if (disabled_) return run_steps(prepared, runner, inputs, outputs, stream, "so few launches need no graph");
    return run_steps(prepared, runner, inputs, outputs, stream, "first call of these shapes");
  }
  return run_new(prepared, runner, inputs, outputs, stream, capture_stream);
}

Status GraphCache::run_steps(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream, const char* why) {
  mode_ = "steps";
  if (why) why_ = why;
  prepared.use_io(inputs, outputs);
  return runner.run(prepared, stream);
}

Status GraphCache::run_new(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream, void* capture_stream) {
  if (++misses_ > kMissesBeforeStaging) {
    if (!can_stage(prepared)) return run_steps(prepared, runner, inputs, outputs, stream, "addresses keep changing and an output has gaps");
    const Status staged = stage(prepared, runner, stream, capture_stream);
    if (staged.is_ok()) return run_staged(prepared, runner, inputs, outputs, stream);
    disabled_ = true;
    return run_steps(prepared, runner, inputs, outputs, stream, staged.message().c_str());
  }
  Result<Parts> parts = capture(prepared, runner, inputs, outputs, capture_stream);
  if (!parts.is_ok()) {
    disabled_ = true;
    return run_steps(prepared, runner, inputs, outputs, stream, ("capture failed: " + parts.status().message()).c_str());
  }
  auto place = captured_.end();
  if (captured_.size() < kMaxGraphs) {
    place = captured_.insert(captured_.end(), Captured{});
  } else {
    place = std::min_element(captured_.begin(), captured_.end(), [](const Captured& a, const Captured& b) { return a.used < b.used; });
    destroy(place->parts);
  }
  place->addresses.assign(inputs, inputs + prepared.inputs.size());
  place->addresses.insert(place->addresses.end(), outputs, outputs + prepared.outputs.size());
  place->parts = std::move(*parts);
  place->used = ++clock_;
  mode_ = "graph";
  why_ = cuts_;
  return launch(prepared, runner, place->parts, stream);
}

Result<GraphCache::Parts> GraphCache::capture(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* capture_stream) {
  prepared.use_io(inputs, outputs);
  const std::vector<std::pair<Runner::Range, bool>> ranges = split(prepared);
  if (std::none_of(ranges.begin(), ranges.end(), [](const auto& part) { return part.second; }))
    return Status(Code::Unsupported, "no two steps in a row can be captured");
  Parts parts;
  for (const auto& [range, graph] : ranges) {
    parts.push_back({range, nullptr});
    const Status captured = graph ? capture(prepared, runner, parts.back(), capture_stream) : Status::ok();
    if (captured.is_ok()) continue;
    destroy(parts);
    return captured;
  }
  cuts_ = cut_text(prepared);
  return parts;
}

Status GraphCache::capture(Prepared& prepared, Runner& runner, Part& part, void* capture_stream) {
  TRY(api_->begin_capture(capture_stream));
  const Status ran = runner.run(prepared, part.range, capture_stream);
  Result<void*> graph = api_->end_capture(capture_stream);
  if (!graph.is_ok()) return ran.is_ok() ? graph.status() : ran;
  part.graph = *graph;
  return ran;
}

Status GraphCache::stage(Prepared& prepared, Runner& runner, void* stream, void* capture_stream) {
  if (!staging_.data()) {
    int64_t total = 0;
    for (const IoSlot& slot : prepared.inputs) total += align_memory(slot.extent);
    for (const IoSlot& slot : prepared.outputs) total += align_memory(slot.extent);
    TRY_ASSIGN(staging_, Memory::allocate(total, device_, api_, stream));
    std::byte* at = staging_.data();
    staged_inputs_.clear();
    staged_outputs_.clear();
    for (const IoSlot& slot : prepared.inputs) staged_inputs_.push_back(at), at += align_memory(slot.extent);
    for (const IoSlot& slot : prepared.outputs) staged_outputs_.push_back(at), at += align_memory(slot.extent);
  }
  TRY_ASSIGN(staged_, capture(prepared, runner, staged_inputs_.data(), staged_outputs_.data(), capture_stream));
  return Status::ok();
}

Status GraphCache::run_staged(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* stream) noexcept {
  mode_ = "graph+copies";
  why_ = cuts_;
  prepared.use_io(staged_inputs_.data(), staged_outputs_.data());
  for (size_t i = 0; i < prepared.inputs.size(); ++i)
    if (prepared.inputs[i].extent) TRY(api_->copy(staged_inputs_[i], inputs[i], prepared.inputs[i].extent, stream));
  TRY(launch(prepared, runner, staged_, stream));
  for (size_t i = 0; i < prepared.inputs.size(); ++i)
    if (prepared.body.inputs[i].mutated && prepared.inputs[i].extent) TRY(api_->copy(inputs[i], staged_inputs_[i], prepared.inputs[i].extent, stream));
  for (size_t i = 0; i < prepared.outputs.size(); ++i) {
    const IoSlot& slot = prepared.outputs[i];
    if (slot.bound_by_caller && slot.extent) TRY(api_->copy(outputs[i], staged_outputs_[i], slot.extent, stream));
  }
  return Status::ok();
}

}  // namespace tuyere
