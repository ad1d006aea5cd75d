// SPDX-License-Identifier: Apache-2.0
// Memory orders: channels-last around convolutions. One sweep in topological order gives every compute output its layout:
//   conv                                       channels-last, from an input in that order; its weight's gradient from two such
//   pool, resize, group norm, softmax, pad ... the order of their input
//   pointwise, concat                          the order of their largest input, channels-last first
//   attention before a permute                 the order that makes the permute row-major
// A pointwise layer that only convolutions read writes channels-last itself; any other input of a convolution or pooling in the wrong order gets
// one copy, which all its readers share. Views get the order their memory has, so that copies placement makes of them have it too.
// On CUDA targets weights get a copy in channels-last order, which is evaluated in the weight program when they are constant, and their gradients are written
// in that order: libraries have fast kernels for three tensors in one order. The layouts of inputs and outputs of a body are promises to the caller and stay:
// outputs are copied back, unless their kernel writes any order. See tests/unit/passes/layout.cpp
#include <algorithm>
#include <map>
#include <numeric>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

class LayoutPass {
 public:
  LayoutPass(Network& net, int body, bool cuda) : net_(net), body_(body), cuda_(cuda) {}

  bool run() {
    net_.sort(body_);
    lines_ = has_convolved_lines();
    const std::vector<TensorId> outputs = net_.bodies[body_].outputs;
    std::vector<Layout> promised;
    for (TensorId id : outputs) promised.push_back(net_.type(id, body_).layout);
    for (TensorId id : outputs) start_row_major(id);
    constant_ = constant_tensors(net_.bodies[body_]);
    for (LayerId id : live(net_, body_)) visit(id);
    keep_promises(outputs, promised);
    return changed_;
  }

