// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/arena_plan.h"

#include <algorithm>
#include <map>

namespace tuyere {
namespace {

/// For every step the last later step that is not ordered after it (itself when all are). Vector clocks over streams.
std::vector<int> last_concurrent(const PlanBody& body) {
  const int count = static_cast<int>(body.steps.size());
  std::vector<int> last(count);
  int streams = 1;
  for (int i = 0; i < count; ++i) {
    last[i] = i;
    streams = std::max(streams, body.steps[i].stream + 1);
  }
  if (streams == 1) return last;
  using Clock = std::vector<int>;  // per stream: last step known to be finished
  std::vector<Clock> now(streams, Clock(streams, -1));
  std::map<int, Clock> events;
  for (int j = 0; j < count; ++j) {
    const PlanStep& step = body.steps[j];
    Clock& clock = now[step.stream];
    for (int event : step.wait_events)
      for (int s = 0; s < streams; ++s) clock[s] = std::max(clock[s], events[event][s]);
    for (int i = 0; i < j; ++i)
      if (clock[body.steps[i].stream] < i) last[i] = j;
    clock[step.stream] = j;
    if (step.record_event >= 0) events[step.record_event] = clock;
  }
  return last;
}

struct Lifetime {
  int first = -1, last = -1;
  void include(int from, int to) {
    if (first < 0) first = from;
    last = std::max(last, to);
  }
};

std::vector<Lifetime> buffer_lifetimes(const PlanBody& body, const std::vector<int>& concurrent) {
  std::vector<Lifetime> lifetimes(body.buffers.size());
  const int end = static_cast<int>(body.steps.size());
  for (int i = 0; i < end; ++i) {
    for (int tensor : body.steps[i].in) lifetimes[body.tensors[tensor].buffer].include(i, concurrent[i]);
    for (int tensor : body.steps[i].out) lifetimes[body.tensors[tensor].buffer].include(i, concurrent[i]);
  }
  for (const PlanTensor& tensor : body.tensors)
    if (tensor.observed) lifetimes[tensor.buffer].include(0, end);
  return lifetimes;
}

}  // namespace

ArenaPlan plan_arena(const PlanBody& body, const std::vector<int64_t>& buffer_bytes, const std::vector<int64_t>& workspace_bytes) {
  const std::vector<int> concurrent = last_concurrent(body);
  const std::vector<Lifetime> lifetimes = buffer_lifetimes(body, concurrent);
  ArenaPlan plan;
  plan.buffers.assign(body.buffers.size(), -1);
  plan.workspaces.assign(body.steps.size(), 0);
  std::vector<PackItem> items;
  std::vector<int64_t*> places;
  for (size_t i = 0; i < body.buffers.size(); ++i) {
    if (body.buffers[i].kind != BufferKind::arena) continue;
    plan.buffers[i] = 0;
    if (lifetimes[i].first < 0) continue;
    items.push_back({buffer_bytes[i], lifetimes[i].first, lifetimes[i].last});
    places.push_back(&plan.buffers[i]);
  }
  for (size_t i = 0; i < body.steps.size(); ++i) {
    if (!workspace_bytes[i]) continue;
    items.push_back({workspace_bytes[i], static_cast<int>(i), concurrent[i]});
    places.push_back(&plan.workspaces[i]);
  }
  const Packing packing = pack_memory(items);
  for (size_t i = 0; i < items.size(); ++i) *places[i] = packing.offsets[i];
  plan.bytes = packing.total;
  plan.lower_bound = packing.lower_bound;
  return plan;
}

}  // namespace tuyere
