// SPDX-License-Identifier: Apache-2.0
// Splits a SourceGraph into maximal convex segments of convertible nodes. Pure and printable.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "converters/source/source.h"
#include "kernels/api/tactic.h"

namespace tuyere {

enum class NodeKind : uint8_t { native, hosted, outside };

struct PartitionOptions {
  int min_block_size = 1;              // segments with fewer native nodes stay outside
  std::set<std::string> run_in_torch;  // op names ("aten::add", "aten::add.Tensor") or module paths ("encoder.layers.0")
  bool allow_hosted = true;
  std::set<std::string> hosted_namespaces{"aten", "torchvision"};
};

struct NodePlacement {
  NodeKind placement = NodeKind::outside;
  int segment = -1;
  std::string reason;  // why it is not native; empty for native
};

struct Segment {
  std::vector<int> nodes;        // indices into graph.nodes, topological
  std::vector<ValueId> inputs;   // values from outside (no constants)
  std::vector<ValueId> outputs;  // values used outside
};

struct Partition {
  std::vector<NodePlacement> nodes;  // one per graph node
  std::vector<Segment> segments;     // in an order in which they can run
};

/// "Can you convert this node?" with the reason when not.
using Supports = std::function<Support(const SourceGraph&, const SourceNode&)>;

Partition partition(const SourceGraph& graph, const Supports& supports, const PartitionOptions& options = {});
/// The table for people: node, op, module, placement, reason.
std::string str(const SourceGraph& graph, const Partition& partition);

}  // namespace tuyere
