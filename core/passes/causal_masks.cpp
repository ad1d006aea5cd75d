// SPDX-License-Identifier: Apache-2.0
// attention(q, k, v, mask) => attention(q, k, v) causal     mask[.., i, j] attends where j <= i, and nowhere else
// attention(q, k, v, mask) => attention(q, k, v)            mask attends everywhere
// Masks that depend on no input and no parameter are computed here, whatever they are made of: half of a causal attention is no work at all, and a kernel
// need not read what it knows.
// See tests/unit/passes/causal_masks.cpp
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr int64_t kLargestMask = int64_t{64} << 20;  // bytes of any tensor that is computed

enum class Mask { other, causal, everything };

/// Copies what a tensor is made of into a network of its own.
class Extractor {
 public:
  Extractor(const Network& net, int body) : net_(net), body_(body) {}

  std::optional<Network> run(TensorId id) {
    if (!computable(id)) return std::nullopt;
    result_.mark_output(copy(id));
    return std::move(result_);
  }

 private:
  bool computable(TensorId id) {
    auto [it, fresh] = known_.try_emplace(id, false);
    if (!fresh) return it->second;
    const Tensor& tensor = net_.tensor(id, body_);
    if (!is_static(tensor.type.shape) || tensor.observed || bytes_of(tensor.type.dtype, numel(tensor.type.shape).value()) > kLargestMask) return false;
    if (tensor.constant >= 0) return known_[id] = !net_.constants[tensor.constant].param && net_.constants[tensor.constant].data;
    const Layer* layer = net_.producer(id, body_);
    if (!layer || layer->dead || group(layer->op) == OpGroup::control) return false;
    for (TensorId in : layer->inputs)
      if (!computable(in)) return false;
    for (TensorId out : layer->outputs)
      if (!is_static(net_.type(out, body_).shape)) return false;
    return known_[id] = true;
  }

  TensorId copy(TensorId id) {
    if (auto it = copies_.find(id); it != copies_.end()) return it->second;
    const Tensor& tensor = net_.tensor(id, body_);
    if (tensor.constant >= 0) return copies_[id] = result_.add_constant(tensor.type.dtype, tensor.type.shape, net_.constants[tensor.constant]);
    const Layer& layer = *net_.producer(id, body_);
    std::vector<TensorId> inputs;
    for (TensorId in : layer.inputs) inputs.push_back(copy(in));
    const std::vector<TensorId> outputs = result_.add(layer.op, inputs, layer.origins);
    for (size_t i = 0; i < outputs.size(); ++i) copies_[layer.outputs[i]] = outputs[i];
    return copies_.at(id);
  }

  const Network& net_;
  int body_;
  Network result_;
  std::map<TensorId, bool> known_;
  std::map<TensorId, TensorId> copies_;
};

/// 1: attends, 0: does not, -1: neither (an additive mask of other values).
std::vector<int8_t> meaning(const std::vector<std::byte>& bytes, DType type) {
  // A finite fill counts only where no score of the type can reach beyond it.
  const auto of = [](double v, double swallows) -> int8_t { return v == 0 ? 1 : v <= swallows ? 0 : -1; };
  std::vector<int8_t> result;
  if (type == DType::Bool) {
    for (std::byte b : bytes) result.push_back(b != std::byte{0});
  } else if (type == DType::F32) {
    for (size_t i = 0; i < bytes.size(); i += 4) {
      float v;
      std::memcpy(&v, bytes.data() + i, 4);
      result.push_back(of(v, -1e30));
    }
  } else if (type == DType::F16 || type == DType::BF16) {
    const uint16_t lowest = type == DType::F16 ? 0xFBFF : 0xFF7F;  // the lowest finite number; infinity is the next
    for (size_t i = 0; i < bytes.size(); i += 2) {
      uint16_t v;
      std::memcpy(&v, bytes.data() + i, 2);
      result.push_back((v & 0x7FFF) == 0 ? 1 : v == lowest || v == lowest + 1 ? 0 : -1);
    }
  }
  return result;
}

Mask kind_of(const std::vector<int8_t>& attends, int64_t queries, int64_t keys) {
  bool everything = !attends.empty(), causal = everything && queries > 1;
  for (size_t k = 0; k < attends.size() && (everything || causal); ++k) {
    const int64_t at = static_cast<int64_t>(k), i = at / keys % queries, j = at % keys;
    everything = everything && attends[k] == 1;
    causal = causal && attends[k] == (j <= i ? 1 : 0);
  }
  return everything ? Mask::everything : causal ? Mask::causal : Mask::other;
}

Mask find_kind(const Network& net, TensorId id, int body, const PassContext& context) {
  const TensorType& type = net.type(id, body);
  if (!is_static(type.shape) || type.shape.size() < 2 || (type.dtype != DType::Bool && (!is_float(type.dtype) || type.dtype == DType::F64))) return Mask::other;
  const std::optional<Network> alone = Extractor(net, body).run(id);
  if (!alone) return Mask::other;
  const int64_t queries = type.shape[type.shape.size() - 2].value(), keys = type.shape.back().value();
  return kind_of(meaning(context.evaluate(*alone), type.dtype), queries, keys);
}

}  // namespace

bool causal_masks(Network& net, const PassContext& context) {
  if (!context.evaluate) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    std::map<TensorId, Mask> kinds;
    for (LayerId id : live(net, body)) {
      const Layer layer = net.bodies[body].layers[id];  // by value: adding layers moves the vector
      const auto* attention = std::get_if<Attention>(&layer.op);
      if (!attention || !attention->has_mask) continue;
      const TensorId mask = layer.inputs[3];
      auto [it, fresh] = kinds.try_emplace(mask, Mask::other);
      if (fresh) it->second = find_kind(net, mask, body, context);
      const Shape &shape = net.type(mask, body).shape, &q = net.type(layer.inputs[0], body).shape, &k = net.type(layer.inputs[1], body).shape;
      if (it->second == Mask::other) continue;
      const bool whole = shape[shape.size() - 2] == q[2] && shape.back() == k[2];
      if (it->second == Mask::causal && !whole) continue;  // one row for all queries, or one column for all keys
      Attention plain = *attention;
      plain.has_mask = false;
      plain.causal = attention->causal || it->second == Mask::causal;
      const std::vector<TensorId> out = net.add(plain, {layer.inputs[0], layer.inputs[1], layer.inputs[2]}, layer.origins, body);
      for (size_t k = 0; k < out.size(); ++k) net.replace(layer.outputs[k], out[k], body);
      changed = true;
    }
    if (changed) net.sort(body);
  }
  return changed;
}

}  // namespace tuyere
