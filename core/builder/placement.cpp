// SPDX-License-Identifier: Apache-2.0
#include "core/builder/placement.h"

#include <map>
#include <sstream>

#include "common/error.h"
#include "core/builder/access.h"
#include "core/builder/concat.h"
#include "core/builder/in_place.h"

namespace tuyere {
namespace {

class Placer {
 public:
  Placer(Network& network, int body, const PlacementOptions& options) : net_(network), body_(body), options_(options) {}

  Placement run() {
    net_.sort(body_);
    std::vector<LayerId> order = live_layers();
    concats_ = plan_concats(net_, body_, options_.on_gpu);
    place_inputs();
    place_constants();
    for (LayerId id : order) {
      ErrorFrame frame("placing layer " + std::to_string(id) + " (" + std::string(name(layer(id).op)) + ")");
      place_layer(id);
    }
    place_outputs();
    reorder_layers();
    if (options_.share_in_place) share_in_place(net_, body_, result_);
    return std::move(result_);
  }

 private:
  Body& body() { return net_.bodies[body_]; }
  Layer& layer(LayerId id) { return body().layers[id]; }
  const TensorType& type(TensorId id) { return body().tensors[id].type; }
  PlacedTensor& placed(TensorId id) {
    if (result_.tensors.size() < body().tensors.size()) result_.tensors.resize(body().tensors.size());
    return result_.tensors[id];
  }

  std::vector<LayerId> live_layers() {
    std::vector<LayerId> order;
    for (size_t i = 0; i < body().layers.size(); ++i) {
      if (!body().layers[i].dead) order.push_back(static_cast<LayerId>(i));
    }
    return order;
  }

  int add_buffer(BufferKind kind, int index, TensorId id, const Layout& layout) {
    result_.buffers.push_back({kind, index, type(id).dtype, layout_elements(type(id).shape, layout)});
    return static_cast<int>(result_.buffers.size()) - 1;
  }
  void put(TensorId id, int buffer, std::vector<Dim> strides, Dim offset = 0) { placed(id) = PlacedTensor{{std::move(strides), std::move(offset)}, buffer}; }

  void place_inputs() {
    for (size_t i = 0; i < body().inputs.size(); ++i) {
      TensorId id = body().inputs[i];
      put(id, add_buffer(BufferKind::input, static_cast<int>(i), id, type(id).layout), layout_strides(type(id).shape, type(id).layout));
    }
  }

  void place_constants() {
    std::map<int, int> buffers;
    for (TensorId id = 0, count = static_cast<TensorId>(body().tensors.size()); id < count; ++id) {
      Tensor tensor = body().tensors[id];
      if (tensor.constant < 0) continue;
      bool stored = options_.stored_in_layout.count(net_.constants[tensor.constant].name) > 0;
      Layout in_file = stored ? tensor.type.layout : Layout{};
      auto [it, fresh] = buffers.try_emplace(tensor.constant, -1);
      if (fresh) it->second = add_buffer(BufferKind::constant, tensor.constant, id, in_file);
      put(id, it->second, layout_strides(tensor.type.shape, in_file));
      if (!(in_file == tensor.type.layout)) reorder_constant(id);
    }
  }

  /// The data of a constant is row-major: every reader that counts on another order reads a copy.
  void reorder_constant(TensorId id) {
    Layout wanted = type(id).layout;
    body().tensors[id].type.layout = {};
    TensorId copied = copy(id, wanted, {});
    for (size_t i = 0; i < body().layers.size(); ++i) {
      LayerId reader = static_cast<LayerId>(i);
      for (size_t slot = 0; slot < layer(reader).inputs.size(); ++slot) {
        bool is_the_copy = !layer(reader).outputs.empty() && layer(reader).outputs[0] == copied;
        if (layer(reader).inputs[slot] == id && !is_the_copy) net_.set_input(reader, static_cast<int>(slot), copied, body_);
      }
    }
    for (TensorId& out : body().outputs) {
      if (out == id) out = copied;
    }
  }

  /// Inserts a copy step right here; one copy per tensor and memory order serves all readers.
  TensorId copy(TensorId from, Layout layout, const Origins& origins) {  // by value: adding a layer moves the tensors
    auto key = std::make_pair(from, str(layout));
    if (auto it = copies_.find(key); it != copies_.end()) return it->second;
    TensorId to = net_.add1(copy_op(type(from).dtype), {from}, origins, body_);
    body().tensors[to].type.layout = std::move(layout);
    add_step(body().tensors[to].producer);
    place_output(to);
    return copies_[key] = to;
  }

