// SPDX-License-Identifier: Apache-2.0
// Storage types of precision="fp32", "tf32", "fp16", "bf16"; "as_is" changes none. Inputs and outputs keep their types: casts stand at the borders.
//   fp32, tf32   f16 and bf16 become f32
//   fp16, bf16   what is computed from float inputs and embeddings is stored short, and the constants it meets are cast (in the weight program).
//                Values from integers, positions and constants alone stay as they are: rotary angles, masks. So do, in f32: layers whose constants
//                leave the range of f16 and what pointwise layers make of them, and sums between pointwise layers and reductions.
// Arithmetic, statistics of norms and softmax are f32 in any case. On CUDA targets, products of f32 operands may use TF32 where PyTorch's flags say so,
// whatever the precision, and everywhere under "tf32".
// See tests/unit/passes/precision.cpp
#include <algorithm>
#include <cmath>
#include <map>

#include "common/error.h"
#include "common/log.h"
#include "core/passes/passes.h"
#include "core/passes/util.h"

namespace tuyere {
namespace {

constexpr double kLargestF16 = 65504;

bool is_short_or_f32(DType type) { return type == DType::F32 || type == DType::F16 || type == DType::BF16; }
bool is_huge(double value) { return std::isfinite(value) && std::abs(value) > kLargestF16; }

bool is_huge(const Program& program) {
  return std::any_of(program.body.begin(), program.body.end(),
                     [](const Inst& inst) { return inst.fn == Fn::constant && is_float(inst.type) && is_huge(inst.value); });
}

class Retype {
 public:
  /// `everywhere`: all layers, otherwise those that depend on float inputs and embeddings.
  Retype(Network& net, DType type, bool everywhere) : net_(net), type_(type), everywhere_(everywhere) {}

  bool run() {
    net_.sort(0);
    const size_t count = main().tensors.size();
    constant_ = constant_tensors(main());
    active_.assign(count, false);
    huge_.assign(count, false);
    for (const Tensor& tensor : main().tensors) original_.push_back(tensor.type.dtype);
    for (TensorId id : main().inputs) active_[id] = is_short_or_f32(original_[id]);
    if (type_ == DType::F16) find_huge_constants();
    for (LayerId id : live(net_, 0)) visit(id);
    restore_outputs();
    return changed_;
  }

 private:
  Body& main() { return net_.main(); }
  DType dtype(TensorId id) const { return net_.type(id).dtype; }
  /// `type` where it may change.
  DType changed(DType from, DType to) const { return is_short_or_f32(from) ? to : from; }

  void find_huge_constants() {
    for (size_t k = 0; k < main().tensors.size(); ++k) {
      const Tensor& tensor = main().tensors[k];
      if (tensor.constant < 0 || !is_float(tensor.type.dtype)) continue;
      const auto& data = net_.constants[tensor.constant].data;
      if (!data || tensor.type.dtype == DType::F16) continue;
      const int64_t count = numel(tensor.type.shape).value();
      for (int64_t i = 0; i < count && !huge_[k]; ++i) huge_[k] = is_huge(load_as_double(tensor.type.dtype, data->data(), i));
    }
  }

  void visit(LayerId id) {
    const Layer layer = main().layers[id];  // by value: casts are added on the way
    const bool follows = group(layer.op) == OpGroup::view || is_any_of<Pointwise, Concat, Pad, Gather, Index, Flip>(layer.op);
    const bool out_of_range = leaves_range(layer);
    for (TensorId out : layer.outputs) {
      huge_[out] = follows && (out_of_range || any_of(layer.inputs, huge_));
      active_[out] = is_short_or_f32(original_[out]) && (group(layer.op) == OpGroup::control || is_active(layer));
    }
    if (group(layer.op) == OpGroup::control) return restore_inputs(id, layer);
    const bool converts = everywhere_ || any_of(layer.outputs, active_) || any_of(layer.inputs, active_);
    if (!converts || (!everywhere_ && constant_[layer.outputs.at(0)])) return;
    const bool keep = type_ == DType::F16 && (out_of_range || (std::holds_alternative<Pointwise>(layer.op) && huge_[layer.outputs[0]]));
    if (keep) TUYERE_LOG(Info, "precision fp16: '" << net_.tensor(layer.outputs[0]).name << "' stays f32: a constant beyond " << kLargestF16);
    convert(id, layer, keep || (!everywhere_ && is_between_sums(layer)) ? DType::F32 : type_);
  }

