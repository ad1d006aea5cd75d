// SPDX-License-Identifier: Apache-2.0
// Grouping by levels. The level of a node counts how often a path to it goes from the group's nodes to others and back:
//   member:  max over predecessors p of (p is a member ? level(p) : level(p) + 1), at least 0
//   other:   max over predecessors of level(p), -1 without any
// Of two nodes that draw random numbers the first is a predecessor of the second here, whether it reads its values or not.
// Members of one level form a segment. A path that leaves a segment through another node comes back on a higher level, so segments are convex and their levels
// order them. Every level above 0 has a node that another level-below member reaches through an outside node, so no two segments could be one. Devices are
// grouped one after the other; a finished segment counts as one node then, which keeps cycles out.
#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <set>
#include <string>

#include "common/error.h"
#include "partitioning/dag.h"

namespace tuyere {

std::vector<int> Dag::topological(const std::vector<int>& unit, int count) const {
  std::vector<int> waiting(count, 0), first(count, -1), order;
  std::vector<std::vector<int>> next(count);
  for (size_t n = 0; n < unit.size(); ++n) {
    if (first[unit[n]] < 0) first[unit[n]] = static_cast<int>(n);
    auto comes_before = [&](int to) {
      if (unit[to] == unit[n]) return;
      next[unit[n]].push_back(unit[to]);
      ++waiting[unit[to]];
    };
    for (int to : succs_[n]) comes_before(to);
    if (drawn_after_[n] >= 0) comes_before(drawn_after_[n]);
  }
  using Item = std::pair<int, int>;  // first node, unit: the order of the graph where there is a choice
  std::priority_queue<Item, std::vector<Item>, std::greater<>> ready;
  int units = 0;
  for (int u = 0; u < count; ++u) {
    units += first[u] >= 0;
    if (first[u] >= 0 && waiting[u] == 0) ready.push({first[u], u});
  }
  while (!ready.empty()) {
    const int u = ready.top().second;
    ready.pop();
    order.push_back(u);
    for (int to : next[u]) {
      if (--waiting[to] == 0) ready.push({first[to], to});
    }
  }
  INTERNAL_CHECK(static_cast<int>(order.size()) == units, "segments form a cycle");
  return order;
}

/// Level by node; members are units of their own.
std::vector<int> Dag::levels(const std::vector<bool>& member, const std::vector<int>& unit, int count) const {
  std::vector<std::vector<int>> nodes(count);
  for (size_t n = 0; n < unit.size(); ++n) nodes[unit[n]].push_back(static_cast<int>(n));
  std::vector<int> level(unit.size(), -1);
  for (int u : topological(unit, count)) {
    int reached = -1;
    for (int n : nodes[u]) {
      auto comes_after = [&](int from) {
        if (unit[from] != u) reached = std::max(reached, level[from] + (member[n] && !member[from] ? 1 : 0));
      };
      for (int from : preds_[n]) comes_after(from);
      if (drawn_before_[n] >= 0) comes_after(drawn_before_[n]);
    }
    for (int n : nodes[u]) level[n] = member[n] ? std::max(reached, 0) : reached;
  }
  return level;
}

namespace {

/// Whether the node is a view of its first argument, which costs an engine nothing.
bool is_view(const std::string& op) {
  static const std::set<std::string> views{"aten::alias",      "aten::detach",        "aten::expand",    "aten::permute",     "aten::reshape",
                                           "aten::select.int", "aten::slice.Tensor",  "aten::squeeze",   "aten::squeeze.dim", "aten::squeeze.dims",
                                           "aten::t",          "aten::transpose.int", "aten::unsqueeze", "aten::view",        "aten::_unsafe_view"};
  return views.count(op) > 0;
}

}  // namespace

/// What depends on constants only, and views of inputs, move to the first segment that reads them, so that weights are transformed where they are used and
/// stay constants there, and no segment copies a view for another.
void Dag::sink_fixed(const std::vector<bool>& member, std::vector<int>& level) const {
  std::vector<bool> sinks(level.size());
  for (size_t n = 0; n < level.size(); ++n) {
    const bool view = is_view(graph_.nodes[n].op) && std::all_of(preds_[n].begin(), preds_[n].end(), [&](int from) { return sinks[from]; });
    sinks[n] = (fixed_[n] && !graph_.nodes[n].draws) || view;
  }
  for (size_t n = level.size(); n-- > 0;) {
    if (!sinks[n] || !member[n] || succs_[n].empty()) continue;
    if (!std::all_of(succs_[n].begin(), succs_[n].end(), [&](int to) { return member[to]; })) continue;
    int lowest = level[succs_[n][0]];
    for (int to : succs_[n]) lowest = std::min(lowest, level[to]);
    level[n] = std::max(level[n], lowest);
  }
}

std::vector<int> Dag::segments(const std::vector<NodeKind>& kind) const {
  const int count = static_cast<int>(kind.size());
  std::vector<int> segment(count, -1), unit(count);
  std::vector<std::string> devices;
  for (int n = 0; n < count; ++n) {
    unit[n] = n;
    if (kind[n] != NodeKind::outside && std::find(devices.begin(), devices.end(), device_[n]) == devices.end()) devices.push_back(device_[n]);
  }
  int made = 0;
  for (const std::string& device : devices) {
    std::vector<bool> member(count);
    for (int n = 0; n < count; ++n) member[n] = kind[n] != NodeKind::outside && device_[n] == device;
    std::vector<int> level = levels(member, unit, count + made);
    sink_fixed(member, level);
    std::map<int, int> number;
    for (int n = 0; n < count; ++n) {
      if (!member[n]) continue;
      auto [found, is_new] = number.emplace(level[n], made);
      made += is_new;
      segment[n] = found->second;
      unit[n] = count + segment[n];
    }
  }
  return segment;
}

std::vector<int> Dag::rim(const std::vector<NodeKind>& kind, const std::vector<int>& segment) const {
  const size_t count = kind.size();
  std::vector<bool> after(count, false), before(count, false);
  auto reaches = [&](int from, int to, const std::vector<bool>& further) {
    return segment[from] >= 0 && segment[from] == segment[to] && (kind[from] == NodeKind::native || further[from]);
  };
  for (size_t n = 0; n < count; ++n) after[n] = std::any_of(preds_[n].begin(), preds_[n].end(), [&](int p) { return reaches(p, static_cast<int>(n), after); });
  for (size_t n = count; n-- > 0;) before[n] = std::any_of(succs_[n].begin(), succs_[n].end(), [&](int s) { return reaches(s, static_cast<int>(n), before); });
  std::vector<int> out;
  for (size_t n = 0; n < count; ++n) {
    if (kind[n] == NodeKind::hosted && segment[n] >= 0 && !(after[n] && before[n])) out.push_back(static_cast<int>(n));
  }
  return out;
}

std::vector<int> Dag::segment_order(const std::vector<int>& segment, int count) const {
  const int nodes = static_cast<int>(segment.size());
  std::vector<int> unit(nodes), out;
  for (int n = 0; n < nodes; ++n) unit[n] = segment[n] >= 0 ? nodes + segment[n] : n;
  for (int u : topological(unit, nodes + count)) {
    if (u >= nodes) out.push_back(u - nodes);
  }
  return out;
}

}  // namespace tuyere