 private:
  const Layer& layer(LayerId id) const { return net_.bodies[body_].layers[id]; }
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }
  int rank(TensorId id) const { return static_cast<int>(shape(id).size()); }
  bool is_constant(TensorId id) const { return id < static_cast<TensorId>(constant_.size()) && constant_[id]; }

  /// Images have two or three spatial dims. With one they look like rows of a model that has no images, so it must have convolutions over them, too.
  bool is_image_rank(int r) const { return r == 4 || r == 5 || (r == 3 && lines_); }
  bool has_convolved_lines() const {
    const std::vector<Layer>& layers = net_.bodies[body_].layers;
    return std::any_of(layers.begin(), layers.end(), [&](const Layer& l) {
      const auto* conv = std::get_if<Conv>(&l.op);
      return conv && !l.dead && rank(l.outputs[0]) == 3;
    });
  }

  /// The tensor is an image, and its memory is channels-last.
  bool is_channels_last(TensorId id) const {
    const int r = rank(id);
    return is_image_rank(r) && same_order(shape(id), memory_order(net_, id, body_), Layout::channels_last(r).order);
  }

  std::vector<int> row_major(TensorId id) const {
    std::vector<int> order(shape(id).size());
    std::iota(order.begin(), order.end(), 0);
    return order;
  }

  void set_layout(TensorId id, const Layout& layout) {
    Layout& now = net_.bodies[body_].tensors[id].type.layout;
    if (now == layout) return;
    now = layout;
    changed_ = true;
  }

  /// A promise to the caller is not what the kernel writes: only pointwise layers and views take any order.
  void start_row_major(TensorId id) {
    const Layer* producer = net_.producer(id, body_);
    if (producer && !is_any_of<Pointwise>(producer->op) && group(producer->op) != OpGroup::view) set_layout(id, {});
  }

  void visit(LayerId id) {
    const Layer& here = layer(id);
    if (here.outputs.empty() || here.inputs.empty() || is_constant(here.outputs[0])) return;
    if (group(here.op) == OpGroup::view) return note_view(here.outputs[0]);
    if (const auto* conv = std::get_if<Conv>(&here.op)) return visit_conv(id, conv->transposed);
    if (std::holds_alternative<ConvWeightGradient>(here.op)) return visit_weight_gradient(id);
    if (is_any_of<Pool, AdaptivePool, PoolGradient, Resize>(here.op)) return follow_image(id);
    if (is_any_of<Softmax, Pad, Flip>(here.op)) return follow(here, is_channels_last(here.inputs[0]));
    if (const auto* norm = std::get_if<Norm>(&here.op)) return follow(here, norm->kind == NormKind::group && is_channels_last(here.inputs[0]));
    if (is_any_of<Pointwise, Concat>(here.op)) return follow(here, most_are_channels_last(here));
    if (std::holds_alternative<Attention>(here.op)) return before_permute(here.outputs[0]);
  }

  /// A view of channels-last memory says so.
  void note_view(TensorId out) {
    if (is_channels_last(out) && net_.type(out, body_).layout.is_row_major()) set_layout(out, Layout::channels_last(rank(out)));
  }

  void visit_conv(LayerId id, bool transposed) {
    if (!is_image_rank(rank(layer(id).outputs[0]))) return;
    // On the CPU a transposed convolution packs its weight for either order; one with a weight that changes is the gradient of another, which is channels-last.
    if (!cuda_ && transposed && is_constant(layer(id).inputs[1]) && !is_channels_last(layer(id).inputs[0])) return follow_image(id);
    want_channels_last(id, 0);
    if (cuda_) order_weight(id);
    follow(layer(id), true);
  }

  /// Images in equal orders: channels-last, as the convolution's own.
  void visit_weight_gradient(LayerId id) {
    if (!is_image_rank(rank(layer(id).inputs[0]))) return;
    for (int slot = 0; slot < 2; ++slot) want_channels_last(id, slot);
    if (cuda_) follow(layer(id), true);
  }

  void follow(const Layer& here, bool channels_last) {
    for (TensorId out : here.outputs)
      if (channels_last && is_image_rank(rank(out))) set_layout(out, Layout::channels_last(rank(out)));
  }

  /// Kernels want the input dense in the order of the output.
  void follow_image(LayerId id) {
    const TensorId x = layer(id).inputs[0];
    if (is_channels_last(x)) return follow(layer(id), true);
    if (!same_order(shape(x), memory_order(net_, x, body_), row_major(x))) net_.set_input(id, 0, copy(x, {}), body_);
  }

  /// An input of the size of the output (of any size for concat) is channels-last.
  bool most_are_channels_last(const Layer& here) const {
    const bool concat = std::holds_alternative<Concat>(here.op);
    return std::any_of(here.inputs.begin(), here.inputs.end(), [&](TensorId in) {
      return !is_constant(in) && (concat || shape(in) == shape(here.outputs[0])) && is_channels_last(in) && is_ordered(in);
    });
  }

  /// Whether channels-last is more than row-major by another name (one channel, or one pixel).
  bool is_ordered(TensorId id) const {
    return !same_order(shape(id), row_major(id), Layout::channels_last(rank(id)).order) || !net_.type(id, body_).layout.is_row_major();
  }

  void want_channels_last(LayerId id, int slot) {
    const TensorId x = layer(id).inputs[slot];
    const Layout wanted = Layout::channels_last(rank(x));
    if (is_channels_last(x)) return;
    const TensorId to = written_by_pointwise(x) ? x : copy(x, wanted);
    set_layout(to, wanted);
    net_.set_input(id, slot, to, body_);
  }

  /// Only convolutions read the result of a layer that writes any order.
  bool written_by_pointwise(TensorId id) const {
    const Layer* producer = net_.producer(id, body_);
    if (!producer || producer->outputs.size() != 1 || !is_any_of<Pointwise, Pad>(producer->op)) return false;
    const std::vector<LayerId> readers = net_.consumers(id, body_);
    const auto& outputs = net_.bodies[body_].outputs;
    return std::find(outputs.begin(), outputs.end(), id) == outputs.end() && !net_.tensor(id, body_).observed &&
           std::all_of(readers.begin(), readers.end(), [&](LayerId reader) {
             const auto* conv = std::get_if<Conv>(&layer(reader).op);
             return conv && (cuda_ || !conv->transposed) && layer(reader).inputs[0] == id;
           });
  }

  void order_weight(LayerId id) {
    const TensorId w = layer(id).inputs[1];
    const Layout wanted = Layout::channels_last(rank(w));
    if (same_order(shape(w), memory_order(net_, w, body_), wanted.order)) return;
    net_.set_input(id, 1, copy(w, wanted), body_);
  }

  TensorId copy(TensorId from, const Layout& layout) {
    const auto key = std::make_pair(from, str(layout));
    if (auto it = copies_.find(key); it != copies_.end()) return it->second;
    const Layer* producer = net_.producer(from, body_);
    const TensorId to = identity(net_, from, producer ? producer->origins : Origins{}, body_);
    net_.bodies[body_].tensors[to].type.layout = layout;
    changed_ = true;
    return copies_[key] = to;
  }

  /// A permute after attention, usually before a reshape that joins the heads, is row-major when the attention writes in that order.
  void before_permute(TensorId out) {
    const LayerId reader = sole_consumer(net_, out, body_);
    const auto* permute = reader == kNone ? nullptr : std::get_if<Permute>(&layer(reader).op);
    if (permute && permute->perm.back() == 3) set_layout(out, Layout{{permute->perm.begin(), permute->perm.end()}, 1, 1});
  }

  /// On a GPU a group norm turns images while it writes them; on the CPU the gradient of a weight leaves the library's own form for any other.
  bool writes_any_order(const Op& op) const {
    if (!cuda_) return std::holds_alternative<ConvWeightGradient>(op);
    const auto* norm = std::get_if<Norm>(&op);
    return norm && norm->kind == NormKind::group;
  }

  void keep_promises(const std::vector<TensorId>& outputs, const std::vector<Layout>& promised) {
    for (size_t k = 0; k < outputs.size(); ++k) {
      const TensorId now = outputs[k];
      if (net_.type(now, body_).layout == promised[k] || net_.producer(now, body_) == nullptr) continue;
      TensorId& slot = net_.bodies[body_].outputs[k];
      const Layer* producer = net_.producer(now, body_);
      const bool alone = net_.uses(now, body_) == 1 && producer->outputs.size() == 1;
      if (alone && (is_any_of<Pointwise, Softmax>(producer->op) || writes_any_order(producer->op) || group(producer->op) == OpGroup::view)) {
        set_layout(now, promised[k]);
        continue;
      }
      const TensorId back = copy(now, promised[k]);
      slot = back;
      const bool again = std::find(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(k), now) != outputs.begin() + static_cast<std::ptrdiff_t>(k);
      auto& tensors = net_.bodies[body_].tensors;
      if (!again && !tensors[now].observed) std::swap(tensors[now].name, tensors[back].name);  // people look for outputs by name
    }
  }

  Network& net_;
  int body_;
  bool cuda_;
  bool lines_ = false;  // whether tensors of three dims may be images
  bool changed_ = false;
  std::vector<bool> constant_;
  std::map<std::pair<TensorId, std::string>, TensorId> copies_;
};

}  // namespace

bool layout(Network& net, const PassContext& context) {
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= LayoutPass(net, body, context.target.is_cuda()).run();
  return changed;
}

}  // namespace tuyere
