// SPDX-License-Identifier: Apache-2.0
// convert(): a segment of the source graph becomes a network.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "common/error.h"
#include "converters/convert.h"
#include "converters/strides.h"
#include "core/builder/strides.h"

namespace tuyere {
namespace {

/// The memory order that the recorded strides say. Views that leave gaps or overlap count as row-major.
Layout layout_of(const SourceValue& value) {
  const Shape& shape = value.type.shape;
  if (value.strides.size() != shape.size()) return {};
  const int rank = static_cast<int>(shape.size());
  const Layout nhwc = rank == 4 || rank == 5 ? Layout::channels_last(rank) : Layout{};
  return {memory_order(shape, value.strides, {{}, nhwc.order}).value_or(std::vector<int>{})};
}

/// Of an output: the strides of dimensions of size 1 are eager's too, where an order of the dimensions gives them.
Layout output_layout(const SourceValue& value) {
  const Layout loose = layout_of(value);
  const Shape& shape = value.type.shape;
  if (value.strides.size() != shape.size() || layout_strides(shape, loose) == value.strides) return loose;
  const Layout exact{order_of_strides(shape, value.strides)};
  return layout_strides(shape, exact) == value.strides ? exact : loose;
}

/// Inputs come in channels-last or row-major order; the caller copies others.
Layout input_layout(const SourceValue& value) {
  const Layout layout = layout_of(value);
  const int rank = static_cast<int>(value.type.shape.size());
  return (rank == 4 || rank == 5) && layout == Layout::channels_last(rank) ? layout : Layout{};
}

std::string describe(const SourceNode& node) {
  std::string text = "converting " + node.op + " (node '" + node.name + "'";
  if (!node.origin.module.empty()) text += ", module '" + node.origin.module + "'";
  if (!node.origin.source.empty()) text += ", " + node.origin.source;
  return text + ")";
}

class SegmentConverter {
 public:
  SegmentConverter(const SourceGraph& graph, const ConverterTable& table) : graph_(graph), table_(table), tensors_(graph.values.size(), kNone) {
    for (size_t k = 0; k < graph.constants.size(); ++k) constant_of_[graph.constants[k].value] = static_cast<int>(k);
    net_.name = graph.name;
  }

  Network run(std::span<const int> nodes, const SegmentIo& io, std::span<const int> hosted) {
    for (ValueId id : io.inputs) add_input(id);
    std::unordered_set<int> on_host(hosted.begin(), hosted.end());
    for (int index : nodes) {
      const SourceNode& node = graph_.nodes.at(index);
      ErrorFrame frame(describe(node));
      for (const auto& [name, arg] : node.args) add_constants(arg);
      on_host.contains(index) ? host(node) : native(node);
    }
    for (ValueId id : io.outputs) mark_output(id);
    return std::move(net_);
  }

 private:
  void add_input(ValueId id) {
    const SourceValue& value = graph_.values.at(id);
    if (value.is_dim) return;  // sizes are bound through shapes
    USER_CHECK(value.has_type, "input '" << value.name << "' of the segment has no type tuyere knows");
    if (constant_of_.contains(id)) return add_constant(id);
    tensors_[id] = net_.add_input({value.type.dtype, value.type.shape, input_layout(value)}, value.name);
  }

  void add_constant(ValueId id) {
    if (tensors_[id] != kNone) return;
    const SourceConstant& source = graph_.constants[constant_of_.at(id)];
    const TensorType& type = graph_.values.at(id).type;
    tensors_[id] = net_.add_constant(type.dtype, type.shape, {source.name, source.param, source.data});
  }

  /// Constants enter the network where the first node uses them.
  void add_constants(const Arg& arg) {
    if (auto* value = std::get_if<Arg::Value>(&arg.v); value && constant_of_.contains(value->id)) add_constant(value->id);
    if (auto* list = std::get_if<ArgList>(&arg.v)) {
      for (const Arg& item : *list) add_constants(item);
    }
  }

  void native(const SourceNode& node) {
    const ConverterRow* row = table_.find(node.op);
    USER_CHECK(row, "no converter for " << node.op);
    Convert convert(net_, graph_, node, tensors_);
    row->convert(convert);
  }

  void host(const SourceNode& node) {
    std::vector<ValueId> values;
    HostCall call;
    call.args = hosted_args(graph_, node, values);
    const size_t dot = node.op.find('.');
    call.op = node.op.substr(0, dot);
    call.overload = dot == std::string::npos ? "" : node.op.substr(dot + 1);
    std::vector<TensorId> inputs;
    for (ValueId id : values) {
      USER_CHECK(tensors_[id] != kNone, "hosted op reads '" << graph_.values[id].name << "', which is not a tensor of this segment");
      inputs.push_back(tensors_[id]);
    }
    std::vector<ValueId> typed;
    for (ValueId id : node.outputs) {
      if (!graph_.values[id].has_type) continue;
      call.types.push_back(graph_.values[id].type.dtype);
      call.shapes.push_back(graph_.values[id].type.shape);
      typed.push_back(id);
    }
    std::vector<TensorId> outputs = net_.add(std::move(call), inputs, {node.origin});
    for (size_t k = 0; k < outputs.size(); ++k) tensors_[typed[k]] = outputs[k];
  }

  /// An output is a tensor of its own in the memory order that eager gives it: inputs, constants and repeated outputs are copied.
  void mark_output(ValueId id) {
    if (constant_of_.contains(id)) add_constant(id);
    TensorId tensor = tensors_.at(id);
    INTERNAL_CHECK(tensor != kNone, "output '" << graph_.values[id].name << "' of the segment was not converted");
    const std::vector<TensorId>& outputs = net_.main().outputs;
    bool shared = std::find(outputs.begin(), outputs.end(), tensor) != outputs.end();
    if (shared || net_.tensor(tensor).producer == kNone) {
      DType type = net_.type(tensor).dtype;
      tensor = net_.add1(Pointwise{Program{.inputs = {compute_type(type)}, .outputs = {0}}, {type}}, {tensor});
    }
    net_.bodies[0].tensors[tensor].type.layout = output_layout(graph_.values[id]);
    net_.mark_output(tensor);
  }

  const SourceGraph& graph_;
  const ConverterTable& table_;
  std::vector<TensorId> tensors_;
  std::unordered_map<ValueId, int> constant_of_;
  Network net_;
};

}  // namespace

Network convert(const SourceGraph& graph, std::span<const int> nodes, const SegmentIo& io, const ConverterTable& table, std::span<const int> hosted) {
  return SegmentConverter(graph, table).run(nodes, io, hosted);
}

}  // namespace tuyere
