// SPDX-License-Identifier: Apache-2.0
// conv(x, w) => conv(pad(x), pad(w))        zeros as further input channels; x of a few channels (an image), w constant
// Tensor cores read channels in chunks: cuDNN's kernels for first layers want four in f16 and eight in bf16, where they are three and six times as fast as its
// general ones. The padding is one kernel with the copy to channels-last that such an input mostly needs anyway; that of the weights is done at build.
// See tests/unit/passes/pad_channels.cpp
#include <algorithm>
#include <map>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// What the channels of this convolution should be padded to; 0: it is fine as it is.
int64_t wanted_channels(const Network& net, const Layer& layer, const std::vector<bool>& constant, int body) {
  const auto* conv = std::get_if<Conv>(&layer.op);
  if (!conv || conv->transposed || conv->groups != 1 || !constant[layer.inputs[1]] || constant[layer.inputs[0]]) return 0;
  const TensorType &x = net.type(layer.inputs[0], body), &w = net.type(layer.inputs[1], body);
  if (x.shape.size() != 4 || x.dtype != w.dtype || (x.dtype != DType::F16 && x.dtype != DType::BF16)) return 0;
  const Dim channels = x.shape[1], outputs = w.shape[0];
  if (!channels.is_const() || !outputs.is_const() || channels.value() > kFewChannels || outputs.value() < kManyOutputs) return 0;
  const int64_t wanted = x.dtype == DType::F16 ? 4 : 8;
  return channels.value() < wanted ? wanted : 0;
}

}  // namespace

bool pad_channels(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    std::map<TensorId, TensorId> padded;
    for (LayerId id : live(net, body)) {
      const Layer layer = net.bodies[body].layers[id];  // by value: adding layers moves the vector
      const int64_t wanted = wanted_channels(net, layer, constant, body);
      if (wanted == 0) continue;
      for (int slot = 0; slot < 2; ++slot) {
        const TensorId from = layer.inputs[slot];
        auto [it, fresh] = padded.try_emplace(from, kNone);
        const int64_t more = wanted - net.type(from, body).shape[1].value();
        if (fresh) it->second = net.add1(Pad{.before = {0, 0, 0, 0}, .after = {0, more, 0, 0}}, {from}, layer.origins, body);
        net.set_input(id, slot, it->second, body);
      }
      changed = true;
    }
    if (changed) net.sort(body);
  }
  return changed;
}

}  // namespace tuyere
