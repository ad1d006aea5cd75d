// SPDX-License-Identifier: Apache-2.0
// Copies and casts (values have no identity here, so a copy is the value), and checks that hold by construction.
#include <algorithm>

#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

void same(Convert& c) { c.out(c.tensor("self")); }

/// Whether a value depends on constants only: such a value has no device of its own.
bool is_fixed(const SourceGraph& graph, const Arg& arg) {
  if (auto* list = std::get_if<ArgList>(&arg.v)) return std::all_of(list->begin(), list->end(), [&](const Arg& a) { return is_fixed(graph, a); });
  auto* value = std::get_if<Arg::Value>(&arg.v);
  if (!value || graph.values[value->id].is_dim) return true;
  if (std::any_of(graph.constants.begin(), graph.constants.end(), [&](const SourceConstant& k) { return k.value == value->id; })) return true;
  for (const SourceNode& node : graph.nodes) {
    if (std::find(node.outputs.begin(), node.outputs.end(), value->id) == node.outputs.end()) continue;
    return std::all_of(node.args.begin(), node.args.end(), [&](const auto& a) { return is_fixed(graph, a.second); });
  }
  return false;
}

/// The user's own conversion to a shorter float rounds, whatever is fused around it.
void converted(Convert& c, TensorId x) {
  const DType type = c.out_type().dtype;
  const bool rounds = is_float(type) && compute_type(type) != type && c.type(x).dtype != type;
  c.out(rounds ? c.pointwise(Fn::cast, {x}, type) : c.cast(x, type));
}

/// Casts; a move to another device is a border.
void to(Convert& c) {
  const Arg self = c.list("self").at(0);
  const SourceValue& from = c.graph.values.at(std::get<Arg::Value>(self.v).id);
  const SourceValue& result = c.graph.values.at(c.node.outputs.at(0));
  USER_CHECK(from.device == result.device || is_fixed(c.graph, self), "moves data from " << from.device << " to " << result.device);
  converted(c, c.tensor("self"));
}

void copy(Convert& c) {
  const TensorType type = c.out_type();
  c.out(c.expand(c.cast(c.tensor("src"), type.dtype), type.shape));
}

/// A check that the capture has already made.
void nothing(Convert&) {}

void assert_scalar(Convert& c) {
  const char* arg = c.has("self") ? "self" : "assert_condition";
  USER_CHECK(c.is_number(arg) && c.number(arg) != 0, "an assertion on a value that is only known at run time");
}

}  // namespace

void add_copy(ConverterTable& t) {
  add_each(
      t,
      {"aten::clone", "aten::contiguous", "aten::detach", "aten::detach_copy", "aten::alias", "aten::alias_copy", "aten::lift_fresh", "aten::lift_fresh_copy",
       "aten::lift", "aten::resolve_conj", "aten::resolve_neg", "aten::conj", "aten::_conj", "aten::_conj_physical", "aten::conj_physical"},
      same);
  add_each(t, {"aten::_to_copy", "aten::to.dtype", "aten::to.device", "aten::to.dtype_layout", "aten::to.other", "aten::type_as"}, to);
  t.add("prims::convert_element_type", [](Convert& c) { converted(c, c.tensor("a")); });  // PyTorch's own formulas use it
  t.add("aten::copy", copy);
  add_each(t, {"aten::_assert_tensor_metadata", "aten::sym_constrain_range", "aten::sym_constrain_range_for_size"}, nothing);
  t.add("aten::_assert_scalar", assert_scalar);
}

}  // namespace tuyere
