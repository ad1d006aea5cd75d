// SPDX-License-Identifier: Apache-2.0
// Channels in blocks, on the CPU: an image x[N,C,H,W] that convolutions pass on becomes x'[N,C/b,H,W,b], dense, b = context.channel_block.
//   conv(x, w)  =>  conv(x', w')   w'[O/b,C,h,w,b] a view of w; an image of fewer than b channels stays as it is
//   pool, resize: over a view of x' as N*C/b images of b channels · concat, mean over pixels, pointwise: as they are, with one more dim
// Libraries then add up b channels at a time and not all of them in one chain, which is up to four times as exact, and read whole vectors of channels
// that lie side by side. Channel counts that are no multiples of b (or of a grouped convolution's groups) are filled up: weights get zeros, and the
// values of the channels that nobody asked for are anything but infinite. Images that must be blocked together form a group; a group is converted when
// its convolutions move much more memory than the copies at its border. Runs after `layout`. See tests/unit/passes/block_channels.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "core/passes/passes.h"
#include "core/passes/util.h"
#include "kernels/api/conv_blocks.h"

namespace tuyere {
namespace {

constexpr double kWorthIt = 4;       // bytes that the group's convolutions move for a byte copied at the border
constexpr double kMostFilled = 1.5;  // channels after filling up, for one before; images of one pixel may take more

/// Whether finite inputs always give finite results (but for overflow).
bool keeps_finite(const Program& program) {
  constexpr std::array kSafe = {Fn::add,       Fn::sub,      Fn::mul,  Fn::min,     Fn::max,   Fn::neg,      Fn::abs,       Fn::square,
                                Fn::tanh,      Fn::erf,      Fn::relu, Fn::sigmoid, Fn::silu,  Fn::gelu_erf, Fn::gelu_tanh, Fn::hardsigmoid,
                                Fn::hardswish, Fn::softplus, Fn::mish, Fn::clamp,   Fn::where, Fn::constant, Fn::cast};
  return std::all_of(program.body.begin(), program.body.end(),
                     [&](const Inst& i) { return i.fn == Fn::constant ? std::isfinite(i.value) : std::find(kSafe.begin(), kSafe.end(), i.fn) != kSafe.end(); });
}

class Blocker {
 public:
  Blocker(Network& net, int body, const PassContext& context) : net_(net), body_(body), block_(context.channel_block), hints_(context.hints) {}

  bool run() {
    net_.sort(body_);
    constant_ = constant_tensors(net_.bodies[body_]);
    group_.resize(net_.bodies[body_].tensors.size());
    std::iota(group_.begin(), group_.end(), 0);
    const std::vector<LayerId> layers = live(net_, body_);
    for (LayerId id : layers) find_group_widths(layer(id));
    for (LayerId id : layers) tie(id);
    weigh(layers);
    for (LayerId id : layers)
      if (converts(id)) convert(id);
    for (const auto& [from, to] : reduced_) net_.replace(from, to, body_);
    leave();
    return changed_;
  }

 private:
  const Layer& layer(LayerId id) const { return net_.bodies[body_].layers[id]; }
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }
  int rank(TensorId id) const { return static_cast<int>(shape(id).size()); }
  TensorId add(Op op, TensorId input, const Origins& origins) { return net_.add1(std::move(op), {input}, origins, body_); }

  // -- how many channels there are after filling up: the same for all images of as many channels

  static bool is_depthwise(const Conv& op, int64_t channels, int64_t rows) { return op.groups == channels && op.groups == rows; }

  /// Images around a grouped convolution hold whole groups.
  void find_group_widths(const Layer& here) {
    const auto* conv = std::get_if<Conv>(&here.op);
    if (!conv || conv->groups == 1 || conv->transposed) return;
    for (TensorId id : {here.inputs[0], here.outputs[0]}) {
      if (rank(id) < 3 || !shape(id)[1].is_const()) return;
    }
    const int64_t channels = shape(here.inputs[0])[1].value(), rows = shape(here.outputs[0])[1].value();
    if (channels <= 0 || rows <= 0 || is_depthwise(*conv, channels, rows)) return;
    for (int64_t count : {channels, rows}) {
      const auto [step, fresh] = step_.try_emplace(count, block_);
      step->second = std::min(std::lcm(step->second, count / conv->groups), count * 2);  // beyond that, no longer worth it
    }
  }

  int64_t filled(int64_t channels) const {
    const auto found = step_.find(channels);
    const int64_t step = found == step_.end() ? block_ : found->second;
    return (channels + step - 1) / step * step;
  }
  /// Channels of an image after filling up.
  int64_t channels_of(TensorId id) const { return filled(shape(id)[1].value()); }
  bool is_filled(TensorId id) const { return channels_of(id) != shape(id)[1].value(); }