  bool any_of(const std::vector<TensorId>& ids, const std::vector<bool>& flags) const {
    return std::any_of(ids.begin(), ids.end(), [&](TensorId id) { return flags[id]; });
  }

  bool is_active(const Layer& layer) const {
    if (any_of(layer.inputs, active_)) return true;
    if (!std::holds_alternative<Gather>(layer.op) || constant_[layer.outputs[0]]) return false;
    const int table = net_.tensor(layer.inputs[0]).constant;  // an embedding
    return table >= 0 && net_.constants[table].param;
  }

  bool leaves_range(const Layer& layer) const {
    if (type_ != DType::F16) return false;
    const bool program = std::visit(
        [](const auto& op) {
          bool huge = false;
          if constexpr (requires { op.program; }) huge |= is_huge(op.program);
          if constexpr (requires { op.prologue; }) huge |= is_huge(op.prologue);
          if constexpr (requires { op.epilogue; }) huge |= is_huge(op.epilogue);
          if constexpr (requires { op.value; }) huge |= is_huge(op.value);
          return huge;
        },
        layer.op);
    return program || (is_any_of<MatMul, Conv, Norm>(layer.op) &&
                       std::any_of(layer.inputs.begin(), layer.inputs.end(), [&](TensorId id) { return constant_[id] && huge_[id]; }));
  }

  static bool is_sum(const Op& op) {
    const auto* reduce = std::get_if<Reduce>(&op);
    return reduce &&
           (reduce->kind == ReduceKind::sum || reduce->kind == ReduceKind::mean || reduce->kind == ReduceKind::var || reduce->kind == ReduceKind::prod);
  }

  /// Squares before a sum, and sums before more arithmetic, are not worth rounding: they are fused or small.
  bool is_between_sums(const Layer& layer) const {
    const bool pointwise = std::holds_alternative<Pointwise>(layer.op);
    if (!pointwise && !is_sum(layer.op)) return false;
    const std::vector<LayerId> readers = net_.consumers(layer.outputs[0]);
    const auto& outputs = net_.main().outputs;
    if (readers.empty() || layer.outputs.size() != 1 || std::find(outputs.begin(), outputs.end(), layer.outputs[0]) != outputs.end()) return false;
    return std::all_of(readers.begin(), readers.end(), [&](LayerId reader) {
      const Op& op = net_.main().layers[reader].op;
      return pointwise ? is_sum(op) : std::holds_alternative<Pointwise>(op);
    });
  }

  /// Reads any float type: pointwise programs and statistics compute in f32 whatever they load.
  static bool reads_any(const Op& op, int slot) {
    if (is_any_of<Pointwise, Softmax, Reduce, Cumulate, LayerNormGradient>(op)) return true;
    if (is_any_of<MatMul, Conv>(op)) return slot >= 2;
    if (std::holds_alternative<Attention>(op)) return slot >= 3;
    if (std::holds_alternative<AttentionGradient>(op)) return slot >= 5;
    if (const auto* norm = std::get_if<Norm>(&op)) return slot == 0 || !norm->prologue.empty();
    return false;
  }
  /// Moves the values of its first input without a type of its own.
  static bool moves(const Op& op) {
    return group(op) == OpGroup::view || is_any_of<Pad, Flip, Pool, AdaptivePool, Resize, Gather, GatherElements, Index, TopK, Sort, ArgReduce>(op);
  }

  void convert(LayerId id, const Layer& layer, DType type) {
    const bool moving = moves(layer.op);
    for (int slot = 0; slot < static_cast<int>(layer.inputs.size()); ++slot) {
      const TensorId in = layer.inputs[slot];
      const bool is_vector = !numel(net_.type(in).shape).is_const(1);
      const bool leave = (reads_any(layer.op, slot) && !(constant_[in] && is_vector && !huge_[in])) || (moving && !constant_[in]);
      if (!leave) set_input(id, slot, as(in, changed(dtype(in), type), layer.origins));
    }
    set_types(id, type);
  }

