// SPDX-License-Identifier: Apache-2.0
#include "core/builder/weights.h"

#include <algorithm>
#include <map>

#include "common/error.h"
#include "core/builder/placement.h"
#include "runtime/engine/engine.h"

namespace tuyere {
namespace {

/// A layer is not evaluated ahead when that would blow up the file: results above this many bytes may not be much larger than what they are made of.
constexpr int64_t kFreeGrowth = int64_t{16} << 20;

bool uses_symbols(const Dim& dim) { return !dim.is_const(); }
bool uses_symbols(const Shape& shape) { return !is_static(shape); }
template <class T>
bool uses_symbols(const T&) {
  return false;
}
bool op_uses_symbols(const Op& op) {
  return std::visit(
      [](const auto& attrs) {
        using A = std::decay_t<decltype(attrs)>;
        if constexpr (std::is_same_v<A, std::monostate>) {
          return false;
        } else {
          return std::apply([&](const auto&... f) { return (uses_symbols(attrs.*(f.member)) || ...); }, A::fields());
        }
      },
      op);
}

class Splitter {
 public:
  explicit Splitter(Network& network) : net_(network), body_(network.bodies[0]), folds_(network.bodies[0].layers.size()) {}

  WeightProgram run() {
    result_.network.name = net_.name + ".weights";
    for (size_t i = 0; i < body_.layers.size(); ++i) folds_[i] = foldable(body_.layers[i]);
    keep_border_views();
    for (TensorId t : border()) move(t);
    for (size_t i = 0; i < body_.layers.size(); ++i) body_.layers[i].dead |= folds_[i];
    net_.compact();
    return std::move(result_);
  }

 private:
  bool folded(TensorId t) const { return body_.tensors[t].producer != kNone && folds_[body_.tensors[t].producer]; }

  int64_t bytes(TensorId t) const { return bytes_of(body_.tensors[t].type.dtype, numel(body_.tensors[t].type.shape).value()); }

  bool foldable(const Layer& layer) const {
    if (layer.dead || group(layer.op) == OpGroup::control || op_uses_symbols(layer.op)) return false;
    int64_t in = 0, out = 0;
    for (TensorId t : layer.inputs) {
      if (body_.tensors[t].constant < 0 && !folded(t)) return false;
      in += bytes(t);
    }
    for (TensorId t : layer.outputs) {
      const Tensor& tensor = body_.tensors[t];
      if (!is_static(tensor.type.shape) || tensor.observed || tensor.type.layout.channel_padding != 1) return false;
      out += bytes(t);
    }
    return out <= std::max(kFreeGrowth, 2 * in) && !(is_copy(layer.op) && copies_nothing_new(layer));
  }

  /// A copy of a constant to the same order is there because its reader needs it in memory of its own (an output, a slice).
  bool copies_nothing_new(const Layer& layer) const {
    return body_.tensors[layer.inputs[0]].constant >= 0 && body_.tensors[layer.inputs[0]].type == body_.tensors[layer.outputs[0]].type;
  }

  bool read_by_program(TensorId t) const {
    if (std::find(body_.outputs.begin(), body_.outputs.end(), t) != body_.outputs.end()) return true;
    for (LayerId reader : readers_.at(t)) {
      if (!folds_[reader]) return true;
    }
    return false;
  }

  void keep_border_views() {
    readers_.assign(body_.tensors.size(), {});
    for (size_t i = 0; i < body_.layers.size(); ++i) {
      if (body_.layers[i].dead) continue;
      for (TensorId t : body_.layers[i].inputs) readers_[t].push_back(static_cast<LayerId>(i));
    }
    for (size_t i = body_.layers.size(); i-- > 0;) {
      const Layer& layer = body_.layers[i];
      if (folds_[i] && group(layer.op) == OpGroup::view && read_by_program(layer.outputs[0])) folds_[i] = false;
    }
  }

  std::vector<TensorId> border() const {
    std::vector<TensorId> result;
    for (size_t t = 0; t < body_.tensors.size(); ++t) {
      if (folded(static_cast<TensorId>(t)) && read_by_program(static_cast<TensorId>(t))) result.push_back(static_cast<TensorId>(t));
    }
    return result;
  }

  /// The tensor of the weight program that equals `t`.
  TensorId clone(TensorId t) {
    if (auto it = clones_.find(t); it != clones_.end()) return it->second;
    const Tensor tensor = body_.tensors[t];
    if (tensor.constant >= 0) return clones_[t] = clone_constant(tensor);
    const Layer layer = body_.layers[tensor.producer];
    std::vector<TensorId> inputs;
    for (TensorId in : layer.inputs) inputs.push_back(clone(in));
    std::vector<TensorId> outputs = result_.network.add(layer.op, inputs, layer.origins);
    for (size_t i = 0; i < outputs.size(); ++i) {
      result_.network.main().tensors[outputs[i]].type.layout = body_.tensors[layer.outputs[i]].type.layout;
      clones_[layer.outputs[i]] = outputs[i];
    }
    return clones_.at(t);
  }