  void place_output(TensorId id) {
    if (std::optional<PlacedTensor> within = place_within(id)) {
      placed(id) = *within;
      return;
    }
    const Layout layout = type(id).layout;
    put(id, add_buffer(BufferKind::arena, -1, id, layout), layout_strides(type(id).shape, layout));
  }

  /// Where a tensor belongs that is part of a Concat's result, or whose views are.
  std::optional<PlacedTensor> place_within(TensorId id) {
    if (auto slot = concats_.slots.find(id); slot != concats_.slots.end()) {
      const ConcatSlot where = slot->second;
      if (placed(where.whole).buffer < 0) place_output(where.whole);
      return slice_of(where);
    }
    const auto view = concats_.before_views.find(id);
    if (view == concats_.before_views.end()) return std::nullopt;
    const TensorId behind = layer(view->second).outputs[0];
    const std::optional<PlacedTensor> wanted = place_within(behind);
    INTERNAL_CHECK(wanted, "a view without a place");
    const auto before = view_before(layer(view->second).op, type(id).shape, *wanted, type(behind).shape);
    INTERNAL_CHECK(before, "a view that cannot be written through");
    return PlacedTensor{*before, wanted->buffer};
  }

  PlacedTensor slice_of(const ConcatSlot& where) {
    PlacedTensor slice = placed(where.whole);
    slice.offset = slice.offset + where.start * slice.strides[where.axis];
    return slice;
  }

  void add_step(LayerId id) {
    result_.steps.push_back(id);
    order_.push_back(id);
  }

  void place_layer(LayerId id) {
    if (group(layer(id).op) == OpGroup::view) return place_view(id);
    if (concats_.written_in_place.count(id)) return fill_concat(id);
    for (size_t slot = 0; slot < layer(id).inputs.size(); ++slot) meet_access(id, static_cast<int>(slot));
    add_step(id);
    for (TensorId out : std::vector<TensorId>(layer(id).outputs)) place_output(out);
  }

  void meet_access(LayerId id, int slot) {
    TensorId input = layer(id).inputs[slot];
    Access need = access(layer(id).op, slot, options_.on_gpu);
    // A body's input starts where its memory starts, as a caller's tensor does.
    bool runs_bodies = group(layer(id).op) == OpGroup::control && !std::holds_alternative<HostCall>(layer(id).op);
    bool starts = !runs_bodies || placed(input).offset.is_const(0);
    if (starts && satisfies(need, type(input), placed(input).strides, placed(input).offset)) return;
    Layout layout = need == Access::image || need == Access::pixels ? type(input).layout : Layout{};
    net_.set_input(id, slot, copy(input, layout, Origins(layer(id).origins)), body_);
  }

  void place_view(LayerId id) {
    TensorId from = layer(id).inputs[0], to = layer(id).outputs[0];
    std::optional<View> view = view_of(layer(id).op, type(from).shape, placed(from), type(to).shape);
    if (!view) {
      TensorId dense = copy(from, {}, Origins(layer(id).origins));
      net_.set_input(id, 0, dense, body_);
      from = dense;
      view = view_of(layer(id).op, type(from).shape, placed(from), type(to).shape);
      INTERNAL_CHECK(view, "a dense tensor has every reshape");
    }
    put(to, placed(from).buffer, view->strides, view->offset);
    order_.push_back(id);
  }

  /// A Concat without a kernel: inputs that are not written in place are copied into their slice, once for all Concats whose slice it is.
  void fill_concat(LayerId id) {
    TensorId whole = layer(id).outputs[0];
    if (placed(whole).buffer < 0) place_output(whole);
    int axis = concat_axis(net_, body_, id);
    Dim start = 0;
    for (size_t slot = 0; slot < layer(id).inputs.size(); ++slot) {
      TensorId part = layer(id).inputs[slot];
      Dim size = type(part).shape[axis];
      net_.set_input(id, static_cast<int>(slot), within(part, {whole, axis, start}, Origins(layer(id).origins)), body_);
      start += size;
    }
    order_.push_back(id);
  }

