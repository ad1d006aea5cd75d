// SPDX-License-Identifier: Apache-2.0
// conv(x, w, b), matmul(x, w, b) => conv(x, w, cast(b))     b: a constant f32 vector in the epilogue of a result of 16 bits
// Libraries have their fastest kernels for biases of the result's type, while folded normalizations and scales are computed in f32. The rounding is that of the
// result before the bias, which PyTorch stores in this type; the weight program does it.
// See tests/unit/passes/short_biases.cpp
#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// Whether libraries know the epilogue, over a result whose biases vary along `channel`; what only own kernels finish keeps its constants as they are.
bool has_simple_epilogue(const Network& net, const Layer& layer, const Program& epilogue, const Shape& out, int channel, int body) {
  std::vector<bool> is_bias{false};
  for (size_t slot = 2; slot < layer.inputs.size(); ++slot)
    is_bias.push_back(is_vector_along(net.type(layer.inputs[slot], body).shape, static_cast<int>(out.size()), channel));
  return match_simple_epilogue(epilogue, is_bias).has_value();
}

/// The dimension of the result that a bias varies along; -1: no layer with biases, or none with a result of 16 bits.
int bias_dim(const Network& net, const Layer& layer, int body) {
  const auto* conv = std::get_if<Conv>(&layer.op);
  if ((!conv && !std::holds_alternative<MatMul>(layer.op)) || layer.outputs.size() != 1) return -1;
  const TensorType& out = net.type(layer.outputs[0], body);
  if ((out.dtype != DType::F16 && out.dtype != DType::BF16) || net.type(layer.inputs[0], body).dtype != out.dtype) return -1;
  const int channel = conv ? 1 : static_cast<int>(out.shape.size()) - 1;
  const Program& epilogue = conv ? conv->epilogue : std::get<MatMul>(layer.op).epilogue;
  return has_simple_epilogue(net, layer, epilogue, out.shape, channel, body) ? channel : -1;
}

}  // namespace

bool short_biases(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    for (LayerId id : live(net, body)) {
      const Layer layer = net.bodies[body].layers[id];  // by value: adding layers moves the vector
      const int dim = bias_dim(net, layer, body);
      if (dim < 0) continue;
      const TensorType out = net.type(layer.outputs[0], body);
      for (size_t slot = 2; slot < layer.inputs.size(); ++slot) {
        const TensorId in = layer.inputs[slot];
        if (!constant[in] || !is_vector_along(net.type(in, body).shape, static_cast<int>(out.shape.size()), dim) || net.type(in, body).dtype != DType::F32)
          continue;
        net.set_input(id, static_cast<int>(slot), net.cast(in, out.dtype, layer.origins, body), body);
        changed = true;
      }
    }
    if (changed) net.sort(body);
  }
  return changed;
}

}  // namespace tuyere