  TensorId clone_constant(const Tensor& tensor) {
    auto [it, fresh] = sources_.try_emplace(tensor.constant, kNone);
    if (!fresh) return it->second;
    const Constant& constant = net_.constants[tensor.constant];
    if (!constant.param) return it->second = result_.network.add_constant(tensor.type.dtype, tensor.type.shape, constant);
    result_.parameters.push_back({constant, tensor.type});
    return it->second = result_.network.add_input(tensor.type, constant.name);
  }

  void move(TensorId t) {
    TensorId out = clone(t);
    Tensor& tensor = body_.tensors[t];
    std::string name = "w" + std::to_string(result_.outputs.size());
    if (!tensor.type.layout.order.empty()) {
      out = result_.network.add1(Permute{std::vector<int64_t>(tensor.type.layout.order.begin(), tensor.type.layout.order.end())}, {out});
    }
    result_.network.mark_output(out);
    result_.outputs.push_back(name);
    tensor.producer = kNone;
    tensor.output = 0;
    tensor.constant = static_cast<int>(net_.constants.size());
    net_.constants.push_back({name, false, nullptr});
  }

  Network& net_;
  Body& body_;
  std::vector<bool> folds_;
  std::vector<std::vector<LayerId>> readers_;
  std::map<TensorId, TensorId> clones_;
  std::map<int, TensorId> sources_;
  WeightProgram result_;
};

void check(const Status& status) { INTERNAL_CHECK(status.is_ok(), "weight program: " << status.message()); }

}  // namespace

void name_constants(Network& network) {
  std::map<std::string, const Constant*> seen;
  int literals = 0;
  for (Constant& constant : network.constants) {
    if (!constant.param) {
      constant.name = "c" + std::to_string(literals++);
      continue;
    }
    auto [it, fresh] = seen.try_emplace(constant.name, &constant);
    USER_CHECK(fresh, "two parameters are named '" << constant.name << "'");
  }
}

WeightProgram split_weights(Network& network) { return Splitter(network).run(); }

Shape stored_shape(const TensorType& type) {
  Shape shape;
  for (int dim : type.layout.order) shape.push_back(type.shape[dim]);
  return type.layout.order.empty() ? type.shape : shape;
}

std::string file_name(const Constant& constant) { return constant.param ? "param/" + constant.name : constant.name; }

PlanConstant stored_constant(const Constant& constant, const TensorType& type) {
  PlanConstant stored{type.dtype, to_ints(stored_shape(type))};
  stored.bytes = bytes_of(type.dtype, numel(type.shape).value());
  USER_CHECK(constant.data, "constant '" << constant.name << "' has no data");
  USER_CHECK(static_cast<int64_t>(constant.data->size()) >= stored.bytes,
             "constant '" << constant.name << "' has " << constant.data->size() << " bytes of data; " << str(type) << " needs " << stored.bytes);
  stored.data = constant.data->data();
  stored.keep = constant.data;
  return stored;
}

PlanConstants weight_types(const PlanBody& body) {
  PlanConstants types;
  for (const PlanIo& io : body.outputs) {
    const PlanTensor& tensor = body.tensors[io.tensor];
    PlanConstant& type = types[io.name] = {tensor.dtype, to_ints(tensor.shape)};
    type.bytes = bytes_of(type.dtype, numel(tensor.shape).value());
  }
  return types;
}

PlanConstants run_weight_body(const PlanBody& body, const PlanConstants& constants) {
  PlanConstants results;
  if (body.outputs.empty()) return results;
  EngineFile file;
  file.plan.bodies = {body};
  for (const PlanBuffer& buffer : body.buffers) {
    if (buffer.kind == BufferKind::constant) file.constants.insert(*constants.find(buffer.constant));
  }
  auto bytes = std::make_shared<std::vector<std::byte>>(write_engine(file));
  auto engine = Engine::load(*bytes, bytes);
  check(engine.status());
  auto context = (*engine)->create_context();
  check(context.status());
  std::vector<std::vector<int64_t>> strides;
  std::vector<TensorRef> in, out;
  strides.reserve(body.inputs.size() + body.outputs.size());
  auto ref = [&](const PlanConstant& c, void* data) {
    strides.push_back(contiguous_strides(c.shape));
    return TensorRef{data, c.dtype, c.shape, strides.back(), -1};
  };
  for (const PlanIo& io : body.inputs) {
    const PlanConstant& c = constants.at("param/" + io.name);
    in.push_back(ref(c, const_cast<void*>(c.data)));
  }
  results = weight_types(body);
  for (const PlanIo& io : body.outputs) {
    PlanConstant& c = results[io.name];
    auto data = std::make_shared<std::vector<std::byte>>(c.bytes);
    c.data = data->data();
    c.keep = data;
    out.push_back(ref(c, data->data()));
  }
  check((*context)->execute(in, out));
  return results;
}

}  // namespace tuyere
