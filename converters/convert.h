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
/// What a row cannot convert it says with USER_CHECK: ConverterTable::supports tries the row on a scratch network, and the message is the reason.
class Convert {
 public:
  Network& net;
  const SourceGraph& graph;
  const SourceNode& node;

  Convert(Network& net, const SourceGraph& graph, const SourceNode& node, std::vector<TensorId>& tensors)
      : net(net), graph(graph), node(node), tensors_(tensors) {}

  bool has(std::string_view arg) const;  // given and not None
  bool is_tensor(std::string_view arg) const;
  bool is_number(std::string_view arg) const;    // int, float, bool or a size
  bool is_integral(std::string_view arg) const;  // int or a size
  bool is_bool(std::string_view arg) const;
  TensorId tensor(std::string_view arg);
  std::optional<TensorId> maybe_tensor(std::string_view arg);
  std::vector<TensorId> tensors(std::string_view arg);
  /// The tensor an item of a list argument names.
  TensorId tensor_at(const Arg& item, std::string_view arg) const;
  int64_t integer(std::string_view arg) const;  // a constant int
  double number(std::string_view arg) const;    // int, float or bool
  bool boolean(std::string_view arg) const;
  std::string text(std::string_view arg) const;
  std::optional<DType> dtype(std::string_view arg) const;
  std::vector<int64_t> integers(std::string_view arg) const;
  Dim dim(std::string_view arg) const;  // int or symbolic
  Shape dims(std::string_view arg) const;
  /// A list argument; one number stands for a list of one. Empty when None.
  ArgList list(std::string_view arg) const;
  /// Normalized axis of tensor x (negative counts from the end; checked).
  int64_t axis(std::string_view arg, TensorId x) const;
  std::vector<int64_t> axes(std::string_view arg, TensorId x) const;  // empty list or None: all
  /// Number or tensor argument as a tensor (numbers become rank-0 literals of `type`).
  TensorId operand(std::string_view arg, DType type);
  /// A rank-0 literal, exact for every int64.
  TensorId literal(int64_t value, DType type);
  /// Recorded type of output k.
  const TensorType& out_type(int k = 0) const;
  /// Whether anything reads output k.
  bool used(int k) const;
  /// Adds a layer with this node's origin.
  TensorId add(Op op, std::vector<TensorId> inputs);
  std::vector<TensorId> add_n(Op op, std::vector<TensorId> inputs);
  TensorId pointwise(Fn fn, std::vector<TensorId> inputs, DType type);
  TensorId cast(TensorId x, DType type);
  TensorId reshape(TensorId x, Shape shape);
  /// A copy: adding layers moves the tensors of the network.
  TensorType type(TensorId id) const { return net.type(id); }
  TensorId permute(TensorId x, std::vector<int64_t> perm);
  TensorId expand(TensorId x, Shape shape);
  /// x[start:end] along axis.
  TensorId slice(TensorId x, int64_t axis, Dim start, Dim end, int64_t step = 1);
  /// Binds output k of the node. The tensor's type must equal the recorded one (INTERNAL_CHECK names both).
  void out(TensorId id, int k = 0);
  Origins origins() const { return {node.origin}; }

 private:
  std::vector<TensorId>& tensors_;  // by ValueId
  const Arg* find(std::string_view arg) const;
  const Arg& need(std::string_view arg) const;
  Dim dim_of(const Arg& arg, std::string_view name) const;
  int64_t integer_of(const Arg& arg, std::string_view name) const;
  int64_t normalized(int64_t axis, size_t rank, std::string_view name) const;
};

struct ConverterRow {
  std::string op;                                                          // "aten::add.Tensor"
  std::function<Support(const SourceGraph&, const SourceNode&)> supports;  // empty: whatever `convert` accepts
  bool dynamic = true;                                                     // whether symbolic shapes are fine
  std::function<void(Convert&)> convert;
};

class ConverterTable {
 public:
  /// INTERNAL_CHECKs that the op has no row yet.
  void add(ConverterRow row);
  void add(std::string op, std::function<void(Convert&)> convert) { add({std::move(op), {}, true, std::move(convert)}); }
  const ConverterRow* find(const std::string& op) const;
  /// Whether the node can be converted, or why not: the row's predicate, then a trial on a scratch network of the recorded types.
  Support supports(const SourceGraph& graph, const SourceNode& node) const;
  std::vector<std::string> ops() const;

 private:
  std::map<std::string, ConverterRow> rows_;
};

/// All ATen rows (converters/aten/*.cpp, called by name in table.cpp).
const ConverterTable& aten_table();

/// Whether some value reader of the graph uses `value`: an argument of a node, or an output of the graph.
bool is_used(const SourceGraph& graph, ValueId value);
/// Same dims, or dims that cannot be told apart: symbolic forms of the capture and of our inference may differ in writing only.
bool same_shape(const Shape& a, const Shape& b);
/// The arguments of a hosted call as the JSON list of ops.h (HostCall::args); `inputs` gets the tensors it refers to, in order. Results without a type
/// (undefined tensors) are no outputs of the call: then the list stands in {"args": [...], "returns": n, "outputs": [result of each output]}.
/// Error{User} with the reason when an argument has no such form.
std::string hosted_args(const SourceGraph& graph, const SourceNode& node, std::vector<ValueId>& inputs);
/// Whether the node could be a HostCall (functional, plain arguments, known output types), or why not.
Support hostable(const SourceGraph& graph, const SourceNode& node);

struct SegmentIo {
  std::vector<ValueId> inputs, outputs;  // tensors only; sizes are bound through the inputs' shapes
};
/// Converts the nodes (indices, topological) of `graph` into a network with these inputs and outputs. Hosted nodes (listed in `hosted`) become HostCall layers.
Network convert(const SourceGraph& graph, std::span<const int> nodes, const SegmentIo& io, const ConverterTable& table, std::span<const int> hosted = {});

}  // namespace tuyere
