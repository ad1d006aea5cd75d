// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/graphs.h"

#include <algorithm>

namespace tuyere {
namespace {

constexpr size_t kMaxGraphs = 16;
constexpr int kMissesBeforeStaging = 4;
constexpr int64_t kStagingAlignment = 256;

int64_t align(int64_t bytes) { return (bytes + kStagingAlignment - 1) / kStagingAlignment * kStagingAlignment; }

/// Writing back whole spans is right only when a view has no gaps.
bool is_dense(const IoSlot& slot) { return slot.extent == bytes_of(slot.view.dtype, slot.view.numel()); }

bool can_stage(const Prepared& prepared) {
  for (size_t i = 0; i < prepared.inputs.size(); ++i)
    if (prepared.body.inputs[i].mutated && !is_dense(prepared.inputs[i])) return false;
  return std::all_of(prepared.outputs.begin(), prepared.outputs.end(), [](const IoSlot& slot) { return !slot.bound_by_caller || is_dense(slot); });
}

}  // namespace

void GraphCache::clear() noexcept {
  for (const Captured& entry : captured_) api_->destroy_graph(entry.graph);
  captured_.clear();
  if (staged_graph_) api_->destroy_graph(staged_graph_);
  staged_graph_ = nullptr;
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
    prepared.use_io(inputs, outputs);
    return api_->launch_graph(hit->graph, stream);
  }
  if (staged_graph_) return run_staged(prepared, inputs, outputs, stream);
  if (!warm_) {
    warm_ = true;
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
    if (staged.is_ok()) return run_staged(prepared, inputs, outputs, stream);
    disabled_ = true;
    return run_steps(prepared, runner, inputs, outputs, stream, staged.message().c_str());
  }
  Result<void*> graph = capture(prepared, runner, inputs, outputs, capture_stream);
  if (!graph.is_ok()) {
    disabled_ = true;
    return run_steps(prepared, runner, inputs, outputs, stream, ("capture failed: " + graph.status().message()).c_str());
  }
  auto place = captured_.end();
  if (captured_.size() < kMaxGraphs) {
    place = captured_.insert(captured_.end(), Captured{});
  } else {
    place = std::min_element(captured_.begin(), captured_.end(), [](const Captured& a, const Captured& b) { return a.used < b.used; });
    api_->destroy_graph(place->graph);
  }
  place->addresses.assign(inputs, inputs + prepared.inputs.size());
  place->addresses.insert(place->addresses.end(), outputs, outputs + prepared.outputs.size());
  place->graph = *graph;
  place->used = ++clock_;
  mode_ = "graph";
  return api_->launch_graph(*graph, stream);
}

Result<void*> GraphCache::capture(Prepared& prepared, Runner& runner, void* const* inputs, void* const* outputs, void* capture_stream) {
  prepared.use_io(inputs, outputs);
  TRY(api_->begin_capture(capture_stream));
  const Status ran = runner.run(prepared, capture_stream);
  Result<void*> graph = api_->end_capture(capture_stream);
  if (ran.is_ok()) return graph;
  if (graph.is_ok()) api_->destroy_graph(*graph);
  return ran;
}

Status GraphCache::stage(Prepared& prepared, Runner& runner, void* stream, void* capture_stream) {
  if (!staging_.data()) {
    int64_t total = 0;
    for (const IoSlot& slot : prepared.inputs) total += align(slot.extent);
    for (const IoSlot& slot : prepared.outputs) total += align(slot.extent);
    TRY_ASSIGN(staging_, Memory::allocate(total, device_, api_, stream));
    std::byte* at = staging_.data();
    staged_inputs_.clear();
    staged_outputs_.clear();
    for (const IoSlot& slot : prepared.inputs) staged_inputs_.push_back(at), at += align(slot.extent);
    for (const IoSlot& slot : prepared.outputs) staged_outputs_.push_back(at), at += align(slot.extent);
  }
  TRY_ASSIGN(staged_graph_, capture(prepared, runner, staged_inputs_.data(), staged_outputs_.data(), capture_stream));
  return Status::ok();
}

Status GraphCache::run_staged(Prepared& prepared, void* const* inputs, void* const* outputs, void* stream) noexcept {
  mode_ = "graph+copies";
  prepared.use_io(staged_inputs_.data(), staged_outputs_.data());
  for (size_t i = 0; i < prepared.inputs.size(); ++i)
    if (prepared.inputs[i].extent) TRY(api_->copy(staged_inputs_[i], inputs[i], prepared.inputs[i].extent, stream));
  TRY(api_->launch_graph(staged_graph_, stream));
  for (size_t i = 0; i < prepared.inputs.size(); ++i)
    if (prepared.body.inputs[i].mutated && prepared.inputs[i].extent) TRY(api_->copy(inputs[i], staged_inputs_[i], prepared.inputs[i].extent, stream));
  for (size_t i = 0; i < prepared.outputs.size(); ++i) {
    const IoSlot& slot = prepared.outputs[i];
    if (slot.bound_by_caller && slot.extent) TRY(api_->copy(outputs[i], staged_outputs_[i], slot.extent, stream));
  }
  return Status::ok();
}

}  // namespace tuyere