  bool is_one_pixel(TensorId id) const {
    const Shape& s = shape(id);
    return std::all_of(s.begin() + 2, s.end(), [](const Dim& size) { return size.is_const(1); });
  }

  // -- which tensors a layer wants blocked

  bool is_image(TensorId id) const {
    const int r = rank(id);
    if ((r != 4 && r != 5) || id >= static_cast<TensorId>(constant_.size()) || constant_[id] || net_.tensor(id, body_).observed) return false;
    const Shape& s = shape(id);
    if (!s[1].is_const() || s[1].value() <= 0 || filled(s[1].value()) % block_ != 0) return false;
    if (static_cast<double>(channels_of(id)) > kMostFilled * static_cast<double>(s[1].value()) && !is_one_pixel(id)) return false;
    return same_order(s, memory_order(net_, id, body_), Layout::channels_last(r).order);
  }

  /// `id`, broadcast against an image, varies along neither channels nor pixels, or along one of the two.
  bool is_simple_operand(TensorId id, int image_rank) const {
    const int lead = image_rank - rank(id);
    const auto varies = [&](int dim) { return dim >= lead && !shape(id)[dim - lead].is_const(1); };
    if (lead < 0 || !varies(1)) return lead >= 0;
    if (!shape(id)[1 - lead].is_const()) return false;
    for (int d = 2; d < image_rank; ++d)
      if (varies(d)) return false;
    return true;
  }

  /// Operands of a pointwise program are images or simple ones; the images go to `tied`.
  bool take_operands(const Layer& here, size_t first, TensorId out, std::vector<TensorId>& tied) const {
    for (size_t k = first; k < here.inputs.size(); ++k) {
      const TensorId in = here.inputs[k];
      if (shape(in) == shape(out) && is_image(in))
        tied.push_back(in);
      else if (!is_simple_operand(in, rank(out)))
        return false;
    }
    return true;
  }

  bool takes_conv(const Layer& here, const Conv& op, std::vector<TensorId>& tied) const {
    const TensorId x = here.inputs[0], w = here.inputs[1], out = here.outputs[0];
    if (op.transposed || !constant_[w] || net_.type(x, body_).dtype != DType::F32 || !is_image(out) || rank(w) != rank(out)) return false;
    const int64_t channels = shape(x)[1].is_const() ? shape(x)[1].value() : 0;
    const bool narrow = op.groups == 1 && channels > 0 && channels < block_ && !constant_[x] && !is_image(x);
    if (!narrow && !is_image(x)) return false;
    if (op.groups > 1 && groups_of(op, x, out) == 0) return false;
    if (is_filled(out) && !keeps_finite(op.epilogue)) return false;
    if (!narrow) tied.push_back(x);
    return take_operands(here, 2, out, tied);
  }

  /// Groups of a convolution from image to image after filling up; 0: they do not come out even.
  int64_t groups_of(const Conv& op, TensorId x, TensorId out) const {
    const int64_t channels = shape(x)[1].value(), rows = shape(out)[1].value();
    if (op.groups == 1) return 1;
    const int64_t in_group = channels / op.groups, out_group = rows / op.groups, groups = channels_of(x) / in_group;
    return groups * in_group == channels_of(x) && groups * out_group == channels_of(out) ? groups : 0;
  }

  bool takes_reduce(const Layer& here, const Reduce& op) const {
    const bool pixels = std::all_of(op.axes.begin(), op.axes.end(), [](int64_t axis) { return axis >= 2; });
    if (here.inputs.size() != 1 || !is_image(here.inputs[0]) || !pixels || static_cast<int>(op.axes.size()) != rank(here.inputs[0]) - 2) return false;
    return !is_filled(here.inputs[0]) || (keeps_finite(op.prologue) && keeps_finite(op.epilogue));
  }

