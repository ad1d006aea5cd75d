// SPDX-License-Identifier: Apache-2.0
// Hosted ops: PyTorch ops called from inside a program. Arguments travel as JSON (HostCall in kernels/api/ops.h).
#include <nlohmann/json.hpp>

#include <algorithm>

#include "common/error.h"
#include "converters/convert.h"
#include "converters/strides.h"

namespace tuyere {
namespace {

using Json = nlohmann::json;

template <class T>
bool all_hold(const ArgList& list) {
  return std::all_of(list.begin(), list.end(), [](const Arg& a) { return std::holds_alternative<T>(a.v); });
}

int64_t constant(const Dim& dim, const std::string& name) {
  USER_CHECK(dim.is_const(), "argument '" << name << "' is symbolic (" << dim << ")");
  return dim.value();
}

class Writer {
 public:
  Writer(const std::string& name, std::vector<ValueId>& inputs) : name_(name), inputs_(inputs) {}

  Json operator()(Arg::None) { return {{"none", true}}; }
  Json operator()(Arg::Value v) { return {{"tensor", input(v.id)}}; }
  Json operator()(bool v) { return {{"bool", v}}; }
  Json operator()(int64_t v) { return {{"int", v}}; }
  Json operator()(double v) {
    USER_CHECK(v - v == 0, "argument '" << name_ << "' is not finite");
    return {{"float", v}};
  }
  Json operator()(const std::string& v) {
    USER_CHECK(name_ != "device" && name_ != "layout" && name_ != "memory_format", "argument '" << name_ << "' is given");
    return {{"str", v}};
  }
  Json operator()(DType v) { return {{"dtype", name(v)}}; }
  Json operator()(const Dim& v) { return {{"int", constant(v, name_)}}; }
  Json operator()(const ArgList& list) {
    Json items = Json::array();
    if (!list.empty() && all_hold<Arg::Value>(list)) {
      for (const Arg& a : list) items.push_back(input(std::get<Arg::Value>(a.v).id));
      return {{"tensors", items}};
    }
    if (std::all_of(list.begin(), list.end(), [](const Arg& a) { return std::holds_alternative<int64_t>(a.v) || std::holds_alternative<Dim>(a.v); })) {
      for (const Arg& a : list) items.push_back(std::holds_alternative<Dim>(a.v) ? constant(std::get<Dim>(a.v), name_) : std::get<int64_t>(a.v));
      return {{"ints", items}};
    }
    for (const Arg& a : list) {
      USER_CHECK(!std::holds_alternative<ArgList>(a.v), "argument '" << name_ << "' is a list of lists");
      items.push_back(std::visit(*this, a.v));
    }
    return {{"list", items}};
  }

 private:
  /// Position of a tensor among the inputs of the call; a tensor used twice is one input.
  int64_t input(ValueId id) {
    auto found = std::find(inputs_.begin(), inputs_.end(), id);
    if (found == inputs_.end()) found = inputs_.insert(inputs_.end(), id);
    return found - inputs_.begin();
  }

  const std::string& name_;
  std::vector<ValueId>& inputs_;
};

/// Ops whose kernels take SymInt lists on every device. Other kernels behind such a schema take ints, and the stable dispatcher cannot call them.
bool takes_symbolic_sizes(const std::string& op) { return op == "aten::convolution_backward" || op == "aten::convolution"; }

Json args_of(const SourceNode& node, std::vector<ValueId>& inputs) {
  Json out = Json::array();
  for (size_t k = 0; k < node.args.size(); ++k) {
    const auto& [name, arg] = node.args[k];
    Json entry = std::visit(Writer(name, inputs), arg.v);
    if (k < node.arg_types.size()) {  // the host boxes a value by its schema type
      const std::string& type = node.arg_types[k];
      USER_CHECK(!type.starts_with("number") && !type.starts_with("Scalar"),
                 "argument '" << name << "' is a Scalar, which the stable dispatcher does not take");
      USER_CHECK(!type.starts_with("SymInt[]") || takes_symbolic_sizes(node.op),
                 "argument '" << name << "' is a SymInt list, which the stable dispatcher only hands to kernels that take symbolic sizes");
      entry["type"] = type;
    }
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

std::string hosted_args(const SourceGraph& graph, const SourceNode& node, std::vector<ValueId>& inputs) {
  Json args = args_of(node, inputs), outputs = Json::array();
  for (size_t k = 0; k < node.outputs.size(); ++k)
    if (graph.values[node.outputs[k]].has_type) outputs.push_back(k);
  if (outputs.size() == node.outputs.size()) return args.dump();
  return Json{{"args", args}, {"returns", node.outputs.size()}, {"outputs", outputs}}.dump();
}

bool is_row_major(const SourceValue& value) {
  const auto order = memory_order(value.type.shape, value.strides);
  return value.strides.empty() || (order && order->empty());
}

/// as_strided reads memory, not values: a hosted one gets row-major memory.
Support reads_row_major(const SourceGraph& graph, const SourceNode& node) {
  if (!node.op.starts_with("aten::as_strided") || node.args.empty()) return Support::yes();
  const auto* self = std::get_if<Arg::Value>(&node.args[0].second.v);
  if (!self) return Support::yes();
  REQUIRE(is_row_major(graph.values.at(self->id)), "it reads memory that is not row-major");
  return Support::yes();
}

/// Of other random numbers eager draws the same, in its order of memory (draws.py); normal ones it draws in another way where memory is not row-major.
Support draws_as_eager(const SourceGraph& graph, const SourceNode& node) {
  if (!node.op.starts_with("aten::randn_like") && !node.op.starts_with("aten::normal")) return Support::yes();
  for (ValueId id : node.outputs) REQUIRE(is_row_major(graph.values.at(id)), "it draws other numbers for memory that is not row-major");
  return Support::yes();
}

/// Ops that PyTorch has for the CPU only.
Support runs_on_device(const SourceGraph& graph, const SourceNode& node) {
  if (!node.op.starts_with("aten::_scaled_dot_product_flash_attention_for_cpu")) return Support::yes();
  for (ValueId id : node.outputs) REQUIRE(!graph.values.at(id).device.starts_with("cuda"), "PyTorch has it for the CPU only");
  return Support::yes();
}

Support hostable(const SourceGraph& graph, const SourceNode& node) {
  REQUIRE(!node.mutates, "it writes to an argument");
  REQUIRE(!node.side_effect, "it has side effects");
  REQUIRE(!node.outputs.empty(), "it has no outputs");
  REQUIRE(!node.op.starts_with("aten::mkldnn_rnn_layer"), "its outputs have other shapes than those it announces");
  for (const Support& s : {reads_row_major(graph, node), draws_as_eager(graph, node), runs_on_device(graph, node)})
    if (!s) return s;
  for (ValueId id : node.outputs)
    REQUIRE(graph.values.at(id).has_type || !is_used(graph, id), "the type of output '" + graph.values[id].name + "' is not known");
  REQUIRE(std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) { return graph.values[id].has_type; }),
          "the type of output '" + graph.values[node.outputs[0]].name + "' is not known");
  std::vector<ValueId> inputs;
  try {
    args_of(node, inputs);
  } catch (const Error& error) {
    return Support::no(error.message());
  }
  for (ValueId id : inputs) REQUIRE(graph.values.at(id).has_type, "the type of input '" + graph.values[id].name + "' is not known");
  return Support::yes();
}

}  // namespace tuyere