  void set_types(LayerId id, DType type) {
    Op& op = main().layers[id].op;
    const Op before = op;
    const auto retype = [&](Program& program) {
      for (Inst& inst : program.body)
        if (inst.fn == Fn::cast && (inst.type == DType::F16 || inst.type == DType::BF16)) inst.type = type;
    };
    std::visit(
        [&](auto& o) {
          if constexpr (requires { o.type; }) o.type = changed(o.type, type);
          if constexpr (requires { o.types; })
            for (DType& t : o.types) t = changed(t, type);
          if constexpr (requires { o.extra_types; })
            for (DType& t : o.extra_types) t = changed(t, type);
          if constexpr (requires { o.program; }) retype(o.program);
          if constexpr (requires { o.prologue; }) retype(o.prologue);
          if constexpr (requires { o.epilogue; }) retype(o.epilogue);
        },
        op);
    changed_ |= !(op == before);
    std::vector<TensorType> in;
    for (TensorId input : main().layers[id].inputs) in.push_back(net_.type(input));
    const std::vector<TensorType> out = infer(op, in);
    for (size_t k = 0; k < out.size(); ++k) main().tensors[main().layers[id].outputs[k]].type.dtype = out[k].dtype;
  }

  /// Calls out of the network have fixed types.
  void restore_inputs(LayerId id, const Layer& layer) {
    for (int slot = 0; slot < static_cast<int>(layer.inputs.size()); ++slot)
      set_input(id, slot, as(layer.inputs[slot], original_[layer.inputs[slot]], layer.origins));
  }

  void restore_outputs() {
    std::vector<TensorId> outputs = main().outputs;
    for (TensorId& id : outputs) {
      const TensorId back = as(id, original_[id], {});
      auto& tensors = main().tensors;
      if (back != id && !tensors[id].observed && tensors[id].producer != kNone)
        std::swap(tensors[id].name, tensors[back].name);  // people look for outputs by name
      id = back;
    }
    main().outputs = outputs;
  }

  void set_input(LayerId id, int slot, TensorId tensor) {
    if (main().layers[id].inputs[slot] == tensor) return;
    net_.set_input(id, slot, tensor);
    changed_ = true;
  }

  TensorId as(TensorId id, DType type, const Origins& origins) {
    if (dtype(id) == type) return id;
    const auto [it, fresh] = casts_.emplace(std::make_pair(id, type), kNone);
    if (fresh) it->second = net_.cast(id, type, origins);
    changed_ = true;
    return it->second;
  }

  Network& net_;
  DType type_;
  bool everywhere_, changed_ = false;
  std::vector<bool> constant_, active_, huge_;
  std::vector<DType> original_;
  std::map<std::pair<TensorId, DType>, TensorId> casts_;
};

/// Input channels that tensor cores take without padding, and enough of them. Where TF32 is allowed, cuDNN under PyTorch still computes image stems and small
/// sums in plain f32; these cost little there, and users compare with it.
bool enough_channels(const Body& body, const Layer& layer) {
  constexpr int64_t kFewest = 32;
  const Dim& channels = body.tensors[layer.inputs[1]].type.shape[1];
  return channels.is_const() && channels.value() % 4 == 0 && channels.value() >= kFewest;
}

/// Allows TF32 products of f32 operands. stems: also for convolutions with a few input channels.
bool allow_tf32(Network& net, bool matmul, bool conv, bool stems) {
  bool changed = false;
  for (Body& body : net.bodies) {
    for (Layer& layer : body.layers) {
      if (layer.dead || layer.inputs.empty() || body.tensors[layer.inputs[0]].type.dtype != DType::F32) continue;
      auto* product = std::get_if<MatMul>(&layer.op);
      auto* convolution = std::get_if<Conv>(&layer.op);
      if (product && matmul && !product->tf32) changed = product->tf32 = true;
      if (convolution && conv && !convolution->tf32 && (stems || enough_channels(body, layer))) changed = convolution->tf32 = true;
    }
  }
  return changed;
}

}  // namespace

bool precision(Network& net, const PassContext& context) {
  const std::string& wanted = context.precision;
  bool changed = false;
  if (wanted == "fp32" || wanted == "tf32") {
    changed = Retype(net, DType::F32, true).run();
  } else if (wanted == "fp16" || wanted == "bf16") {
    changed = Retype(net, wanted == "fp16" ? DType::F16 : DType::BF16, false).run();
  } else {
    USER_CHECK(wanted == "as_is", "precision '" << wanted << "': as_is, fp32, tf32, fp16 or bf16");
  }
  if (!context.target.is_cuda()) return changed;
  const bool all = wanted == "tf32";
  return allow_tf32(net, all || context.tf32_matmul, all || context.tf32_conv, all) || changed;
}

}  // namespace tuyere