  /// The images that are blocked when the layer's are; empty when the layer cannot work on blocks.
  std::vector<TensorId> images(const Layer& here) const {
    if (here.inputs.empty() || here.outputs.empty() || constant_[here.outputs[0]]) return {};
    if (const auto* reduce = std::get_if<Reduce>(&here.op)) return takes_reduce(here, *reduce) ? here.inputs : std::vector<TensorId>{};
    std::vector<TensorId> tied = here.outputs;
    bool takes = false;
    if (const auto* conv = std::get_if<Conv>(&here.op)) {
      takes = takes_conv(here, *conv, tied);
    } else if (is_any_of<Pool, AdaptivePool, Resize>(here.op)) {
      takes = here.inputs.size() == 1 && here.outputs.size() == 1 && rank(here.inputs[0]) == rank(here.outputs[0]);
      tied.push_back(here.inputs[0]);
    } else if (std::holds_alternative<Pointwise>(here.op)) {
      const TensorId out = here.outputs[0];
      takes = rank(out) >= 4 && take_operands(here, 0, out, tied) && tied.size() > here.outputs.size() && is_image(out) &&
              (!is_filled(out) || keeps_finite(std::get<Pointwise>(here.op).program));
    } else if (const auto* concat = std::get_if<Concat>(&here.op)) {
      takes = concat->axis == 1;
      tied.insert(tied.end(), here.inputs.begin(), here.inputs.end());
      takes &= std::none_of(tied.begin(), tied.end(), [&](TensorId id) { return is_image(id) && is_filled(id); });
    }
    takes &= std::all_of(tied.begin(), tied.end(), [&](TensorId id) { return is_image(id); });
    return takes ? tied : std::vector<TensorId>{};
  }

  // -- groups

  TensorId root(TensorId id) const {
    while (group_[id] != id) id = group_[id];
    return id;
  }

  void tie(LayerId id) {
    const std::vector<TensorId> tied = images(layer(id));
    if (tied.empty()) return;
    head_[id] = tied[0];
    for (TensorId t : tied) group_[root(t)] = root(tied[0]);
  }

  /// Bytes at the hint sizes; a symbol without a hint counts as 1.
  double bytes(TensorId id) const {
    double count = static_cast<double>(bits(net_.type(id, body_).dtype)) / 8;
    for (const Dim& dim : shape(id)) {
      int64_t value = 1;
      if (dim.try_eval(hints_, &value)) count *= static_cast<double>(value);
    }
    return count;
  }

  struct Balance {
    double gain = 0, border = 0;
  };

  /// Sums what the convolutions of every group move, and what would be copied where the group meets other layers.
  void weigh(const std::vector<LayerId>& layers) {
    const auto at_border = [&](const std::vector<TensorId>& tensors) {
      for (TensorId id : tensors)
        if (is_image(id)) balance_[root(id)].border += bytes(id);
    };
    for (LayerId id : layers) {
      const Layer& here = layer(id);
      const auto* conv = std::get_if<Conv>(&here.op);
      if (head_.count(id) == 0) {
        at_border(here.inputs);
        at_border(here.outputs);
      } else if (conv && conv->groups == 1) {
        balance_[root(here.outputs[0])].gain += (is_image(here.inputs[0]) ? bytes(here.inputs[0]) : 0) + bytes(here.outputs[0]);
      }
    }
    at_border(net_.bodies[body_].inputs);
    at_border(net_.bodies[body_].outputs);
  }

  bool is_chosen(TensorId image) const {
    const auto found = balance_.find(root(image));
    return found != balance_.end() && found->second.gain > 0 && found->second.gain >= kWorthIt * found->second.border;
  }
  bool converts(LayerId id) const {
    const auto found = head_.find(id);
    return found != head_.end() && is_chosen(found->second);
  }

  // -- shapes

  /// [N, C, spatial...] -> [N, C/b, b, spatial...], of an image
  Shape split(TensorId image) const {
    const Shape& s = shape(image);
    Shape result{s[0], Dim(channels_of(image) / block_), Dim(block_)};
    result.insert(result.end(), s.begin() + 2, s.end());
    return result;
  }
  /// [N, C/b, b, spatial...] -> [N, C/b, spatial..., b]
  static std::vector<int64_t> inward(int image_rank) {
    std::vector<int64_t> perm{0, 1};
    for (int d = 3; d <= image_rank; ++d) perm.push_back(d);
    perm.push_back(2);
    return perm;
  }
  /// [N, C/b, spatial..., b] -> [N, C/b, b, spatial...]
  static std::vector<int64_t> outward(int image_rank) {
    std::vector<int64_t> perm{0, 1, image_rank};
    for (int d = 2; d < image_rank; ++d) perm.push_back(d);
    return perm;
  }

  /// Zeros behind the dims given, up to the sizes given.
  TensorId fill(TensorId id, const std::map<size_t, int64_t>& sizes, const Origins& origins) {
    Pad pad{std::vector<int64_t>(shape(id).size(), 0), std::vector<int64_t>(shape(id).size(), 0)};
    bool any = false;
    for (const auto& [d, size] : sizes) any |= (pad.after[d] = size - shape(id)[d].value()) != 0;
    return any ? add(std::move(pad), id, origins) : id;
  }

