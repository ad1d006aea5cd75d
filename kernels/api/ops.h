// SPDX-License-Identifier: Apache-2.0
// Attribute structs of all operators, as plain values. One reflection list per struct gives equality, text, parse and hash.
// Shapes are logical (PyTorch's dimension order, N C H W ...), whatever the memory layout.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "common/dim.h"
#include "common/dtype.h"
#include "kernels/api/program.h"

namespace tuyere {

enum class ReduceKind : uint8_t { sum, mean, max, min, prod, any, all, var };  // var: attribute `correction`
enum class ArgKind : uint8_t { argmax, argmin };
enum class NormKind : uint8_t { layer, rms, group };
enum class PoolKind : uint8_t { max, avg };
enum class PadMode : uint8_t { constant, reflect, replicate, circular };
enum class ScatterKind : uint8_t { set, add, mul, max, min };
enum class CumKind : uint8_t { sum, prod };
enum class RecurrentKind : uint8_t { lstm, gru, tanh, relu };
enum class ResizeMode : uint8_t { nearest, linear, cubic };

template <class S, class M>
struct Field {
  const char* name;
  M S::*member;
};
template <class S, class M>
constexpr Field<S, M> field(const char* name, M S::*member) {
  return {name, member};
}
/// Declares the reflection list of S and its equality.
#define TUYERE_FIELDS(S, ...)                                             \
  static constexpr auto fields() { return std::make_tuple(__VA_ARGS__); } \
  bool operator==(const S&) const = default;

/// out_k = program(in...) over the NumPy broadcast of the inputs. Inputs: program.inputs. Outputs: program.outputs; their dtypes are `types`.
struct Pointwise {
  Program program;
  std::vector<DType> types;
  TUYERE_FIELDS(Pointwise, field("program", &Pointwise::program), field("types", &Pointwise::types))
};

/// out = epilogue(reduce(prologue(in...), axes), extra...). Inputs: the prologue's (or one), then the epilogue's beyond input 0.
/// Accumulates in f32 (f64 for f64, i64 for ints). `type`: dtype of the output. var divides by (count - correction).
struct Reduce {
  ReduceKind kind = ReduceKind::sum;
  std::vector<int64_t> axes;
  bool keepdim = false;
  double correction = 0;
  DType type = DType::F32;
  Program prologue, epilogue;
  TUYERE_FIELDS(Reduce, field("kind", &Reduce::kind), field("axes", &Reduce::axes), field("keepdim", &Reduce::keepdim),
                field("correction", &Reduce::correction), field("type", &Reduce::type), field("prologue", &Reduce::prologue),
                field("epilogue", &Reduce::epilogue))
};

/// Index (i64) of the first extreme element along `axis`.
struct ArgReduce {
  ArgKind kind = ArgKind::argmax;
  int64_t axis = 0;
  bool keepdim = false;
  TUYERE_FIELDS(ArgReduce, field("kind", &ArgReduce::kind), field("axis", &ArgReduce::axis), field("keepdim", &ArgReduce::keepdim))
};

/// softmax (or log-softmax) of prologue(in...) along `axis`, statistics in f32. Prologue inputs broadcast against input 0.
/// A row that is -inf everywhere gives NaN, as in PyTorch.
struct Softmax {
  int64_t axis = -1;
  bool log = false;
  DType type = DType::F32;  // dtype of the output
  Program prologue;
  TUYERE_FIELDS(Softmax, field("axis", &Softmax::axis), field("log", &Softmax::log), field("type", &Softmax::type), field("prologue", &Softmax::prologue))
};

/// Normalization. layer, rms: over the last `axes` dimensions; weight and bias have that shape. group: x [N,C,...], `groups` groups of channels, weight and
/// bias [C]. Inputs: the prologue's (or x), weight if has_weight, bias if has_bias, then the epilogue's beyond input 0. x = prologue output 0; the prologue's
/// further outputs are stored as outputs 1.. (residual sums). Output 0 = epilogue(norm(x) * weight + bias). Statistics in f32. `type`: dtype of output 0;
/// `extra_types`: of the further outputs. `statistics` (layer): the last two outputs are the f32 means and 1 / sqrt(variance + eps), sizes 1 where reduced.
struct Norm {
  NormKind kind = NormKind::layer;
  int64_t axes = 1;
  int64_t groups = 1;
  double eps = 1e-5;
  bool has_weight = false, has_bias = false, statistics = false;
  DType type = DType::F32;
  std::vector<DType> extra_types;
  Program prologue, epilogue;
  TUYERE_FIELDS(Norm, field("kind", &Norm::kind), field("axes", &Norm::axes), field("groups", &Norm::groups), field("eps", &Norm::eps),
                field("has_weight", &Norm::has_weight), field("has_bias", &Norm::has_bias), field("statistics", &Norm::statistics), field("type", &Norm::type),
                field("extra_types", &Norm::extra_types), field("prologue", &Norm::prologue), field("epilogue", &Norm::epilogue))
};

/// Gradients of a layer norm over the last `axes` dimensions. Inputs: dy, x, the norm's means and 1 / sqrt(variance + eps) (f32, sizes 1 where reduced), weight
/// if has_weight. Outputs: dx; with `parameters` those of weight and bias, of `parameter_type`. Sums in f32 and wider.
struct LayerNormGradient {
  int64_t axes = 1;
  bool has_weight = false, parameters = false;
  DType type = DType::F32, parameter_type = DType::F32;
  TUYERE_FIELDS(LayerNormGradient, field("axes", &LayerNormGradient::axes), field("has_weight", &LayerNormGradient::has_weight),
                field("parameters", &LayerNormGradient::parameters), field("type", &LayerNormGradient::type),
                field("parameter_type", &LayerNormGradient::parameter_type))
};

/// epilogue(op(a) @ op(b), extra...), batch dimensions broadcast; a [..., M, K], b [..., K, N] after the optional transposes of the last two dims.
/// Inputs: a, b, then the epilogue's beyond input 0, each broadcast against the output. f16/bf16/f32 accumulate in f32 (f32: tf32 only when `tf32`).
struct MatMul {
  bool trans_a = false, trans_b = false;
  bool tf32 = false;
  DType type = DType::F32;
  Program epilogue;
  TUYERE_FIELDS(MatMul, field("trans_a", &MatMul::trans_a), field("trans_b", &MatMul::trans_b), field("tf32", &MatMul::tf32), field("type", &MatMul::type),
                field("epilogue", &MatMul::epilogue))
};

/// epilogue(a @ b, a @ b2, extra...): a gated unit, both products of the same rows. a [..., M, K]; b and b2 [K, N], or [N, K] when `trans_b`.
/// Inputs: a, b, b2, then the epilogue's beyond input 1, each broadcast against the output. 16-bit floats accumulate in f32.
struct GatedMatMul {
  bool trans_b = false;
  DType type = DType::F32;
  Program epilogue;
  TUYERE_FIELDS(GatedMatMul, field("trans_b", &GatedMatMul::trans_b), field("type", &GatedMatMul::type), field("epilogue", &GatedMatMul::epilogue))
};

/// epilogue(convolution(x, w), extra...). x [N,C,spatial...], w [O,C/groups,kernel...] (transposed: [C,O/groups,kernel...]).
/// pad_before/pad_after per spatial dim. Inputs: x, w, then the epilogue's beyond input 0 (a bias is an epilogue input of shape [O,1,...]).
struct Conv {
  std::vector<int64_t> stride, pad_before, pad_after, dilation;
  int64_t groups = 1;
  bool transposed = false;
  std::vector<int64_t> output_padding;
  bool tf32 = false;
  DType type = DType::F32;
  Program epilogue;
  TUYERE_FIELDS(Conv, field("stride", &Conv::stride), field("pad_before", &Conv::pad_before), field("pad_after", &Conv::pad_after),
                field("dilation", &Conv::dilation), field("groups", &Conv::groups), field("transposed", &Conv::transposed),
                field("output_padding", &Conv::output_padding), field("tf32", &Conv::tf32), field("type", &Conv::type), field("epilogue", &Conv::epilogue))
};

/// epilogue(convolution(h, v), extra...) of an image h = expansion(convolution(x, w), extra...): pixels get more channels, then a depthwise window runs over
/// them. w, of one pixel, moves by one without padding; v has a row for each channel of h. x, w and v are as Conv's, channels in blocks or not; the lists,
/// complete, are the window's, and h is zero around its border. Inputs: x, w, v, then the expansion's beyond input 0, broadcast against h, then the
/// epilogue's beyond input 0. h has the type of x, but is not rounded to it.
struct ExpandedDepthwise {
  std::vector<int64_t> stride, pad_before, pad_after, dilation;
  DType type = DType::F32;
  Program expansion, epilogue;
  TUYERE_FIELDS(ExpandedDepthwise, field("stride", &ExpandedDepthwise::stride), field("pad_before", &ExpandedDepthwise::pad_before),
                field("pad_after", &ExpandedDepthwise::pad_after), field("dilation", &ExpandedDepthwise::dilation), field("type", &ExpandedDepthwise::type),
                field("expansion", &ExpandedDepthwise::expansion), field("epilogue", &ExpandedDepthwise::epilogue))
};

/// Gradient of a convolution's weight. Inputs: dy [N,O,out...], x [N,C,spatial...]; output: dw [O,C/groups,kernel...], the sum over n and positions of
/// dy[n,o,p...] * x[n,c,p * stride - pad_before + k * dilation]. f16/bf16/f32 accumulate in f32.
struct ConvWeightGradient {
  std::vector<int64_t> kernel, stride, pad_before, pad_after, dilation;
  int64_t groups = 1;
  DType type = DType::F32;
  TUYERE_FIELDS(ConvWeightGradient, field("kernel", &ConvWeightGradient::kernel), field("stride", &ConvWeightGradient::stride),
                field("pad_before", &ConvWeightGradient::pad_before), field("pad_after", &ConvWeightGradient::pad_after),
                field("dilation", &ConvWeightGradient::dilation), field("groups", &ConvWeightGradient::groups), field("type", &ConvWeightGradient::type))
};

/// Pooling over the trailing spatial dims. with_indices adds output 1 (i64, flat spatial index). divisor 0: the window's size.
struct Pool {
  PoolKind kind = PoolKind::max;
  std::vector<int64_t> kernel, stride, pad, dilation;
  bool ceil_mode = false, count_include_pad = true, with_indices = false;
  int64_t divisor = 0;
  TUYERE_FIELDS(Pool, field("kind", &Pool::kind), field("kernel", &Pool::kernel), field("stride", &Pool::stride), field("pad", &Pool::pad),
                field("dilation", &Pool::dilation), field("ceil_mode", &Pool::ceil_mode), field("count_include_pad", &Pool::count_include_pad),
                field("with_indices", &Pool::with_indices), field("divisor", &Pool::divisor))
};

/// PyTorch's adaptive pooling to the sizes `out` of the trailing spatial dims.
struct AdaptivePool {
  PoolKind kind = PoolKind::avg;
  std::vector<int64_t> out;
  TUYERE_FIELDS(AdaptivePool, field("kind", &AdaptivePool::kind), field("out", &AdaptivePool::out))
};

/// Gradient of a pooling of images with the spatial sizes `size`. Inputs: dy; for max, where each value of the output came from (Pool's indices). avg: the
/// attributes are Pool's, or there is no kernel, and the pooling was adaptive.
struct PoolGradient {
  PoolKind kind = PoolKind::avg;
  std::vector<int64_t> kernel, stride, pad;
  bool count_include_pad = true;
  int64_t divisor = 0;
  Shape size;
  TUYERE_FIELDS(PoolGradient, field("kind", &PoolGradient::kind), field("kernel", &PoolGradient::kernel), field("stride", &PoolGradient::stride),
                field("pad", &PoolGradient::pad), field("count_include_pad", &PoolGradient::count_include_pad), field("divisor", &PoolGradient::divisor),
                field("size", &PoolGradient::size))
};

/// A layer of recurrent cells over time, in one direction or in both (D: 1 or 2; the second runs from the last time to the first). G: gates of a cell, in
/// PyTorch's order: lstm 4 (i, f, g, o), gru 3 (r, z, n), tanh and relu 1. Inputs: x [N,T,D*G*H] (not batch_first: [T,N,D*G*H]), the products of the cells'
/// inputs with their weights, biases added; w [D*G*H,H] and bias [D*G*H] of the hidden states; the first hidden states [D,N,H]; for lstm the first cell
/// states [D,N,H]. Outputs: the hidden states [N,T,D*H] (or [T,N,D*H]), the last ones [D,N,H], for lstm the last cell states [D,N,H]. Sums in f32.
struct Recurrent {
  RecurrentKind kind = RecurrentKind::lstm;
  int64_t directions = 1;
  bool batch_first = false;
  DType type = DType::F32;
  TUYERE_FIELDS(Recurrent, field("kind", &Recurrent::kind), field("directions", &Recurrent::directions), field("batch_first", &Recurrent::batch_first),
                field("type", &Recurrent::type))
};
constexpr int64_t gates_of(RecurrentKind kind) { return kind == RecurrentKind::lstm ? 4 : kind == RecurrentKind::gru ? 3 : 1; }

/// softmax(scale * q @ k^T + mask) @ v. q [B,H,Sq,D], k [B,Hkv,Skv,D], v [B,Hkv,Skv,Dv], H a multiple of Hkv; any strides with D innermost.
/// mask (input 3 if has_mask): additive float, or bool (true = attend), broadcastable to [B,H,Sq,Skv]; it may also repeat along B. causal: query i attends keys
/// up to i. logsumexp: output 1 is log(sum(exp(scores))) of each row, f32 [B,H,Sq]; -inf where nothing may be attended.
struct Attention {
  double scale = 1.0;
  bool causal = false, has_mask = false, logsumexp = false;
  DType type = DType::F32;
  TUYERE_FIELDS(Attention, field("scale", &Attention::scale), field("causal", &Attention::causal), field("has_mask", &Attention::has_mask),
                field("logsumexp", &Attention::logsumexp), field("type", &Attention::type))
};

/// Gradients of Attention. Inputs: dout, q, k, v, out, logsumexp, and the mask if has_mask. Outputs: dq, dk, dv, of `type`.
struct AttentionGradient {
  double scale = 1.0;
  bool causal = false, has_mask = false;
  DType type = DType::F32;
  TUYERE_FIELDS(AttentionGradient, field("scale", &AttentionGradient::scale), field("causal", &AttentionGradient::causal),
                field("has_mask", &AttentionGradient::has_mask), field("type", &AttentionGradient::type))
};

struct Reshape {
  Shape shape;
  TUYERE_FIELDS(Reshape, field("shape", &Reshape::shape))
};
/// out dim i = in dim perm[i].
struct Permute {
  std::vector<int64_t> perm;
  TUYERE_FIELDS(Permute, field("perm", &Permute::perm))
};
/// NumPy broadcast_to.
struct Expand {
  Shape shape;
  TUYERE_FIELDS(Expand, field("shape", &Expand::shape))
};
/// x[start:end:step] along axis; 0 <= start <= end <= size already clamped, step > 0.
struct Slice {
  int64_t axis = 0;
  Dim start, end;
  int64_t step = 1;
  TUYERE_FIELDS(Slice, field("axis", &Slice::axis), field("start", &Slice::start), field("end", &Slice::end), field("step", &Slice::step))
};
struct Concat {
  int64_t axis = 0;
  TUYERE_FIELDS(Concat, field("axis", &Concat::axis))
};
/// before/after for every dim (negative values crop).
struct Pad {
  std::vector<int64_t> before, after;
  PadMode mode = PadMode::constant;
  double value = 0;
  TUYERE_FIELDS(Pad, field("before", &Pad::before), field("after", &Pad::after), field("mode", &Pad::mode), field("value", &Pad::value))
};
struct Flip {
  std::vector<int64_t> axes;
  TUYERE_FIELDS(Flip, field("axes", &Flip::axes))
};
/// numpy.take(x, index, axis): inputs x, index (i32/i64, any rank; negative counts from the end). Embedding is axis 0.
struct Gather {
  int64_t axis = 0;
  TUYERE_FIELDS(Gather, field("axis", &Gather::axis))
};
/// torch.gather: inputs x, index (same rank).
struct GatherElements {
  int64_t axis = 0;
  TUYERE_FIELDS(GatherElements, field("axis", &GatherElements::axis))
};
/// x[..., idx_0, idx_1, ...] with index tensors on consecutive `axes` that broadcast together: the result replaces those axes by the broadcast shape. Inputs x,
/// idx...
struct Index {
  std::vector<int64_t> axes;
  TUYERE_FIELDS(Index, field("axes", &Index::axes))
};
/// torch.scatter(_reduce): inputs x, index, src (same rank; src may be a scalar).
struct ScatterElements {
  int64_t axis = 0;
  ScatterKind kind = ScatterKind::set;
  TUYERE_FIELDS(ScatterElements, field("axis", &ScatterElements::axis), field("kind", &ScatterElements::kind))
};
/// x with x[..., idx...] = (or +=) values, axes as in Index. Inputs x, values, idx...
struct IndexPut {
  std::vector<int64_t> axes;
  bool accumulate = false;
  TUYERE_FIELDS(IndexPut, field("axes", &IndexPut::axes), field("accumulate", &IndexPut::accumulate))
};
/// start + step * [0, count)
struct Iota {
  DType type = DType::I64;
  Dim count, start, step = 1;
  TUYERE_FIELDS(Iota, field("type", &Iota::type), field("count", &Iota::count), field("start", &Iota::start), field("step", &Iota::step))
};
/// A tensor of one value; `dim` (when use_dim) makes the value a size known at prepare, so that shape arithmetic can enter the data.
struct Fill {
  DType type = DType::F32;
  Shape shape;
  double value = 0;
  bool use_dim = false;
  Dim dim;
  TUYERE_FIELDS(Fill, field("type", &Fill::type), field("shape", &Fill::shape), field("value", &Fill::value), field("use_dim", &Fill::use_dim),
                field("dim", &Fill::dim))
};
struct Cumulate {
  CumKind kind = CumKind::sum;
  int64_t axis = 0;
  DType type = DType::F32;
  TUYERE_FIELDS(Cumulate, field("kind", &Cumulate::kind), field("axis", &Cumulate::axis), field("type", &Cumulate::type))
};
/// Outputs: values, indices (i64).
struct TopK {
  Dim k;
  int64_t axis = -1;
  bool largest = true, sorted = true;
  TUYERE_FIELDS(TopK, field("k", &TopK::k), field("axis", &TopK::axis), field("largest", &TopK::largest), field("sorted", &TopK::sorted))
};
/// Outputs: values, indices (i64); always stable.
struct Sort {
  int64_t axis = -1;
  bool descending = false;
  TUYERE_FIELDS(Sort, field("axis", &Sort::axis), field("descending", &Sort::descending))
};
/// Resizes the trailing spatial dims to `size`. scales (per spatial dim, or empty) are PyTorch's recorded scale factors: coordinates use 1/scale when given,
/// in/out otherwise.
struct Resize {
  ResizeMode mode = ResizeMode::nearest;
  bool align_corners = false;
  Shape size;
  std::vector<double> scales;
  TUYERE_FIELDS(Resize, field("mode", &Resize::mode), field("align_corners", &Resize::align_corners), field("size", &Resize::size),
                field("scales", &Resize::scales))
};
/// A PyTorch op called from inside the program. `args`: JSON list, one entry per schema argument: {"tensor": k} | {"int": 3} | {"ints": [..]} | {"float": ..} |
/// {"bool": ..} | {"str": ..} | {"dtype": ..} | {"none": true} | {"tensors": [k, ...]}. Output types and shapes are known from the capture.
struct HostCall {
  std::string op, overload, args;
  std::vector<DType> types;
  std::vector<Shape> shapes;
  TUYERE_FIELDS(HostCall, field("op", &HostCall::op), field("overload", &HostCall::overload), field("args", &HostCall::args), field("types", &HostCall::types),
                field("shapes", &HostCall::shapes))
};
/// inputs: condition (bool scalar), then the arguments of both bodies.
struct If {
  int64_t then_body = 0, else_body = 0;
  TUYERE_FIELDS(If, field("then_body", &If::then_body), field("else_body", &If::else_body))
};
/// while cond_body(state...): state = loop_body(state...)
struct While {
  int64_t cond_body = 0, loop_body = 0;
  TUYERE_FIELDS(While, field("cond_body", &While::cond_body), field("loop_body", &While::loop_body))
};
struct Call {
  int64_t body = 0;
  TUYERE_FIELDS(Call, field("body", &Call::body))
};

using Op = std::variant<
#define OP(S, text, group) S,
#include "kernels/api/ops.def"
#undef OP
    std::monostate>;

/// The text name of ops.def.
std::string_view name(const Op& op);
enum class OpGroup { compute, view, control };
OpGroup group(const Op& op);
/// "conv stride=[2,2] pad_before=[1,1] epilogue={relu(add(i0:f32,i1:f32))}": fields that equal the default are left out.
std::string str(const Op& op);
/// Inverse of str(). Throws Error{User} naming the unknown op or field.
Op parse_op(std::string_view text);

}  // namespace tuyere
