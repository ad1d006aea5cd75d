// SPDX-License-Identifier: Apache-2.0
// conv(pad(x, 0), w) => conv(x, w)       with that padding, as models have it that were trained elsewhere: more on one side, or on both
// avg_pool(pad(x, 0)) => avg_pool(x)     max_pool(pad(x, -inf)) => max_pool(x)     the same on both sides, at most half of the window
// Zeros, and minus infinities, are around the image only; a cast between both is applied to the image. See tests/unit/passes/fold_pads.cpp
#include <algorithm>
#include <limits>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// Constant padding of the trailing dims of `x`, which are more than `leading`; nothing is cropped.
struct Border {
  TensorId x;
  std::vector<int64_t> before, after;
  double value;
};

std::optional<Border> border_of(const Network& net, TensorId padded, size_t leading, int body) {
  const auto* pad = made_by<Pad>(net, padded, body);
  if (!pad || pad->mode != PadMode::constant || net.tensor(padded, body).observed) return std::nullopt;
  const auto none = [](int64_t n) { return n == 0; };
  const auto crops = [](int64_t n) { return n < 0; };
  for (const auto* side : {&pad->before, &pad->after}) {
    const auto image = side->begin() + static_cast<std::ptrdiff_t>(leading);
    if (!std::all_of(side->begin(), image, none) || std::any_of(image, side->end(), crops)) return std::nullopt;
  }
  const auto trailing = [&](const std::vector<int64_t>& side) { return std::vector(side.begin() + static_cast<std::ptrdiff_t>(leading), side.end()); };
  return Border{net.producer(padded, body)->inputs[0], trailing(pad->before), trailing(pad->after), pad->value};
}

/// Of the first input of a layer, whose image begins after `leading` dims.
std::optional<Border> border_before(const Network& net, const Layer& layer, size_t leading, int body) {
  const TensorId image = layer.inputs[0], wide = net.tensor(image, body).observed ? kNone : source_of_cast(net, image, body);
  return border_of(net, wide == kNone ? image : wide, leading, body);
}

bool take(Conv& conv, const Border& border) {
  if (conv.transposed || border.value != 0) return false;
  for (size_t d = 0; d < border.before.size(); ++d) conv.pad_before[d] += border.before[d], conv.pad_after[d] += border.after[d];
  return true;
}

bool take(Pool& pool, const Border& border) {
  const bool unpadded = std::all_of(pool.pad.begin(), pool.pad.end(), [](int64_t p) { return p == 0; });
  const bool fits = pool.kind == PoolKind::max ? border.value == -std::numeric_limits<double>::infinity() && !pool.with_indices
                                               : border.value == 0 && (pool.count_include_pad || unpadded);
  if (!fits || pool.ceil_mode || border.before != border.after) return false;
  for (size_t d = 0; d < pool.pad.size(); ++d)
    if (2 * (pool.pad[d] + border.before[d]) > pool.kernel[d]) return false;
  for (size_t d = 0; d < pool.pad.size(); ++d) pool.pad[d] += border.before[d];
  pool.count_include_pad = true;
  return true;
}

template <class S>
bool fold(Network& net, LayerId id, size_t leading, int body) {
  const Layer layer = net.bodies[body].layers[id];  // by value: adding layers moves the vector
  S op = std::get<S>(layer.op);
  const auto border = border_before(net, layer, leading, body);
  if (!border || !take(op, *border)) return false;
  TensorId image = border->x;
  if (net.type(image, body).dtype != net.type(layer.inputs[0], body).dtype) image = net.cast(image, net.type(layer.inputs[0], body).dtype, layer.origins, body);
  net.bodies[body].layers[id].op = std::move(op);
  net.set_input(id, 0, image, body);
  return true;
}

}  // namespace

bool fold_pads(Network& net, const PassContext&) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    bool here = false;
    for (LayerId id : live(net, body)) {
      const Op& op = net.bodies[body].layers[id].op;
      const auto* pool = std::get_if<Pool>(&op);
      if (std::holds_alternative<Conv>(op))
        here |= fold<Conv>(net, id, 2, body);
      else if (pool)
        here |= fold<Pool>(net, id, net.type(net.bodies[body].layers[id].inputs[0], body).shape.size() - pool->kernel.size(), body);
    }
    if (here) net.sort(body);
    changed |= here;
  }
  return changed;
}

}  // namespace tuyere
