// SPDX-License-Identifier: Apache-2.0
// A Conv problem as a cuDNN operation graph. The canonical order conv, + residual, + bias, relu with all tensors of one type is the one that cuDNN has
// precompiled kernels for; everything else is compiled by it when the plan is built.
#include <algorithm>
#include <iterator>

#include "kernels/api/other_operator.h"
#include "kernels/cudnn/cudnn_tactics.h"

namespace tuyere {
namespace {

bool is_storage(DType type) { return type == DType::F16 || type == DType::BF16 || type == DType::F32; }

bool one_per_channel(const TensorDesc& t, const TensorDesc& out) {
  const int channel = t.rank() - (out.rank() - 1);
  if (channel < 0 || channel > 1) return false;
  for (int i = 0; i < t.rank(); ++i)
    if (i != channel && !t.shape[i].is_const(1)) return false;
  return t.shape[channel] == out.shape[1] && (t.strides[channel].is_const(1) || t.shape[channel].is_const(1)) && is_storage(t.dtype);
}

/// Dense in an order cuDNN knows; with a device to ask, also channels innermost with gaps.
bool good_layout(const TensorDesc& t, const Target& target) {
  return t.is_channels_last() || t.is_contiguous() || (target.present && t.rank() > 1 && t.strides[1].is_const(1));
}

const char* activation(Fn fn) {
  switch (fn) {
    case Fn::relu:
      return "relu";
    case Fn::where:
      return "leaky_relu";
    case Fn::silu:
      return "silu";
    case Fn::gelu_erf:
      return "gelu_erf";
    case Fn::gelu_tanh:
      return "gelu_tanh";
    case Fn::sigmoid:
      return "sigmoid";
    case Fn::tanh:
      return "tanh";
    default:
      return nullptr;
  }
}

/// The epilogue as cuDNN's pointwise operations; nullopt when it is more than that.
std::optional<SimpleEpilogue> fusable(const Problem& p) {
  const Conv& op = std::get<Conv>(p.op);
  if (p.out.size() != 1) return std::nullopt;
  if (op.epilogue.empty()) return SimpleEpilogue{};
  std::vector<bool> biases{false};
  for (size_t i = 2; i < p.in.size(); ++i) biases.push_back(one_per_channel(p.in[i], p.out[0]));
  const std::optional<SimpleEpilogue> simple = match_simple_epilogue(op.epilogue, biases);
  if (!simple) return std::nullopt;
  if (simple->act && !activation(*simple->act)) return std::nullopt;
  if (simple->residual > 0) {
    const TensorDesc& residual = p.in[static_cast<size_t>(simple->residual) + 1];
    if (residual.shape != p.out[0].shape || residual.dtype != p.out[0].dtype || residual.is_channels_last() != p.out[0].is_channels_last()) return std::nullopt;
  }
  return simple;
}

bool is_plain(const SimpleEpilogue& e) { return e.bias <= 0 && e.residual <= 0 && !e.act; }

/// The precompiled set has a bias always, of the tensors' type.
bool is_precompiled(const Problem& p, const SimpleEpilogue& e) {
  if (is_plain(e)) return true;
  const bool bias_fits = e.bias > 0 && p.in[static_cast<size_t>(e.bias) + 1].dtype == p.in[0].dtype;
  return bias_fits && (!e.act || *e.act == Fn::relu) && !e.residual_last && !std::get<Conv>(p.op).transposed;
}

class StepMaker {
 public:
  explicit StepMaker(const Problem& p) : p_(p), op_(std::get<Conv>(p.op)), inputs_(static_cast<int>(p.in.size())) {}

  CudnnStep make(ConvForm form) {
    spatial();
    step_.transposed = op_.transposed;
    step_.tf32 = op_.tf32;
    step_.deterministic = p_.deterministic;
    step_.x = tensor(p_.in[0], 0);
    step_.w = tensor(p_.in[1], 1);
    const std::optional<SimpleEpilogue> epilogue = form == ConvForm::fused ? fusable(p_) : std::nullopt;
    std::vector<CudnnPointwise> todo;
    const auto add_residual = [&] { todo.push_back({"add", -1, tensor(p_.in[epilogue->residual + 1], epilogue->residual + 1), -1}); };
    if (epilogue && epilogue->residual > 0 && !epilogue->residual_last) add_residual();
    if (epilogue && epilogue->bias > 0) todo.push_back({"add", -1, bias(epilogue->bias + 1), -1});
    if (epilogue && epilogue->act) todo.push_back({activation(*epilogue->act), -1, -1, -1, epilogue->act == Fn::where ? epilogue->act_alpha : 0});
    if (epilogue && epilogue->residual_last) add_residual();
    int value = step_.y = todo.empty() ? result() : intermediate();
    for (size_t i = 0; i < todo.size(); ++i) {
      todo[i].x = value;
      todo[i].y = value = i + 1 == todo.size() ? result() : intermediate();
    }
    step_.pointwise = std::move(todo);
    return std::move(step_);
  }

 private:
  /// cuDNN wants two spatial dims: a leading one of size 1 is added to one-dimensional convolutions.
  bool flat() const { return op_.stride.size() == 1; }

