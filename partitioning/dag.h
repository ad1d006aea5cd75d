// SPDX-License-Identifier: Apache-2.0
// Private to partitioning: who feeds whom in a SourceGraph, the grouping of nodes, and what crosses a segment's border.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "partitioning/partition.h"

namespace tuyere {

class Dag {
 public:
  explicit Dag(const SourceGraph& graph);

  /// Segment number per node, -1 for nodes that are outside. Segments are convex, no two of them could be one, and there is no cycle among them and the outside
  /// nodes. Time is linear in nodes and edges, times the number of devices.
  std::vector<int> segments(const std::vector<NodeKind>& kind) const;
  /// Hosted nodes that do not lie between native nodes of their segment.
  std::vector<int> rim(const std::vector<NodeKind>& kind, const std::vector<int>& segment) const;
  /// The segments in an order in which they can run.
  std::vector<int> segment_order(const std::vector<int>& segment, int count) const;

  /// Values from outside that the nodes (all of one segment) read: no constants, tensors only, in order of use.
  std::vector<ValueId> inputs(const std::vector<int>& nodes, const std::vector<int>& segment) const;
  /// Values that are read outside of the segment or are outputs of the graph.
  std::vector<ValueId> outputs(const std::vector<int>& nodes, const std::vector<int>& segment) const;

  /// Whether the node's tensors live on one device (constants do not count), or why not.
  Support one_device(int node) const;
  /// Symbols in the node's output shapes and arguments.
  const std::vector<std::string>& symbols(int node) const { return symbols_[node]; }
  /// Symbols that are a whole dimension of one of these values: those can be bound.
  std::set<std::string> bound_symbols(const std::vector<ValueId>& values) const;
  /// An input of the graph with `symbol` as a dimension, or kNone.
  ValueId input_with(const std::string& symbol) const;

 private:
  const SourceGraph& graph_;
  std::vector<int> producer_;                // node by value, -1 for inputs and constants
  std::vector<bool> constant_;               // by value
  std::vector<bool> output_;                 // by value: an output of the graph
  std::vector<std::vector<ValueId>> reads_;  // values a node reads, each once
  std::vector<std::vector<int>> preds_, succs_;
  std::vector<int> drawn_before_, drawn_after_;  // by node that draws random numbers: the one before and behind it, else -1
  std::vector<std::vector<std::string>> symbols_;
  std::vector<bool> fixed_;          // by node: depends on constants only, so it may run on the device that needs it
  std::vector<std::string> device_;  // by node

  void read_arguments(const Arg& arg, int node);
  void read_sizes(int node, const std::map<std::string, ValueId>& made);
  std::string recorded_device(int node) const;
  void order_draws();
  void find_devices();
  /// The units (a number per node, below `count`) such that every unit comes after those it reads. INTERNAL_CHECKs that there is no cycle.
  std::vector<int> topological(const std::vector<int>& unit, int count) const;
  std::vector<int> levels(const std::vector<bool>& member, const std::vector<int>& unit, int count) const;
  void sink_fixed(const std::vector<bool>& member, std::vector<int>& level) const;
};

}  // namespace tuyere
