// SPDX-License-Identifier: Apache-2.0
// f(x[a:b], c...), f(x[b:d], c...) => y[0:b-a], y[b-a:d-a]   with y = f(x[a:d], c...)        several such x; c is broadcast along the sliced dimension
// Rotary embeddings of queries and keys that are one product: half the launches. Slices are compared where they end up behind reshapes and permutes, which
// the whole tensor gets instead. When the results of f are the parts of a concat, so are the joint ones, which keeps them written in place.
// Readers get windows of one tensor, so they must be kernels that take strides; rows of the innermost dimension stay whole.
// See tests/unit/passes/join_siblings.cpp
#include <algorithm>
#include <map>
#include <optional>

#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

/// A tensor as a box of what views make of a whole one.
struct Window {
  TensorId root = kNone;
  std::vector<Op> views;  // on the whole of `root`, no slices; they end in `whole`
  Shape whole, start, size;

  bool cut(size_t d) const { return !(whole[d] == size[d]); }

  bool same_views(const Window& other) const {
    const auto equal = [](const Op& a, const Op& b) { return str(a) == str(b); };
    return root == other.root && whole == other.whole && std::equal(views.begin(), views.end(), other.views.begin(), other.views.end(), equal);
  }

  /// The dim along which `next` goes on where this one ends, both being equal otherwise.
  std::optional<size_t> goes_on(const Window& next) const {
    if (!same_views(next)) return std::nullopt;
    std::optional<size_t> along;
    for (size_t d = 0; d < whole.size(); ++d) {
      if (start[d] == next.start[d] && size[d] == next.size[d]) continue;
      if (along || !(start[d] + size[d] == next.start[d])) return std::nullopt;
      along = d;
    }
    return along;
  }

  void permute(const std::vector<int64_t>& perm) {
    const Window from = *this;
    for (size_t d = 0; d < perm.size(); ++d) {
      const size_t p = static_cast<size_t>(perm[d]);
      whole[d] = from.whole[p], start[d] = from.start[p], size[d] = from.size[p];
    }
    views.push_back(Permute{perm});
  }

  bool reshape(const Shape& to);

 private:
  /// Dims [f, f_end) become `to`: a range of the outermost one must be a range of the outermost one of the result.
  bool reshape_group(size_t f, size_t f_end, const Shape& to, Window& result) const;
};

bool Window::reshape_group(size_t f, size_t f_end, const Shape& to, Window& result) const {
  size_t outer = f;
  while (outer < f_end && !cut(outer)) ++outer;
  const bool one_to_one = f_end - f == 1 && to.size() == 1;
  const auto append = [&](const Dim& all, const Dim& from, const Dim& count) {
    result.whole.push_back(all), result.start.push_back(from), result.size.push_back(count);
  };
  if (outer == f_end || one_to_one) {
    for (size_t k = 0; k < to.size(); ++k) one_to_one ? append(whole[f], start[f], size[f]) : append(to[k], 0, to[k]);
    return true;
  }
  int64_t rest = 1, inner = 1;
  for (size_t d = f; d < f_end; ++d) {
    if (!whole[d].is_const() || !start[d].is_const() || !size[d].is_const()) return false;
    if (d < outer && !whole[d].is_const(1)) return false;
    if (d > outer && cut(d)) return false;
    if (d > outer) rest *= size[d].value();
  }
  // A range of one entry (one head) may be a dim of size 1 before another; so does it look like those of more entries.
  size_t first = 0;
  while (first + 2 < to.size() && to[first].is_const(1)) ++first;
  for (size_t k = first + 1; k < to.size(); ++k) inner *= to[k].value();
  const int64_t begin = start[outer].value() * rest, all = whole[outer].value() * rest;
  if (to.empty() || begin % inner != 0 || all % inner != 0) return false;
  for (size_t k = 0; k < to.size(); ++k) k == first ? append(all / inner, begin / inner, to[k]) : append(to[k], 0, to[k]);
  return true;
}

bool Window::reshape(const Shape& to) {
  Window result{.root = root, .views = views, .whole = {}, .start = {}, .size = {}};
  size_t f = 0, t = 0;
  while (f < size.size() || t < to.size()) {
    const size_t f_begin = f, t_begin = t;
    Dim have = f < size.size() ? size[f++] : Dim(1), made = t < to.size() ? to[t++] : Dim(1);
    while (!(have == made)) {
      if (!have.is_const() || !made.is_const()) return false;
      const bool more = have.value() < made.value();
      if (more ? f == size.size() : t == to.size()) return false;
      more ? have *= size[f++] : made *= to[t++];
    }
    const Shape group(to.begin() + static_cast<std::ptrdiff_t>(t_begin), to.begin() + static_cast<std::ptrdiff_t>(t));
    if (!reshape_group(f_begin, f, group, result)) return false;
  }
  result.views.push_back(Reshape{result.whole});
  *this = std::move(result);
  return true;
}

