// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "core/network/internal.h"

namespace tuyere {
namespace {

/// k of "<base>_k", 0 of "<base>", -1 of anything else.
int64_t suffix_of(std::string_view name, std::string_view base) {
  if (!name.starts_with(base)) return -1;
  name.remove_prefix(base.size());
  if (name.empty()) return 0;
  if (name.size() < 2 || name.size() > 10 || name[0] != '_' || name[1] == '0') return -1;
  int64_t k = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), k);
  return error == std::errc() && end == name.data() + name.size() ? k : -1;
}

}  // namespace

std::string unique_name(const Body& body, const std::string& wanted) {
  int64_t last = -1;
  bool taken = false;
  for (const Tensor& tensor : body.tensors) {
    const int64_t k = suffix_of(tensor.name, wanted);
    taken |= k == 0;
    last = std::max(last, k);
  }
  return taken ? wanted + "_" + std::to_string(last + 1) : wanted;
}

std::string_view short_name(const Op& op) {
  const Pointwise* pointwise = std::get_if<Pointwise>(&op);
  if (pointwise && pointwise->program.body.size() == 1) return info(pointwise->program.body[0].fn).name;
  return name(op);
}

std::string wanted_name(const Op& op, const Origins& origins) {
  const std::string kind(short_name(op));
  if (origins.empty()) return kind;
  const Origin& origin = *origins.begin();
  if (!origin.module.empty()) return origin.module + "/" + kind;
  return origin.node.empty() ? kind : origin.node;
}

std::string layer_frame(const Op& op, const std::string& layer, const Origins& origins) {
  std::string text = std::string(short_name(op)) + " '" + layer + "'";
  if (origins.empty()) return text;
  const Origin& origin = *origins.begin();
  if (origin.op.empty() && origin.source.empty()) return text;
  return text + " (" + origin.op + (origin.op.empty() || origin.source.empty() ? "" : ", ") + origin.source + ")";
}

std::string layer_frame(const Body& body, const Layer& layer) {
  const bool named = !layer.outputs.empty() && layer.outputs[0] >= 0 && layer.outputs[0] < static_cast<TensorId>(body.tensors.size());
  return layer_frame(layer.op, named ? body.tensors[layer.outputs[0]].name : "", layer.origins);
}

}  // namespace tuyere
