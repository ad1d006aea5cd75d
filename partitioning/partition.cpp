// SPDX-License-Identifier: Apache-2.0
// Partitioning in four steps: classify each node, group (levels.cpp), drop segments that are too small or lack a size, describe the borders.
#include "partitioning/partition.h"

#include <algorithm>
#include <map>

#include "common/error.h"
#include "converters/convert.h"
#include "partitioning/dag.h"

namespace tuyere {
namespace {

bool listed(const SourceNode& node, const std::set<std::string>& run_in_torch) {
  if (run_in_torch.contains(node.op) || run_in_torch.contains(node.op.substr(0, node.op.find('.')))) return true;
  const std::string& module = node.origin.module;
  for (size_t end = module.find('.'); !module.empty(); end = module.find('.', end + 1)) {
    if (run_in_torch.contains(module.substr(0, end))) return true;
    if (end == std::string::npos) break;
  }
  return false;
}

class Partitioner {
 public:
  Partitioner(const SourceGraph& graph, const Supports& supports, const PartitionOptions& options) : graph_(graph), options_(options), dag_(graph) {
    result_.nodes.resize(graph.nodes.size());
    for (size_t n = 0; n < graph.nodes.size(); ++n) classify(static_cast<int>(n), supports);
  }

  Partition run() {
    // A node without its sizes goes outside, which changes the groups: until nothing changes.
    while (true) {
      group();
      if (!drop_unsized()) break;
    }
    drop_small();
    describe();
    return std::move(result_);
  }

 private:
  void classify(int n, const Supports& supports) {
    const SourceNode& node = graph_.nodes[n];
    NodePlacement& place = result_.nodes[n];
    if (listed(node, options_.run_in_torch)) {
      place.reason = "listed in run_in_torch";
      kind_.push_back(NodeKind::outside);
      return;
    }
    Support native = dag_.one_device(n);
    if (native) native = supports(graph_, node);
    if (native) {
      kind_.push_back(NodeKind::native);
      return;
    }
    place.reason = native.reason();
    Support hosted = may_host(n);
    kind_.push_back(hosted ? NodeKind::hosted : NodeKind::outside);
    if (!hosted) place.reason += "; cannot be hosted: " + hosted.reason();
  }

  Support may_host(int n) const {
    const SourceNode& node = graph_.nodes[n];
    REQUIRE(options_.allow_hosted, "allow_hosted is off");
    const std::string space = node.op.substr(0, node.op.find("::"));
    REQUIRE(options_.hosted_namespaces.contains(space), "it is an operator of '" + space + "'; engines run operators of aten and torchvision only");
    if (Support s = dag_.one_device(n); !s) return s;
    return hostable(graph_, node);
  }

  /// Sets `segment` of every node. Hosted nodes at the rim of a segment leave it, which may let others join, so grouping repeats.
  void group() {
    std::vector<NodeKind> kind = kind_;
    while (true) {
      segment_ = dag_.segments(kind);
      bool trimmed = false;
      for (int n : dag_.rim(kind, segment_)) {
        kind[n] = NodeKind::outside;
        trimmed = true;
      }
      if (!trimmed) break;
    }
    for (size_t n = 0; n < kind.size(); ++n) result_.nodes[n].placement = kind[n];
  }

  std::vector<std::vector<int>> members() const {
    std::vector<std::vector<int>> out;
    for (size_t n = 0; n < segment_.size(); ++n) {
      if (segment_[n] < 0) continue;
      if (segment_[n] >= static_cast<int>(out.size())) out.resize(segment_[n] + 1);
      out[segment_[n]].push_back(static_cast<int>(n));
    }
    return out;
  }

  /// Symbols are bound through the shapes of a segment's inputs. A symbol that only other tensors carry makes one of the graph's inputs an input of the
  /// segment; when there is none (sizes that depend on data), the nodes that need it go outside.
  bool drop_unsized() {
    bool dropped = false;
    extra_inputs_.clear();
    for (const std::vector<int>& nodes : members()) {
      std::set<std::string> bound = dag_.bound_symbols(dag_.inputs(nodes, segment_));
      std::vector<ValueId> extra;
      for (int n : nodes) {
        for (const std::string& symbol : dag_.symbols(n)) {
          if (bound.contains(symbol)) continue;
          ValueId carrier = dag_.input_with(symbol);
          if (carrier == kNone) {
            kind_[n] = NodeKind::outside;
            result_.nodes[n].reason = "size " + symbol + " is not a dimension of any input";
            dropped = true;
            break;
          }
          extra.push_back(carrier);
          bound.merge(dag_.bound_symbols({carrier}));
        }
      }
      extra_inputs_.push_back(std::move(extra));
    }
    return dropped;
  }

  void drop_small() {
    std::vector<std::vector<int>> all = members();
    std::vector<std::vector<ValueId>> extra = std::move(extra_inputs_);
    std::vector<int> order = dag_.segment_order(segment_, static_cast<int>(all.size()));
    for (int s : order) {
      int64_t natives = std::count_if(all[s].begin(), all[s].end(), [&](int n) { return result_.nodes[n].placement == NodeKind::native; });
      if (natives == 0 || natives < options_.min_block_size) {
        for (int n : all[s]) leave(n, natives);
        continue;
      }
      if (natives == static_cast<int64_t>(all[s].size()) && dag_.outputs(all[s], segment_).empty()) {  // such as asserts on constants
        for (int n : all[s]) result_.nodes[n].reason = "nothing uses it";
        continue;
      }
      for (int n : all[s]) result_.nodes[n].segment = static_cast<int>(result_.segments.size());
      result_.segments.push_back({std::move(all[s]), std::move(extra[s]), {}});
    }
  }

  void leave(int n, int64_t natives) {
    NodePlacement& place = result_.nodes[n];
    std::string why = "its segment has " + std::to_string(natives) + " native nodes, fewer than min_block_size " + std::to_string(options_.min_block_size);
    place.reason += (place.reason.empty() ? "" : "; ") + why;
    place.placement = NodeKind::outside;
  }

  void describe() {
    std::vector<int> segment(result_.nodes.size());
    for (size_t n = 0; n < segment.size(); ++n) {
      segment[n] = result_.nodes[n].segment;
      if (result_.nodes[n].placement == NodeKind::outside && result_.nodes[n].segment < 0 && kind_[n] == NodeKind::hosted && options_.allow_hosted)
        result_.nodes[n].reason += "; not hosted: it does not lie between native nodes";
    }
    for (Segment& s : result_.segments) {
      std::vector<ValueId> extra = std::move(s.inputs);
      s.inputs = dag_.inputs(s.nodes, segment);
      for (ValueId id : extra) {
        if (std::find(s.inputs.begin(), s.inputs.end(), id) == s.inputs.end()) s.inputs.push_back(id);
      }
      s.outputs = dag_.outputs(s.nodes, segment);
    }
  }

  const SourceGraph& graph_;
  const PartitionOptions& options_;
  Dag dag_;
  std::vector<NodeKind> kind_;  // what each node could be at best
  std::vector<int> segment_;
  std::vector<std::vector<ValueId>> extra_inputs_;
  Partition result_;
};

}  // namespace

Partition partition(const SourceGraph& graph, const Supports& supports, const PartitionOptions& options) {
  INTERNAL_CHECK(supports, "partition needs a supports function");
  return Partitioner(graph, supports, options).run();
}

}  // namespace tuyere