  /// The blocked form of an image; one that other layers make is copied.
  TensorId blocked(TensorId id) {
    if (const auto it = blocked_.find(id); it != blocked_.end()) return it->second;
    const Origins origins = net_.producer(id, body_) ? net_.producer(id, body_)->origins : Origins{};
    const TensorId view = add(Permute{inward(rank(id))}, add(Reshape{split(id)}, fill(id, {{1, channels_of(id)}}, origins), origins), origins);
    const TensorId copy = identity(net_, view, origins, body_);
    net_.bodies[body_].tensors[copy].type.layout = {};
    return blocked_[id] = copy;
  }

  /// An operand that varies along channels or pixels only, for blocked images.
  TensorId simple(TensorId id, int image_rank, const Origins& origins) {
    const auto lead = static_cast<size_t>(image_rank - rank(id));
    Shape s(lead, Dim(1));
    s.insert(s.end(), shape(id).begin(), shape(id).end());
    const bool channels = !s[1].is_const(1);
    TensorId from = id;
    if (channels) {
      const int64_t count = filled(s[1].value());
      from = fill(id, {{1 - lead, count}}, origins);
      s[1] = Dim(count / block_);
    }
    s.push_back(channels ? Dim(block_) : Dim(1));
    return add(Reshape{s}, from, origins);
  }

  TensorId operand(TensorId id, TensorId image, const Origins& origins) {
    if (const auto it = blocked_.find(id); it != blocked_.end() && rank(id) == rank(image)) return it->second;
    return shape(id) == shape(image) && is_image(id) ? blocked(id) : simple(id, rank(image), origins);
  }

  /// [O, C, kernel...] -> [O/b, C, kernel..., b], a view of the weight, filled up with `rows` and `columns`.
  TensorId weight(TensorId plain, int64_t rows_wanted, int64_t columns, const Origins& origins) {
    const TensorId w = fill(plain, {{0, rows_wanted}, {1, columns}}, origins);
    const Shape& s = shape(w);
    Shape rows{Dim(s[0].value() / block_), Dim(block_)};
    rows.insert(rows.end(), s.begin() + 1, s.end());
    std::vector<int64_t> perm{0};
    for (int d = 2; d <= rank(w); ++d) perm.push_back(d);
    perm.push_back(1);
    const TensorId view = add(Permute{perm}, add(Reshape{rows}, w, origins), origins);
    net_.bodies[body_].tensors[view].type.layout.order = memory_order(net_, view, body_);
    return view;
  }

  // -- rewriting

  void convert(LayerId id) {
    const Layer here = layer(id);  // a copy: adding layers moves them
    changed_ = true;
    if (std::holds_alternative<Conv>(here.op)) return convert_conv(here);
    if (std::holds_alternative<Pointwise>(here.op)) return convert_pointwise(here);
    if (std::holds_alternative<Concat>(here.op)) return convert_concat(here);
    if (std::holds_alternative<Reduce>(here.op)) return convert_reduce(here);
    convert_per_channel(here);
  }

  void made(TensorId image, TensorId blocked) {
    blocked_[image] = blocked;
    images_.push_back(image);
  }

  /// The source of an image that the layout pass copied to channels-last: narrow images are read in any order.
  TensorId uncopied(TensorId id) const {
    const auto* copy = made_by<Pointwise>(net_, id, body_);
    const Layer* producer = net_.producer(id, body_);
    return copy && copy->program.is_identity() && producer->inputs.size() == 1 && net_.type(producer->inputs[0], body_).dtype == net_.type(id, body_).dtype
               ? producer->inputs[0]
               : id;
  }

  void convert_conv(const Layer& here) {
    const TensorId x = here.inputs[0], out = here.outputs[0];
    Conv op = std::get<Conv>(here.op);
    const int64_t columns = is_image(x) && op.groups == 1 ? channels_of(x) : shape(here.inputs[1])[1].value();
    std::vector<TensorId> inputs{is_image(x) ? blocked(x) : uncopied(x), weight(here.inputs[1], channels_of(out), columns, here.origins)};
    for (size_t k = 2; k < here.inputs.size(); ++k) inputs.push_back(operand(here.inputs[k], out, here.origins));
    if (op.groups > 1) op.groups = groups_of(op, x, out);
    made(out, net_.add1(std::move(op), inputs, here.origins, body_));
  }

  void convert_pointwise(const Layer& here) {
    std::vector<TensorId> inputs;
    for (TensorId in : here.inputs) inputs.push_back(operand(in, here.outputs[0], here.origins));
    const std::vector<TensorId> outputs = net_.add(here.op, inputs, here.origins, body_);
    for (size_t k = 0; k < outputs.size(); ++k) made(here.outputs[k], outputs[k]);
  }