bool is_plain_view(const Op& op) {
  const auto* slice = std::get_if<Slice>(&op);
  return slice ? slice->step == 1 : is_any_of<Reshape, Permute>(op);
}

TensorId root_of(const Network& net, TensorId id, int body) {
  for (const Layer* view = net.producer(id, body); view && is_plain_view(view->op); view = net.producer(id, body)) id = view->inputs[0];
  return id;
}

std::optional<Window> window_of(const Network& net, TensorId id, int body) {
  std::vector<const Layer*> chain;
  Window window{.root = root_of(net, id, body), .views = {}, .whole = {}, .start = {}, .size = {}};
  for (; id != window.root; id = chain.back()->inputs[0]) chain.push_back(net.producer(id, body));
  window.whole = window.size = net.type(window.root, body).shape;
  window.start.assign(window.whole.size(), 0);
  for (auto view = chain.rbegin(); view != chain.rend(); ++view) {
    if (const auto* slice = std::get_if<Slice>(&(*view)->op)) {
      window.start[slice->axis] += slice->start;
      window.size[slice->axis] = slice->end - slice->start;
    } else if (const auto* permute = std::get_if<Permute>(&(*view)->op)) {
      window.permute(permute->perm);
    } else if (!window.reshape(std::get<Reshape>((*view)->op).shape)) {
      return std::nullopt;
    }
  }
  return window;
}

class PointwiseSiblings {
 public:
  PointwiseSiblings(Network& net, LayerId a, LayerId b, int body)
      : net_(net), body_(body), a_(net.bodies[body].layers[a]), b_(net.bodies[body].layers[b]), ids_{a, b} {}

  bool match() {
    const size_t rank = shape(a_.outputs[0]).size();
    if (shape(b_.outputs[0]).size() != rank) return false;
    for (size_t k = 0; k < a_.inputs.size(); ++k) {
      if (a_.inputs[k] == b_.inputs[k]) continue;
      const auto first = window_of(net_, a_.inputs[k], body_), next = window_of(net_, b_.inputs[k], body_);
      const auto along = first && next ? first->goes_on(*next) : std::nullopt;
      if (!along || !joins_along(*along + rank - first->whole.size())) return false;
      if (!(first->size[*along] == shape(a_.outputs[0])[axis_]) || !(next->size[*along] == shape(b_.outputs[0])[axis_])) return false;
    }
    return axis_ + 1 < rank && shapes_agree() && shared_are_broadcast() && find_results() && readers_take_strides();
  }

  LayerId join() {
    std::vector<TensorId> inputs;
    for (size_t k = 0; k < a_.inputs.size(); ++k) inputs.push_back(a_.inputs[k] == b_.inputs[k] ? a_.inputs[k] : joint_input(a_.inputs[k], b_.inputs[k]));
    Origins origins = a_.origins;
    origins.insert(b_.origins.begin(), b_.origins.end());
    const Dim middle = shape(a_.outputs[0])[axis_], end = middle + shape(b_.outputs[0])[axis_];
    std::vector<TensorId> joint = net_.add(a_.op, inputs, origins, body_);
    const LayerId id = net_.tensor(joint[0], body_).producer;
    if (concats_[0] != kNone) joint = net_.add(layer(concats_[0]).op, joint, origins, body_);
    for (size_t k = 0; k < joint.size(); ++k) {
      const auto part = [&](const Dim& from, const Dim& to) {
        return net_.add1(Slice{.axis = static_cast<int64_t>(axis_), .start = from, .end = to}, {joint[k]}, origins, body_);
      };
      net_.replace(results_[0][k], part(0, middle), body_);
      net_.replace(results_[1][k], part(middle, end), body_);
    }
    for (LayerId old : concats_)
      if (old != kNone) net_.erase(old, body_);
    for (LayerId old : ids_) net_.erase(old, body_);
    return id;
  }

 private:
  const Layer& layer(LayerId id) const { return net_.bodies[body_].layers[id]; }
  const Shape& shape(TensorId id) const { return net_.type(id, body_).shape; }

  bool joins_along(size_t axis) {
    if (axis_ == kNoAxis) axis_ = axis;
    return axis_ == axis;
  }

  bool shapes_agree() const {
    Shape a = shape(a_.outputs[0]), b = shape(b_.outputs[0]);
    a[axis_] = b[axis_] = 1;
    const auto plain = [&](TensorId id) { return net_.type(id, body_).layout.is_row_major(); };
    return a == b && std::all_of(a_.outputs.begin(), a_.outputs.end(), plain) && std::all_of(b_.outputs.begin(), b_.outputs.end(), plain);
  }

  bool shared_are_broadcast() const {
    const size_t rank = shape(a_.outputs[0]).size();
    for (size_t k = 0; k < a_.inputs.size(); ++k) {
      const Shape& in = shape(a_.inputs[k]);
      const size_t lead = rank - in.size();
      if (a_.inputs[k] == b_.inputs[k] && axis_ >= lead && !in[axis_ - lead].is_const(1)) return false;
    }
    return true;
  }