  void spatial() {
    step_.stride = op_.stride, step_.pad_before = op_.pad_before, step_.pad_after = op_.pad_after, step_.dilation = op_.dilation;
    if (!flat()) return;
    for (std::vector<int64_t>* ones : {&step_.stride, &step_.dilation}) ones->insert(ones->begin(), 1);
    for (std::vector<int64_t>* zeros : {&step_.pad_before, &step_.pad_after}) zeros->insert(zeros->begin(), 0);
  }

  int tensor(const TensorDesc& desc, int position) {
    CudnnTensor t{position, desc.dtype, desc.shape, desc.strides, std::min(desc.alignment, kMaxAlignment)};
    if (flat()) {
      t.strides.insert(t.strides.begin() + 2, desc.shape[2] * desc.strides[2]);
      t.dims.insert(t.dims.begin() + 2, 1);
    }
    return add(std::move(t));
  }
  int result() { return tensor(p_.out[0], inputs_); }
  int intermediate() {
    TensorDesc desc = p_.out[0];
    desc.dtype = DType::F32;
    return tensor(desc, -1);
  }
  int bias(int position) {
    const TensorDesc& desc = p_.in[position];
    const Dim channels = p_.out[0].shape[1];
    CudnnTensor t{position, desc.dtype, {1, channels}, {channels, 1}, std::min(desc.alignment, kMaxAlignment)};
    t.dims.resize(step_.stride.size() + 2, 1);
    t.strides.resize(step_.stride.size() + 2, channels);
    return add(std::move(t));
  }
  int add(CudnnTensor t) {
    step_.tensors.push_back(std::move(t));
    return static_cast<int>(step_.tensors.size()) - 1;
  }

  const Problem& p_;
  const Conv& op_;
  int inputs_;
  CudnnStep step_;
};

/// The convolution whose weight has the gradient: inputs x and dw, output dy.
Problem forward_of(const Problem& p) {
  const auto& op = std::get<ConvWeightGradient>(p.op);
  Conv conv;
  conv.stride = op.stride, conv.pad_before = op.pad_before, conv.pad_after = op.pad_after, conv.dilation = op.dilation;
  conv.groups = op.groups, conv.type = p.in[0].dtype;
  Problem forward = p;
  forward.op = conv;
  forward.in = {p.in[1], p.out[0]}, forward.out = {p.in[0]};
  return forward;
}

}  // namespace

Support conv_forms(const Problem& p, const Target& target, ConvForms* forms) {
  const Conv* op = std::get_if<Conv>(&p.op);
  REQUIRE(op, kOtherOperator);
  REQUIRE(p.in.size() >= 2 && p.in[0].rank() >= 3 && p.in[0].rank() <= 5 && p.in[1].rank() == p.in[0].rank(), "not one to three spatial dims");
  REQUIRE(static_cast<int>(op->stride.size()) + 2 == p.in[0].rank(), "channels in blocks");
  const DType type = p.in[0].dtype;
  REQUIRE(is_storage(type), "cudnn steps are for f16, bf16 and f32");
  REQUIRE(p.in[1].dtype == type && p.out[0].dtype == type, "operands and result of different types");
  REQUIRE(good_layout(p.in[0], target) && good_layout(p.in[1], target) && good_layout(p.out[0], target), "a layout cuDNN does not know");
  const auto negative = [](int64_t pad) { return pad < 0; };
  REQUIRE(std::none_of(op->pad_before.begin(), op->pad_before.end(), negative) && std::none_of(op->pad_after.begin(), op->pad_after.end(), negative),
          "negative padding");
  const std::optional<SimpleEpilogue> epilogue = fusable(p);
  forms->precompiled = epilogue && is_precompiled(p, *epilogue);
  // Fused kernels of depthwise convolutions are very slow, of transposed ones there need not be any.
  const bool depthwise = op->groups > 1 && p.in[1].shape[1].is_const(1);
  if (!epilogue)
    forms->forms = {ConvForm::split};
  else if (is_plain(*epilogue) || (forms->precompiled && op->groups == 1))
    forms->forms = {ConvForm::fused};
  else if (depthwise || op->transposed)
    forms->forms = {ConvForm::split, ConvForm::fused};
  else
    forms->forms = {ConvForm::fused, ConvForm::split};
  return Support::yes();
}

CudnnStep make_cudnn_step(const Problem& problem, ConvForm form) { return StepMaker(problem).make(form); }

Support cudnn_weight_gradient_fits(const Problem& problem, const Target& target) {
  REQUIRE(std::holds_alternative<ConvWeightGradient>(problem.op), kOtherOperator);
  ConvForms forms;
  return conv_forms(forward_of(problem), target, &forms);
}

CudnnStep make_cudnn_weight_gradient_step(const Problem& problem) {
  CudnnStep step = make_cudnn_step(forward_of(problem), ConvForm::fused);
  step.weight_gradient = true;
  step.tensors[step.y].position = 0, step.tensors[step.x].position = 1, step.tensors[step.w].position = 2;
  return step;
}

}  // namespace tuyere
