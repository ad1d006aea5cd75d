// SPDX-License-Identifier: Apache-2.0
// mul(conv(x, w) [+ b], s) => conv(x, mul(w, s)) [+ mul(b, s)]          s constant, one value per output channel (or one in all)
// div(conv(x, w), s)       => conv(x, div(w, s))                        the same for matmul, whose channel is the last dimension
// add(conv(x, w) + b, c)   => conv(x, w) + add(b, c)                    epilogues of libraries have one bias
// Batch normalization arrives as mul and add by constants; the add becomes the bias (fuse_epilogue), unless the convolution has one.
// See tests/unit/passes/fold_scale.cpp
#include <algorithm>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

struct Match {
  LayerId heavy, scale;
  TensorId factor;
  Fn fn;
  int channel;  // output channel dimension of the result
  bool has_bias;
};

/// Whether the epilogue is empty or adds a per-channel bias only.
bool linear_epilogue(const Network& net, const Layer& heavy, const Program& epilogue, int channel, int body, bool& has_bias) {
  has_bias = false;
  if (epilogue.empty()) return heavy.inputs.size() == 2;
  const int rank = static_cast<int>(net.type(heavy.outputs[0], body).shape.size());
  if (heavy.inputs.size() != 3 || !varies_along(net.type(heavy.inputs[2], body).shape, rank, channel)) return false;
  const auto simple = match_simple_epilogue(epilogue, {false, true});
  has_bias = simple && simple->bias == 1 && simple->residual < 0 && !simple->act;
  return has_bias;
}

bool scalable(const Network& net, const Layer& heavy, int body, int& channel, bool& has_bias) {
  const int rank = static_cast<int>(net.type(heavy.outputs[0], body).shape.size());
  if (const auto* conv = std::get_if<Conv>(&heavy.op)) {
    channel = 1;
    return (!conv->transposed || conv->groups == 1) && linear_epilogue(net, heavy, conv->epilogue, channel, body, has_bias);
  }
  const auto* matmul = std::get_if<MatMul>(&heavy.op);
  channel = rank - 1;
  return matmul && linear_epilogue(net, heavy, matmul->epilogue, channel, body, has_bias);
}

std::optional<Match> find(const Network& net, LayerId id, const std::vector<bool>& constant, int body) {
  const Layer& layer = net.bodies[body].layers[id];
  const auto* op = std::get_if<Pointwise>(&layer.op);
  if (!op || layer.inputs.size() != 2) return std::nullopt;
  const auto call = plain_call(op->program);
  if (!call || (call->fn != Fn::mul && call->fn != Fn::div && call->fn != Fn::add) || call->inputs[0] < 0 || call->inputs[1] < 0) return std::nullopt;
  for (int k = 0; k < (call->fn == Fn::div ? 1 : 2); ++k) {
    const TensorId x = layer.inputs[call->inputs[k]], s = layer.inputs[call->inputs[1 - k]];
    const Layer* heavy = net.producer(x, body);
    if (constant[x] || !constant[s] || !heavy || heavy->inputs.size() < 2 || !constant[heavy->inputs[1]] || sole_consumer(net, x, body) != id) continue;
    Match m{net.tensor(x, body).producer, id, s, call->fn, 0, false};
    if (!scalable(net, *heavy, body, m.channel, m.has_bias) || (m.fn == Fn::add && !m.has_bias)) continue;
    const Shape& out = net.type(x, body).shape;
    if (net.type(layer.outputs[0], body).shape != out || !varies_along(net.type(s, body).shape, static_cast<int>(out.size()), m.channel)) continue;
    return m;
  }
  return std::nullopt;
}

/// The factor in the shape that multiplies the weight.
TensorId weight_factor(Network& net, const Match& m, const Layer& heavy, int body) {
  const Dim count = numel(net.type(m.factor, body).shape);
  if (count.is_const(1)) return net.add1(Reshape{{}}, {m.factor}, heavy.origins, body);
  Shape shape(net.type(heavy.inputs[1], body).shape.size(), 1);
  size_t dim = 0;
  if (const auto* conv = std::get_if<Conv>(&heavy.op)) {
    dim = conv->transposed ? 1 : 0;
  } else {
    dim = shape.size() - (std::get<MatMul>(heavy.op).trans_b ? 2 : 1);
  }
  shape[dim] = count;
  return net.add1(Reshape{shape}, {m.factor}, heavy.origins, body);
}

void fold_into_conv(Network& net, const Match& m, int body) {
  Layer heavy = net.bodies[body].layers[m.heavy];  // by value: adding layers moves the vector
  const TensorId old = net.bodies[body].layers[m.scale].outputs[0];
  if (m.fn != Fn::add) {
    const TensorId factor = weight_factor(net, m, heavy, body);
    heavy.inputs[1] = net.pointwise(m.fn, {heavy.inputs[1], factor}, net.type(heavy.inputs[1], body).dtype, heavy.origins, body);
  }
  if (m.has_bias) {
    const DType wide = compute_type(net.type(heavy.inputs[2], body).dtype);
    heavy.inputs[2] = net.pointwise(m.fn, {heavy.inputs[2], m.factor}, wide, heavy.origins, body);
  }
  std::visit(
      [&](auto& op) {
        if constexpr (requires {
                        op.epilogue;
                        op.type;
                      })
          op.type = net.type(old, body).dtype;
      },
      heavy.op);
  net.replace(old, net.add1(heavy.op, heavy.inputs, heavy.origins, body), body);
  net.erase(m.scale, body);
  net.erase(m.heavy, body);
}

/// One rewrite, or false. Tensors added by earlier rewrites need their own look at what is constant.
bool fold_one(Network& net, int body) {
  const std::vector<bool> constant = constant_tensors(net.bodies[body]);
  for (LayerId id : live(net, body)) {
    const Layer& layer = net.bodies[body].layers[id];
    if (constant[layer.outputs[0]] || net.uses(layer.outputs[0], body) == 0) continue;
    if (const auto m = find(net, id, constant, body)) {
      fold_into_conv(net, *m, body);
      return true;
    }
  }
  return false;
}

}  // namespace

bool fold_scale(Network& net, const PassContext&) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    while (fold_one(net, body)) changed = true;
  }
  return changed;
}

}  // namespace tuyere