  /// What readers see: the outputs of both, or the concats that are made of them and nothing else.
  bool find_results() {
    results_[0] = a_.outputs, results_[1] = b_.outputs;
    const Layer* of[2] = {&a_, &b_};
    LayerId concats[2];
    for (int k = 0; k < 2; ++k) {
      concats[k] = sole_consumer(net_, of[k]->outputs[0], body_);
      if (concats[k] == kNone || !std::holds_alternative<Concat>(layer(concats[k]).op) || layer(concats[k]).inputs != of[k]->outputs) return true;
    }
    const auto only = [&](TensorId id) { return net_.uses(id, body_) == 1; };
    for (const Layer* each : of)
      if (!std::all_of(each->outputs.begin(), each->outputs.end(), only)) return true;
    const auto &first = std::get<Concat>(layer(concats[0]).op), &second = std::get<Concat>(layer(concats[1]).op);
    if (first.axis != second.axis || first.axis == static_cast<int64_t>(axis_)) return true;
    for (int k = 0; k < 2; ++k) {
      concats_[k] = concats[k];
      results_[k] = layer(concats[k]).outputs;
    }
    return true;
  }

  bool readers_take_strides() const {
    for (const auto& results : results_)
      if (!std::all_of(results.begin(), results.end(), [&](TensorId id) { return takes_strides(id); })) return false;
    return true;
  }

  bool takes_strides(TensorId id) const {
    const auto& outputs = net_.bodies[body_].outputs;
    if (net_.tensor(id, body_).observed || std::find(outputs.begin(), outputs.end(), id) != outputs.end()) return false;
    const std::vector<LayerId> readers = net_.consumers(id, body_);
    return std::all_of(readers.begin(), readers.end(), [&](LayerId reader) {
      const Layer& here = layer(reader);
      if (is_any_of<Permute, Slice, Expand>(here.op)) return takes_strides(here.outputs[0]);
      return is_any_of<Attention, MatMul, Pointwise>(here.op);
    });
  }

  TensorId joint_input(TensorId first, TensorId next) {
    const Window a = *window_of(net_, first, body_), b = *window_of(net_, next, body_);
    const size_t along = *a.goes_on(b);
    TensorId id = a.root;
    for (const Op& view : a.views) id = net_.add1(view, {id}, a_.origins, body_);
    for (size_t d = 0; d < a.whole.size(); ++d) {
      const Dim size = d == along ? a.size[d] + b.size[d] : a.size[d];
      if (!(size == a.whole[d])) id = net_.add1(Slice{.axis = static_cast<int64_t>(d), .start = a.start[d], .end = a.start[d] + size}, {id}, a_.origins, body_);
    }
    return id;
  }

  static constexpr size_t kNoAxis = static_cast<size_t>(-1);
  Network& net_;
  int body_;
  const Layer a_, b_;  // by value: adding layers moves the vector
  LayerId ids_[2];
  LayerId concats_[2] = {kNone, kNone};
  std::vector<TensorId> results_[2];
  size_t axis_ = kNoAxis;
};

/// Joins two of the layers; the joint one takes their place in the list.
bool join_two(Network& net, std::vector<LayerId>& layers, int body) {
  for (size_t a = 0; a < layers.size(); ++a)
    for (size_t b = 0; b < layers.size(); ++b) {
      if (a == b) continue;
      PointwiseSiblings siblings(net, layers[a], layers[b], body);
      if (!siblings.match()) continue;
      layers[a] = siblings.join();
      layers.erase(layers.begin() + static_cast<std::ptrdiff_t>(b));
      return true;
    }
  return false;
}

}  // namespace

bool join_siblings(Network& net, const PassContext& context) {
  if (!context.target.is_cuda()) return false;  // on the CPU a step costs little, and rows with gaps more
  bool changed = false;
  for (int body = 0; body < static_cast<int>(net.bodies.size()); ++body) {
    const std::vector<bool> constant = constant_tensors(net.bodies[body]);
    std::map<std::string, std::vector<LayerId>> alike;  // by formula and the tensors below the views
    for (LayerId id : live(net, body)) {
      const Layer& layer = net.bodies[body].layers[id];
      if (!std::holds_alternative<Pointwise>(layer.op) || layer.inputs.empty() || constant[layer.outputs[0]]) continue;
      std::string key = str(layer.op);
      for (TensorId in : layer.inputs) key += " " + std::to_string(root_of(net, in, body));
      alike[key].push_back(id);
    }
    bool here = false;
    for (auto& [key, layers] : alike)
      while (join_two(net, layers, body)) here = true;
    if (here) net.sort(body);
    changed |= here;
  }
  return changed;
}

}  // namespace tuyere
