// SPDX-License-Identifier: Apache-2.0
// The converter table: one row per op, used by every front end that speaks ATen.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "converters/source/source.h"
#include "kernels/api/tactic.h"

namespace tuyere {

/// What a converter function works with: arguments by schema name on one side, Network calls on the other.
class Convert {
 public:
  Network& net;
  const SourceGraph& graph;
  const SourceNode& node;

  Convert(Network& net, const SourceGraph& graph, const SourceNode& node, std::vector<TensorId>& tensors) : net(net), graph(graph), node(node), tensors_(tensors) {}

  bool has(std::string_view arg) const;  // given and not None
  TensorId tensor(std::string_view arg);
  std::optional<TensorId> maybe_tensor(std::string_view arg);
  std::vector<TensorId> tensors(std::string_view arg);
  int64_t integer(std::string_view arg) const;      // a constant int
  double number(std::string_view arg) const;        // int, float or bool
  bool boolean(std::string_view arg) const;
  std::string text(std::string_view arg) const;
  std::optional<DType> dtype(std::string_view arg) const;
  std::vector<int64_t> integers(std::string_view arg) const;
  Dim dim(std::string_view arg) const;              // int or symbolic
  Shape dims(std::string_view arg) const;
  /// Normalized axis of tensor x (negative counts from the end; checked).
  int64_t axis(std::string_view arg, TensorId x) const;
  std::vector<int64_t> axes(std::string_view arg, TensorId x) const;  // empty list or None: all
  /// Number or tensor argument as a tensor (numbers become rank-0 literals of `type`).
  TensorId operand(std::string_view arg, DType type);
  /// Recorded type of output k.
  const TensorType& out_type(int k = 0) const;
  /// Adds a layer with this node's origin.
  TensorId add(Op op, std::vector<TensorId> inputs);
  std::vector<TensorId> add_n(Op op, std::vector<TensorId> inputs);
  TensorId pointwise(Fn fn, std::vector<TensorId> inputs, DType type);
  TensorId cast(TensorId x, DType type);
  TensorId reshape(TensorId x, Shape shape);
  const TensorType& type(TensorId id) const { return net.type(id); }
  /// Binds output k of the node. The tensor's type must equal the recorded one (INTERNAL_CHECK names both).
  void out(TensorId id, int k = 0);
  Origins origins() const { return {node.origin}; }

 private:
  std::vector<TensorId>& tensors_;  // by ValueId
  const Arg* find(std::string_view arg) const;
};

struct ConverterRow {
  std::string op;  // "aten::add.Tensor"
  std::function<Support(const SourceGraph&, const SourceNode&)> supports;
  bool dynamic = true;  // whether symbolic shapes are fine
  std::function<void(Convert&)> convert;
};

class ConverterTable {
 public:
  /// INTERNAL_CHECKs that the op has no row yet.
  void add(ConverterRow row);
  const ConverterRow* find(const std::string& op) const;
  Support supports(const SourceGraph& graph, const SourceNode& node) const;
  std::vector<std::string> ops() const;

 private:
  std::map<std::string, ConverterRow> rows_;
};

/// All ATen rows (converters/aten/*.cpp, called by name in table.cpp).
const ConverterTable& aten_table();

struct SegmentIo {
  std::vector<ValueId> inputs, outputs;  // tensors only; sizes are bound through the inputs' shapes
};
/// Converts the nodes (indices, topological) of `graph` into a network with these inputs and outputs. Hosted nodes (listed in `hosted`) become HostCall layers.
Network convert(const SourceGraph& graph, std::span<const int> nodes, const SegmentIo& io, const ConverterTable& table, std::span<const int> hosted = {});

}  // namespace tuyere
