// SPDX-License-Identifier: Apache-2.0
// The table: rows by op, and the pure question "can you convert this node?".
#include "common/error.h"
#include "common/log.h"
#include "converters/convert.h"

namespace tuyere {
namespace {

void collect_values(const Arg& arg, std::vector<ValueId>& out) {
  if (auto* v = std::get_if<Arg::Value>(&arg.v)) out.push_back(v->id);
  if (auto* list = std::get_if<ArgList>(&arg.v)) {
    for (const Arg& item : *list) collect_values(item, out);
  }
}

bool is_plain(DType type) { return type != DType::F8E4M3 && type != DType::F8E5M2 && type != DType::I4; }

Support check_value(const SourceGraph& graph, ValueId id, const char* role, const std::string& name) {
  const SourceValue& value = graph.values.at(id);
  if (value.is_dim) return Support::yes();
  REQUIRE(value.has_type, std::string(role) + " '" + name + "' has a dtype or layout that has no counterpart (complex, sparse or not a tensor)");
  REQUIRE(is_plain(value.type.dtype),
          std::string(role) + " '" + name + "' is " + std::string(tuyere::name(value.type.dtype)) + ", which is only supported in constants");
  return Support::yes();
}

bool is_symbolic(const SourceGraph& graph, const SourceNode& node) {
  for (ValueId id : node.outputs) {
    if (graph.values.at(id).has_type && !is_static(graph.values[id].type.shape)) return true;
  }
  return false;
}

Support check_types(const SourceGraph& graph, const SourceNode& node) {
  for (const auto& [name, arg] : node.args) {
    std::vector<ValueId> values;
    collect_values(arg, values);
    for (ValueId id : values) {
      if (Support s = check_value(graph, id, "argument", name); !s) return s;
    }
  }
  for (ValueId id : node.outputs) {
    const SourceValue& value = graph.values.at(id);
    if (!value.has_type && !value.is_dim && !is_used(graph, id)) continue;
    if (Support s = check_value(graph, id, "output", value.name); !s) return s;
  }
  return Support::yes();
}

/// Runs the row on a scratch network whose inputs have the recorded types.
Support try_row(const ConverterRow& row, const SourceGraph& graph, const SourceNode& node) {
  Network scratch;
  std::vector<TensorId> tensors(graph.values.size(), kNone);
  try {
    for (const auto& [name, arg] : node.args) {
      std::vector<ValueId> values;
      collect_values(arg, values);
      for (ValueId id : values) {
        const SourceValue& value = graph.values[id];
        if (value.has_type && tensors[id] == kNone) tensors[id] = scratch.add_input({value.type.dtype, value.type.shape, {}}, value.name);
      }
    }
    Convert convert(scratch, graph, node, tensors);
    row.convert(convert);
    for (ValueId id : node.outputs)
      INTERNAL_CHECK(tensors[id] != kNone || !is_used(graph, id), "the row of " << node.op << " left output '" << graph.values[id].name << "' out");
  } catch (const Error& error) {
    if (error.fault() == Fault::Internal) TUYERE_LOG(Warning, "converter of " << node.op << " (node '" << node.name << "'): " << error.message());
    return Support::no(error.message());
  }
  return Support::yes();
}

}  // namespace

void ConverterTable::add(ConverterRow row) {
  INTERNAL_CHECK(!rows_.contains(row.op), "two converter rows for " << row.op);
  std::string op = row.op;
  rows_.emplace(std::move(op), std::move(row));
}

const ConverterRow* ConverterTable::find(const std::string& op) const {
  auto found = rows_.find(op);
  return found == rows_.end() ? nullptr : &found->second;
}

Support ConverterTable::supports(const SourceGraph& graph, const SourceNode& node) const {
  const ConverterRow* row = find(node.op);
  REQUIRE(row, "no converter for " + node.op);
  REQUIRE(!node.mutates, node.op + " writes to an argument");
  if (Support s = check_types(graph, node); !s) return s;
  REQUIRE(row->dynamic || !is_symbolic(graph, node), node.op + " is converted with static sizes only");
  if (row->supports) {
    if (Support s = row->supports(graph, node); !s) return s;
  }
  return try_row(*row, graph, node);
}

std::vector<std::string> ConverterTable::ops() const {
  std::vector<std::string> out;
  for (const auto& [op, row] : rows_) out.push_back(op);
  return out;
}

}  // namespace tuyere
