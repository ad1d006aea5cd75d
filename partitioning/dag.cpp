// SPDX-License-Identifier: Apache-2.0
// Reading the graph: edges, borders, devices, symbols. The grouping itself is in levels.cpp.
#include "partitioning/dag.h"

#include <algorithm>
#include <map>

#include "common/error.h"

namespace tuyere {
namespace {

template <class T>
void add_once(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

/// A dimension that is a bare symbol: the one name it has, when the expression is nothing else.
bool is_bare(const Dim& dim, std::string& name) {
  std::vector<std::string> names;
  dim.collect(names);
  if (names.size() != 1 || dim != Dim::symbol(names[0])) return false;
  name = std::move(names[0]);
  return true;
}

}  // namespace

Dag::Dag(const SourceGraph& graph)
    : graph_(graph),
      producer_(graph.values.size(), -1),
      constant_(graph.values.size(), false),
      output_(graph.values.size(), false),
      reads_(graph.nodes.size()),
      preds_(graph.nodes.size()),
      succs_(graph.nodes.size()),
      drawn_before_(graph.nodes.size(), -1),
      drawn_after_(graph.nodes.size(), -1),
      symbols_(graph.nodes.size()) {
  for (const SourceConstant& c : graph.constants) constant_.at(c.value) = true;
  for (ValueId id : graph.outputs) {
    if (id != kNone) output_.at(id) = true;
  }
  const std::set<std::string> given = bound_symbols(graph.inputs);
  std::map<std::string, ValueId> made;  // sizes that depend on data, and the first value that has them
  for (int n = 0; n < static_cast<int>(graph.nodes.size()); ++n) {
    for (const auto& [name, arg] : graph.nodes[n].args) read_arguments(arg, n);
    read_sizes(n, made);
    for (ValueId id : reads_[n]) {
      const int from = producer_.at(id);
      if (from < 0) continue;
      add_once(preds_[n], from);
      if (succs_[from].empty() || succs_[from].back() != n) succs_[from].push_back(n);
    }
    for (ValueId id : graph.nodes[n].outputs) {
      producer_.at(id) = n;
      for (const std::string& symbol : bound_symbols({id})) {
        if (!given.contains(symbol)) made.emplace(symbol, id);
      }
    }
  }
  order_draws();
  find_devices();
}

/// Random numbers come in the order of the graph, wherever a node runs.
void Dag::order_draws() {
  int last = -1;
  for (int n = 0; n < static_cast<int>(graph_.nodes.size()); ++n) {
    if (!graph_.nodes[n].draws) continue;
    drawn_before_[n] = last;
    if (last >= 0) drawn_after_[last] = n;
    last = n;
  }
}

/// A node that needs a size which an earlier node found out reads that node's value, unless one of its arguments has the size.
void Dag::read_sizes(int node, const std::map<std::string, ValueId>& made) {
  for (ValueId id : graph_.nodes[node].outputs) {
    for (const Dim& dim : graph_.values[id].type.shape) dim.collect(symbols_[node]);
  }
  const std::set<std::string> read = bound_symbols(reads_[node]);
  for (const std::string& symbol : symbols_[node]) {
    auto found = made.find(symbol);
    if (found != made.end() && !read.contains(symbol)) add_once(reads_[node], found->second);
  }
}

void Dag::read_arguments(const Arg& arg, int node) {
  if (auto* value = std::get_if<Arg::Value>(&arg.v)) {
    if (graph_.values.at(value->id).is_dim) {
      graph_.values[value->id].dim.collect(symbols_[node]);
    } else {
      INTERNAL_CHECK(producer_[value->id] < node, "node '" << graph_.nodes[node].name << "' reads a value that is made later");
      add_once(reads_[node], value->id);
    }
  }
  if (auto* dim = std::get_if<Dim>(&arg.v)) dim->collect(symbols_[node]);
  if (auto* list = std::get_if<ArgList>(&arg.v)) {
    for (const Arg& item : *list) read_arguments(item, node);
  }
}

std::string Dag::recorded_device(int node) const {
  for (ValueId id : graph_.nodes[node].outputs) {
    if (graph_.values[id].has_type) return graph_.values[id].device;
  }
  for (ValueId id : reads_[node]) {
    if (!constant_[id]) return graph_.values[id].device;
  }
  return "cpu";
}

/// PyTorch keeps small literals on the CPU and lets CUDA ops read them: what depends on constants only goes to the device of its readers, if they agree.
void Dag::find_devices() {
  const int count = static_cast<int>(graph_.nodes.size());
  for (int n = 0; n < count; ++n) {
    device_.push_back(recorded_device(n));
    fixed_.push_back(
        std::all_of(reads_[n].begin(), reads_[n].end(), [&](ValueId id) { return constant_[id] || (producer_[id] >= 0 && fixed_[producer_[id]]); }));
  }
  for (int n = count; n-- > 0;) {
    const std::vector<ValueId>& made = graph_.nodes[n].outputs;
    if (!fixed_[n] || succs_[n].empty() || std::any_of(made.begin(), made.end(), [&](ValueId id) { return output_[id]; })) continue;
    const std::string& wanted = device_[succs_[n][0]];
    if (std::all_of(succs_[n].begin(), succs_[n].end(), [&](int to) { return device_[to] == wanted; })) device_[n] = wanted;
  }
}

Support Dag::one_device(int node) const {
  for (ValueId id : reads_[node]) {
    const SourceValue& value = graph_.values[id];
    const int from = producer_[id];
    const std::string& device = from >= 0 && fixed_[from] ? device_[from] : value.device;
    REQUIRE(constant_[id] || !value.has_type || device == device_[node], "it computes on " + device_[node] + " but '" + value.name + "' is on " + device);
  }
  return Support::yes();
}

std::vector<ValueId> Dag::inputs(const std::vector<int>& nodes, const std::vector<int>& segment) const {
  std::vector<ValueId> out;
  std::vector<bool> seen(graph_.values.size(), false);
  for (int n : nodes) {
    for (ValueId id : reads_[n]) {
      const int from = producer_[id];
      if (constant_[id] || seen[id] || (from >= 0 && segment[from] == segment[n])) continue;
      seen[id] = true;
      out.push_back(id);
    }
  }
  return out;
}

std::vector<ValueId> Dag::outputs(const std::vector<int>& nodes, const std::vector<int>& segment) const {
  std::vector<ValueId> out;
  for (int n : nodes) {
    for (ValueId id : graph_.nodes[n].outputs) {
      bool read = std::any_of(succs_[n].begin(), succs_[n].end(),
                              [&](int to) { return segment[to] != segment[n] && std::find(reads_[to].begin(), reads_[to].end(), id) != reads_[to].end(); });
      if (read || output_[id]) out.push_back(id);
    }
  }
  return out;
}

std::set<std::string> Dag::bound_symbols(const std::vector<ValueId>& values) const {
  std::set<std::string> out;
  std::string name;
  for (ValueId id : values) {
    for (const Dim& dim : graph_.values[id].type.shape) {
      if (is_bare(dim, name)) out.insert(name);
    }
  }
  return out;
}

ValueId Dag::input_with(const std::string& symbol) const {
  for (ValueId id : graph_.inputs) {
    if (graph_.values[id].has_type && bound_symbols({id}).contains(symbol)) return id;
  }
  return kNone;
}

}  // namespace tuyere