  /// The tensor with the values of `part` that lies at `where`.
  TensorId within(TensorId part, const ConcatSlot& where, const Origins& origins) {
    const PlacedTensor wanted = slice_of(where);
    const auto lies_there = [&](TensorId t) {
      return placed(t).buffer == wanted.buffer && placed(t).offset == wanted.offset && placed(t).strides == wanted.strides;
    };
    if (lies_there(part)) return part;
    for (auto [it, end] = copied_into_slices_.equal_range(part); it != end; ++it) {
      if (lies_there(it->second)) return it->second;
    }
    TensorId to = net_.add1(copy_op(type(part).dtype), {part}, origins, body_);
    body().tensors[to].type.layout = type(where.whole).layout;
    concats_.slots[to] = where;
    add_step(body().tensors[to].producer);
    place_output(to);
    copied_into_slices_.emplace(part, to);
    return to;
  }

  void place_outputs() {
    for (size_t i = 0; i < body().outputs.size(); ++i) {
      TensorId id = body().outputs[i];
      if (!owns_dense_buffer(id)) {
        copies_.clear();  // a copy of an earlier output is that output's memory
        id = body().outputs[i] = copy(id, type(id).layout, {});
      }
      PlacedBuffer& buffer = result_.buffers[placed(id).buffer];
      buffer.kind = BufferKind::output;
      buffer.index = static_cast<int>(i);
    }
  }

  /// Layers in the order of the steps: copies stand before their reader, where a later sort() leaves them.
  void reorder_layers() {
    std::vector<LayerId> moved(body().layers.size(), kNone);
    std::vector<Layer> layers;
    auto move = [&](LayerId id) {
      moved[id] = static_cast<LayerId>(layers.size());
      layers.push_back(std::move(layer(id)));
    };
    for (LayerId id : order_) move(id);
    for (size_t i = 0; i < moved.size(); ++i) {
      if (moved[i] == kNone) move(static_cast<LayerId>(i));
    }
    body().layers = std::move(layers);
    for (Tensor& tensor : body().tensors) {
      if (tensor.producer != kNone) tensor.producer = moved[tensor.producer];
    }
    for (LayerId& id : result_.steps) id = moved[id];
  }

  bool owns_dense_buffer(TensorId id) {
    const PlacedBuffer& buffer = result_.buffers[placed(id).buffer];
    return buffer.kind == BufferKind::arena && buffer.elements == layout_elements(type(id).shape, type(id).layout) && placed(id).offset.is_const(0) &&
           same_strides(type(id).shape, placed(id).strides, layout_strides(type(id).shape, type(id).layout));
  }

  Network& net_;
  int body_;
  const PlacementOptions& options_;
  Placement result_;
  std::vector<LayerId> order_;  // steps, views and Concats without a kernel
  ConcatPlan concats_;
  std::map<std::pair<TensorId, std::string>, TensorId> copies_;
  std::multimap<TensorId, TensorId> copied_into_slices_;
};

std::string window(const Placement& placement, TensorId id) {
  const PlacedTensor& t = placement.tensors[id];
  std::ostringstream out;
  out << "b" << t.buffer << "{";
  for (size_t i = 0; i < t.strides.size(); ++i) out << (i ? "," : "") << t.strides[i];
  out << "}";
  if (!t.offset.is_const(0)) out << "+" << t.offset;
  const PlacedBuffer& buffer = placement.buffers[t.buffer];
  static const char* kinds[] = {"in", "out", "const", ""};
  if (buffer.kind != BufferKind::arena) out << ":" << kinds[static_cast<int>(buffer.kind)];
  return out.str();
}

}  // namespace

Op copy_op(DType dtype) {
  Pointwise copy;
  copy.program.inputs = {compute_type(dtype)};
  copy.program.outputs = {0};
  copy.types = {dtype};
  return copy;
}

bool is_copy(const Op& op) {
  const auto* pointwise = std::get_if<Pointwise>(&op);
  return pointwise && pointwise->program.inputs.size() <= 1 && pointwise->program.is_identity();
}

Placement place(Network& network, int body, const PlacementOptions& options) { return Placer(network, body, options).run(); }

std::string str(const Network& network, int body, const Placement& placement) {
  std::ostringstream out;
  for (LayerId id : placement.steps) {
    const Layer& layer = network.bodies[body].layers[id];
    const char* separator = "";
    for (TensorId t : layer.outputs) {
      out << separator << window(placement, t);
      separator = ", ";
    }
    out << " = " << (is_copy(layer.op) ? "copy" : name(layer.op)) << "(";
    separator = "";
    for (TensorId t : layer.inputs) {
      out << separator << window(placement, t);
      separator = ", ";
    }
    out << ")\n";
  }
  return out.str();
}

}  // namespace tuyere