  void convert_concat(const Layer& here) {
    std::vector<TensorId> inputs;
    for (TensorId in : here.inputs) inputs.push_back(blocked(in));
    made(here.outputs[0], net_.add1(here.op, inputs, here.origins, body_));
  }

  void convert_reduce(const Layer& here) {
    const TensorId x = here.inputs[0], out = here.outputs[0];
    const TensorId reduced = net_.add1(here.op, {blocked(x)}, here.origins, body_);
    if (rank(out) == rank(x) && is_image(out) && channels_of(out) == channels_of(x)) blocked_[out] = reduced;
    Shape plain = shape(out);
    plain[1] = Dim(channels_of(x));
    reduced_.emplace_back(out, first_channels(add(Reshape{plain}, reduced, here.origins), shape(out)[1], here.origins));
  }

  TensorId first_channels(TensorId id, const Dim& count, const Origins& origins) {
    return shape(id)[1] == count ? id : add(Slice{1, Dim(0), count, 1}, id, origins);
  }

  /// Layers that treat channels alike see N*C/b channels-last images of b channels.
  void convert_per_channel(const Layer& here) {
    const TensorId x = here.inputs[0], out = here.outputs[0];
    const int r = rank(x);
    Shape folded{shape(x)[0] * Dim(channels_of(x) / block_), Dim(block_)};
    folded.insert(folded.end(), shape(x).begin() + 2, shape(x).end());
    const TensorId in = add(Reshape{folded}, add(Permute{outward(r)}, blocked(x), here.origins), here.origins);
    net_.bodies[body_].tensors[in].type.layout = Layout::channels_last(r);
    const TensorId result = add(here.op, in, here.origins);
    net_.bodies[body_].tensors[result].type.layout = Layout::channels_last(r);
    made(out, add(Permute{inward(r)}, add(Reshape{split(out)}, result, here.origins), here.origins));
  }

  /// Layers outside the groups, and the caller, read the images in their plain form.
  void leave() {
    for (TensorId image : images_) {
      if (!read_outside(image)) continue;
      const Origins origins = net_.producer(image, body_)->origins;
      Shape whole = shape(image);
      whole[1] = Dim(channels_of(image));
      const TensorId joined_image = add(Reshape{whole}, joined(image), origins);
      net_.bodies[body_].tensors[joined_image].type.layout = net_.type(image, body_).layout;
      const TensorId plain = first_channels(joined_image, shape(image)[1], origins);
      net_.bodies[body_].tensors[plain].type.layout = net_.type(image, body_).layout;
      net_.replace(image, plain, body_);
    }
  }

  /// The blocked image with its channels side by side in memory. An image of one pixel already is.
  TensorId joined(TensorId image) {
    if (is_one_pixel(image)) return blocked_.at(image);
    const int r = rank(image);
    const Origins origins = net_.producer(image, body_)->origins;
    const TensorId parts = identity(net_, add(Permute{outward(r)}, blocked_.at(image), origins), origins, body_);
    std::vector<int> order{0};
    for (int d = 3; d <= r; ++d) order.push_back(d);
    order.insert(order.end(), {1, 2});
    net_.bodies[body_].tensors[parts].type.layout.order = order;
    return parts;
  }

  bool read_outside(TensorId image) const {
    const auto& outputs = net_.bodies[body_].outputs;
    if (std::find(outputs.begin(), outputs.end(), image) != outputs.end()) return true;
    const std::vector<LayerId> readers = net_.consumers(image, body_);
    return std::any_of(readers.begin(), readers.end(), [&](LayerId id) { return !converts(id); });
  }

  Network& net_;
  int body_;
  int64_t block_;
  const Symbols& hints_;
  std::map<int64_t, int64_t> step_;  // channels are filled up to multiples of it, where that is not the block
  std::vector<bool> constant_;
  std::vector<TensorId> group_;          // union-find over tensors
  std::map<LayerId, TensorId> head_;     // layers that work on blocks, with an image of their group
  std::map<TensorId, Balance> balance_;  // by the root of the group
  std::map<TensorId, TensorId> blocked_;
  std::vector<TensorId> images_;                        // that blocked layers make
  std::vector<std::pair<TensorId, TensorId>> reduced_;  // results that are plain in both forms: before, after
  bool changed_ = false;
};

}  // namespace

bool block_channels(Network& net, const PassContext& context) {
  if (context.target.is_cuda() || context.channel_block <= 1) return false;
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) changed |= Blocker(net, body, context).run();
  return changed;
}

}  // namespace tuyere
