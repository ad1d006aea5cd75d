// SPDX-License-Identifier: Apache-2.0
// Inference of every operator. The numbers are PyTorch's.
#include <gtest/gtest.h>

#include "common/error.h"
#include "core/network/network.h"

namespace tuyere {
namespace {

TensorType type_of(const std::string& text) {
  const size_t open = text.find('[');
  return {*parse_dtype(text.substr(0, open)), parse_shape(text.substr(open)), {}};
}

std::string inferred(const Op& op, const std::vector<std::string>& inputs) {
  std::vector<TensorType> types;
  for (const std::string& text : inputs) types.push_back(type_of(text));
  std::string out;
  for (const TensorType& type : infer(op, types)) out += (out.empty() ? "" : " ") + str(type);
  return out;
}

std::string error_of(const Op& op, const std::vector<std::string>& inputs) {
  try {
    return "no error: " + inferred(op, inputs);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::User);
    return error.what();
  }
}

Program function(Fn fn, std::vector<DType> inputs) { return single(fn, inputs); }

TEST(Infer, Pointwise) {
  const Pointwise add{function(Fn::add, {DType::F32, DType::F32}), {DType::F16}};
  EXPECT_EQ(inferred(add, {"f16[n,1,4]", "f16[3,1]"}), "f16[n,3,4]");
  EXPECT_EQ(inferred(Pointwise{}, {"f16[n,4]"}), "f16[n,4]");
  EXPECT_EQ(inferred(Pointwise{{}, {DType::F32}}, {"f16[n,4]"}), "f32[n,4]");
  const Pointwise less{function(Fn::lt, {DType::I64, DType::I64}), {DType::Bool}};
  EXPECT_EQ(inferred(less, {"i64[]", "i64[5]"}), "bool[5]");
  EXPECT_NE(error_of(add, {"f16[2]", "i64[2]"}).find("pointwise: program: input i1 is f32, but i64 is computed in i64"), std::string::npos);
  EXPECT_NE(error_of(add, {"f16[2]", "f16[3]"}).find("pointwise"), std::string::npos);
  EXPECT_NE(error_of(add, {"f16[2]"}).find("the program has 2 inputs, needs 1"), std::string::npos);
}

TEST(Infer, IllTypedProgram) {
  Pointwise op{function(Fn::add, {DType::F32, DType::F32}), {DType::F32}};
  op.program.body[0].type = DType::I32;
  EXPECT_NE(error_of(op, {"f32[2]", "f32[2]"}).find("v2 = add is i32, needs f32"), std::string::npos);
  op.program.body[0].args = {0, 2, -1};
  EXPECT_NE(error_of(op, {"f32[2]", "f32[2]"}).find("v2 = add has a bad argument 1"), std::string::npos);
}

TEST(Infer, Reduce) {
  Reduce op{.kind = ReduceKind::mean, .axes = {-1, 1}, .type = DType::F16};
  EXPECT_EQ(inferred(op, {"f16[n,8,4,5]"}), "f16[n,4]");
  op.keepdim = true;
  EXPECT_EQ(inferred(op, {"f16[n,8,4,5]"}), "f16[n,1,4,1]");
  op.axes = {1, -3};
  EXPECT_EQ(error_of(op, {"f16[n,8,4,5]"}), "error: reduce: axis -3 appears twice");
  op = {.kind = ReduceKind::sum, .axes = {1}, .type = DType::F32};
  op.prologue = function(Fn::mul, {DType::F32, DType::F32});
  op.epilogue = function(Fn::add, {DType::F32, DType::F32});
  EXPECT_EQ(inferred(op, {"f16[2,1,4]", "f16[3,1]", "f32[4]"}), "f32[2,4]");
  EXPECT_NE(error_of(op, {"f16[2,1,4]", "f16[3,1]", "f32[5]"}).find("epilogue input i1 of shape [5] does not broadcast to [2,4]"), std::string::npos);
  EXPECT_EQ(error_of(Reduce{.kind = ReduceKind::var, .type = DType::I32}, {"i32[2]"}), "error: reduce: a mean or variance needs a float type, got i32");
  EXPECT_EQ(inferred(Reduce{.axes = {}, .type = DType::I64}, {"i64[]"}), "i64[]");
}

TEST(Infer, AlongAnAxis) {
  EXPECT_EQ(inferred(ArgReduce{.axis = 1}, {"f32[n,7,3]"}), "i64[n,3]");
  EXPECT_EQ(inferred(ArgReduce{.axis = -1, .keepdim = true}, {"f32[n,7,3]"}), "i64[n,7,1]");
  EXPECT_EQ(inferred(Softmax{.axis = -1, .type = DType::F16}, {"f16[n,7]"}), "f16[n,7]");
  EXPECT_EQ(error_of(Softmax{.axis = 4}, {"f32[2,3,4,5]"}), "error: softmax: axis 4 out of range for rank 4");
  EXPECT_EQ(inferred(Cumulate{.axis = 0, .type = DType::I64}, {"i32[n,7]"}), "i64[n,7]");
  EXPECT_EQ(inferred(TopK{.k = 5, .axis = -1}, {"f16[n,10]"}), "f16[n,5] i64[n,5]");
  EXPECT_EQ(inferred(TopK{.k = Dim::symbol("k"), .axis = 0}, {"f16[10]"}), "f16[k] i64[k]");
  EXPECT_EQ(error_of(TopK{.k = 11, .axis = 1}, {"f16[n,10]"}), "error: topk: k 11 is larger than axis 1 of size 10");
  EXPECT_EQ(inferred(Sort{.axis = 0}, {"i32[n]"}), "i32[n] i64[n]");
  EXPECT_EQ(inferred(Flip{{0, -1}}, {"i8[2,n]"}), "i8[2,n]");
}

TEST(Infer, Norm) {
  Norm op{.kind = NormKind::layer, .axes = 2, .has_weight = true, .has_bias = true, .type = DType::F16};
  EXPECT_EQ(inferred(op, {"f16[n,4,8]", "f32[4,8]", "f32[4,8]"}), "f16[n,4,8]");
  EXPECT_EQ(error_of(op, {"f16[n,4,8]", "f32[4,8]", "f32[8]"}), "error: norm: bias has shape [8], needs [4,8]");
  op = {.kind = NormKind::group, .groups = 3, .has_weight = true, .type = DType::F32};
  EXPECT_EQ(inferred(op, {"f32[n,6,5,5]", "f32[6]"}), "f32[n,6,5,5]");
  op.groups = 4;
  EXPECT_EQ(error_of(op, {"f32[n,6,5,5]", "f32[6]"}), "error: norm: 6 channels do not divide into 4 groups");
  op = {.kind = NormKind::rms, .type = DType::F16, .extra_types = {DType::F16}};
  op.prologue = function(Fn::add, {DType::F32, DType::F32});
  op.prologue.outputs.push_back(op.prologue.outputs[0]);
  EXPECT_EQ(inferred(op, {"f16[n,8]", "f16[n,8]"}), "f16[n,8] f16[n,8]");
}

TEST(Infer, MatMul) {
  EXPECT_EQ(inferred(MatMul{}, {"f32[5,1,3,4]", "f32[7,4,6]"}), "f32[5,7,3,6]");
  EXPECT_EQ(inferred(MatMul{.trans_a = true, .trans_b = true, .type = DType::F16}, {"f16[n,4,3]", "f16[6,4]"}), "f16[n,3,6]");
  EXPECT_EQ(error_of(MatMul{}, {"f32[2,3]", "f32[4,5]"}), "error: matmul: inner sizes 3 and 4 differ ([2,3] times [4,5])");
  EXPECT_EQ(error_of(MatMul{}, {"f32[2,3]", "f16[3,5]"}), "error: matmul: input 1 is f16, input 0 is f32");
  EXPECT_EQ(error_of(MatMul{}, {"f32[3]", "f32[3,5]"}), "error: matmul: input 0 has rank 1, needs at least 2");
  MatMul bias;
  bias.epilogue = function(Fn::add, {DType::F32, DType::F32});
  EXPECT_EQ(inferred(bias, {"f32[n,3]", "f32[3,5]", "f32[5]"}), "f32[n,5]");
  EXPECT_EQ(error_of(bias, {"f32[n,3]", "f32[3,5]"}), "error: matmul: takes 3 inputs, got 2");
}

TEST(Infer, Recurrent) {
  const Recurrent lstm{.directions = 2, .batch_first = true, .type = DType::BF16};
  EXPECT_EQ(inferred(lstm, {"f32[n,t,80]", "bf16[80,10]", "bf16[80]", "bf16[2,n,10]", "bf16[2,n,10]"}), "bf16[n,t,20] bf16[2,n,10] bf16[2,n,10]");
  const Recurrent gru{.kind = RecurrentKind::gru};
  EXPECT_EQ(inferred(gru, {"f32[7,3,30]", "f32[30,10]", "f32[30]", "f32[1,3,10]"}), "f32[7,3,10] f32[1,3,10]");
  EXPECT_EQ(error_of(gru, {"f32[7,3,40]", "f32[30,10]", "f32[30]", "f32[1,3,10]"}), "error: recurrent: hidden states of size 10 need 30 gates, got 40");
  EXPECT_EQ(error_of(gru, {"f32[7,3,30]", "f32[30,10]", "f32[30]", "f32[1,7,10]"}), "error: recurrent: the hidden state has shape [1,7,10], needs [1,3,10]");
}

TEST(Infer, Attention) {
  Attention op{.has_mask = true, .type = DType::F16};
  EXPECT_EQ(inferred(op, {"f16[b,8,s,64]", "f16[b,2,t,64]", "f16[b,2,t,32]", "bool[1,1,s,t]"}), "f16[b,8,s,32]");
  EXPECT_EQ(error_of(op, {"f16[1,8,5,64]", "f16[1,3,7,64]", "f16[1,3,7,64]", "bool[1,1,5,7]"}),
            "error: attention: 8 query heads are no multiple of 3 key heads");
  EXPECT_EQ(error_of(op, {"f16[1,8,5,64]", "f16[1,8,7,64]", "f16[1,8,7,64]", "f16[5,8]"}),
            "error: attention: mask of shape [5,8] does not broadcast to [1,8,5,7]");
  EXPECT_EQ(inferred(op, {"f16[4*b,8,s,64]", "f16[4*b,2,t,64]", "f16[4*b,2,t,32]", "bool[4,1,s,t]"}), "f16[4*b,8,s,32]");
  EXPECT_EQ(error_of(op, {"f16[6,8,5,64]", "f16[6,8,7,64]", "f16[6,8,7,64]", "f16[4,1,5,7]"}),
            "error: attention: mask of shape [4,1,5,7] does not broadcast to [6,8,5,7]");
}

TEST(Infer, Conv) {
  Conv op{.stride = {2, 3}, .pad_before = {1, 2}, .pad_after = {1, 2}, .dilation = {2, 1}, .groups = 2};
  EXPECT_EQ(inferred(op, {"f32[2,6,15,20]", "f32[8,3,3,5]"}), "f32[2,8,7,7]");
  EXPECT_EQ(inferred(Conv{.stride = {3}, .groups = 4}, {"f32[1,4,50]", "f32[4,1,7]"}), "f32[1,4,15]");
  EXPECT_EQ(inferred(Conv{}, {"f32[1,2,8,9,10]", "f32[5,2,2,3,4]"}), "f32[1,5,7,7,7]");
  EXPECT_EQ(inferred(Conv{.pad_before = {1, 1}, .pad_after = {1, 1}}, {"f32[n,3,h,w]", "f32[8,3,3,3]"}), "f32[n,8,h,w]");
  Conv up{.stride = {2, 3}, .pad_before = {1, 0}, .pad_after = {1, 0}, .dilation = {2, 1}, .groups = 3, .transposed = true, .output_padding = {1, 2}};
  EXPECT_EQ(inferred(up, {"f32[2,6,7,9]", "f32[6,4,3,2]"}), "f32[2,12,16,28]");
  const Conv plain{.stride = {1, 2}, .pad_before = {1, 1}, .pad_after = {1, 1}, .dilation = {1, 1}};
  EXPECT_EQ(inferred(plain, {"f32[n,4,8,9,16]", "f32[2,64,3,3,8]"}), "f32[n,2,8,5,8]");
  EXPECT_EQ(inferred(plain, {"f32[n,3,8,9]", "f32[2,3,3,3,16]"}), "f32[n,2,8,5,16]");
  EXPECT_EQ(inferred(plain, {"f32[n,4,8,9,16]", "f32[7,64,3,3]"}), "f32[n,7,8,5]");
  EXPECT_EQ(error_of(plain, {"f32[1,2,8,8,16]", "f32[2,16,3,3,16]"}),
            "error: conv: the input has 32 channels, the weight [2,16,3,3,16] with groups=1 needs 16");
  EXPECT_EQ(error_of(Conv{}, {"f32[1,4,8,8]", "f32[8,3,3,3]"}), "error: conv: the input has 4 channels, the weight [8,3,3,3] with groups=1 needs 3");
  EXPECT_EQ(error_of(Conv{}, {"f32[1,3,2,8]", "f32[8,3,3,3]"}), "error: conv: the kernel of size 3 does not fit spatial dimension 0 of size 2 with padding");
  EXPECT_EQ(error_of(Conv{.stride = {1}}, {"f32[1,3,8,8]", "f32[8,3,3,3]"}), "error: conv: stride has 1 entries for 2 spatial dimensions");
}

TEST(Infer, ExpandedDepthwise) {
  ExpandedDepthwise op{.stride = {2, 1}, .pad_before = {1, 0}, .pad_after = {1, 2}, .dilation = {1, 1}, .type = DType::BF16};
  EXPECT_EQ(inferred(op, {"f32[n,4,8,9,16]", "f32[6,64,1,1,8]", "f32[6,1,3,3,8]"}), "bf16[n,6,4,9,8]");
  EXPECT_EQ(inferred(op, {"f32[n,3,h,9]", "f32[7,3,1,1]", "f32[7,1,3,3]"}), "bf16[n,7,(h+1)//2,9]");
  EXPECT_EQ(error_of(op, {"f32[1,4,8,9,16]", "f32[6,32,1,1,8]", "f32[6,1,3,3,8]"}),
            "error: expanded_depthwise: the input has 64 channels, the weight [6,32,1,1,8] with groups=1 needs 32");
  EXPECT_EQ(error_of(op, {"f32[1,3,8,9]", "f32[7,3,1,2]", "f32[7,1,3,3]"}),
            "error: expanded_depthwise: the expansion's weight [7,3,1,2] has more than one pixel");
  EXPECT_EQ(error_of(op, {"f32[1,3,8,9]", "f32[7,3,1,1]", "f32[14,1,3,3]"}), "error: expanded_depthwise: the weights [7,3,1,1] and [14,1,3,3] differ in rows");
  EXPECT_EQ(error_of(op, {"f32[1,3,8,9]", "f32[7,3,1,1]", "f32[7,2,3,3]"}),
            "error: expanded_depthwise: the input has 7 channels, the weight [7,2,3,3] with groups=7 needs 14");
  op.dilation.clear();
  EXPECT_EQ(error_of(op, {"f32[1,3,8,9]", "f32[7,3,1,1]", "f32[7,1,3,3]"}), "error: expanded_depthwise: a list has 0 entries for 2 spatial dimensions");
}

struct PoolCase {
  int64_t in, kernel, stride, pad, dilation;
  bool ceil;
  const char* out;
};

TEST(Infer, PoolSizes) {
  for (const PoolCase& c : {PoolCase{7, 3, 2, 1, 1, true, "4"},
                            {7, 3, 2, 1, 1, false, "4"},
                            {6, 2, 2, 0, 1, true, "3"},
                            {5, 2, 2, 1, 1, true, "3"},
                            {10, 3, 3, 1, 2, true, "4"},
                            {10, 3, 4, 1, 2, false, "2"},
                            {4, 1, 3, 0, 1, true, "2"},
                            {5, 3, 5, 1, 1, true, "2"}}) {
    const Pool op{.kernel = {c.kernel}, .stride = {c.stride}, .pad = {c.pad}, .dilation = {c.dilation}, .ceil_mode = c.ceil};
    EXPECT_EQ(inferred(op, {"f32[1,1," + std::to_string(c.in) + "]"}), std::string("f32[1,1,") + c.out + "]") << c.in << " " << c.kernel << " " << c.stride;
  }
}

TEST(Infer, PoolSymbolicAgreesWithNumbers) {
  for (bool ceil : {false, true}) {
    const Pool op{.kernel = {3, 2}, .stride = {2, 3}, .pad = {1, 0}, .dilation = {1, 1}, .ceil_mode = ceil};
    const Shape symbolic = infer(op, std::vector<TensorType>{type_of("f32[n,4,h,w]")})[0].shape;
    for (int64_t h = 3; h < 20; ++h) {
      Symbols symbols;
      for (const char* s : {"n", "h", "w"}) symbols.set(s, h);
      const TensorType numbers{DType::F32, {h, 4, h, h}, {}};
      EXPECT_EQ(eval(symbolic, symbols), to_ints(infer(op, std::vector<TensorType>{numbers})[0].shape));
    }
  }
}

TEST(Infer, OtherSpatial) {
  EXPECT_EQ(inferred(Pool{.kernel = {2, 2}, .with_indices = true}, {"f16[n,4,8,8]"}), "f16[n,4,4,4] i64[n,4,4,4]");
  EXPECT_EQ(error_of(Pool{.kernel = {2}, .pad = {2}}, {"f16[1,4,8]"}), "error: pool: padding 2 is more than half the kernel of size 2");
  EXPECT_EQ(inferred(AdaptivePool{.out = {7, 1}}, {"f32[n,3,h,w]"}), "f32[n,3,7,1]");
  EXPECT_EQ(inferred(Resize{.mode = ResizeMode::linear, .size = parse_shape("[2*h,2*w]")}, {"f32[n,3,h,w]"}), "f32[n,3,2*h,2*w]");
  EXPECT_EQ(error_of(Resize{.mode = ResizeMode::cubic, .size = {4}}, {"f32[1,3,8]"}), "error: resize: cubic resizing needs 2 spatial dimensions, got 1");
}

TEST(Infer, Views) {
  EXPECT_EQ(inferred(Reshape{parse_shape("[n,24]")}, {"f32[n,2,3,4]"}), "f32[n,24]");
  EXPECT_EQ(error_of(Reshape{parse_shape("[5,5]")}, {"f32[2,3,4]"}), "error: reshape: cannot reshape [2,3,4] to [5,5]: 24 elements are not 25");
  EXPECT_EQ(inferred(Permute{{2, 0, 1}}, {"f32[n,3,4]"}), "f32[4,n,3]");
  EXPECT_EQ(error_of(Permute{{0, 0}}, {"f32[3,4]"}), "error: permute: axis 0 appears twice");
  EXPECT_EQ(inferred(Expand{parse_shape("[n,3,4]")}, {"f32[3,1]"}), "f32[n,3,4]");
  EXPECT_EQ(error_of(Expand{parse_shape("[2,4]")}, {"f32[3]"}), "error: expand: the input of shape [3] does not broadcast to [2,4]");
  EXPECT_EQ(inferred(Slice{.axis = 1, .start = 1, .end = 8, .step = 3}, {"f32[n,10]"}), "f32[n,3]");
  EXPECT_EQ(inferred(Slice{.axis = -1, .start = 2, .end = Dim::symbol("n")}, {"f32[n]"}), "f32[n-2]");
  EXPECT_EQ(error_of(Slice{.axis = 0, .start = 0, .end = 11}, {"f32[10]"}), "error: slice: range 0:11 does not lie in axis 0 of size 10");
}

TEST(Infer, ConcatAndPad) {
  EXPECT_EQ(inferred(Concat{1}, {"f32[2,n]", "f32[2,m]", "f32[2,n]"}), str(TensorType{DType::F32, parse_shape("[2,2*n+m]"), {}}));
  EXPECT_EQ(error_of(Concat{0}, {"f32[2,3]", "f32[2,4]"}), "error: concat: input 1 of shape [2,4] differs from input 0 of shape [2,3] in dimension 1");
  EXPECT_EQ(inferred(Pad{.before = {0, 1}, .after = {0, -2}}, {"f32[n,5]"}), "f32[n,4]");
  EXPECT_EQ(error_of(Pad{.before = {3}, .after = {0}, .mode = PadMode::reflect}, {"f32[3]"}),
            "error: pad: reflection padding 3 needs dimension 0 of size 3 to be larger");
}

TEST(Infer, Indexing) {
  EXPECT_EQ(inferred(Gather{0}, {"f16[1000,64]", "i64[n,s]"}), "f16[n,s,64]");
  EXPECT_EQ(inferred(Gather{1}, {"f16[3,9,4]", "i32[]"}), "f16[3,4]");
  EXPECT_EQ(error_of(Gather{0}, {"f16[9]", "f32[2]"}), "error: gather: input 1 is an index and must be i32 or i64, got f32");
  EXPECT_EQ(inferred(GatherElements{1}, {"f32[3,9]", "i64[2,20]"}), "f32[2,20]");
  EXPECT_EQ(error_of(GatherElements{1}, {"f32[3,9]", "i64[4,2]"}),
            "error: gather_elements: index of shape [4,2] is larger than the input of shape [3,9] in dimension 0");
  EXPECT_EQ(inferred(Index{{1, 2}}, {"f32[n,5,6,7]", "i64[4,1]", "i64[3]"}), "f32[n,4,3,7]");
  EXPECT_EQ(error_of(Index{{0, 2}}, {"f32[4,5,6]", "i64[4]", "i64[4]"}), "error: index: axes must be consecutive, got 2 after 0");
  EXPECT_EQ(inferred(ScatterElements{.axis = 0}, {"f32[5,3]", "i64[2,3]", "f32[2,3]"}), "f32[5,3]");
  EXPECT_EQ(inferred(ScatterElements{.axis = 0}, {"f32[5,3]", "i64[2,3]", "f32[]"}), "f32[5,3]");
  EXPECT_EQ(inferred(IndexPut{.axes = {0}}, {"f32[5,3]", "f32[3]", "i64[n]"}), "f32[5,3]");
  EXPECT_EQ(error_of(IndexPut{.axes = {0}}, {"f32[5,3]", "f32[4]", "i64[2]"}), "error: index_put: values of shape [4] does not broadcast to [2,3]");
}

TEST(Infer, CreationAndHostCall) {
  EXPECT_EQ(inferred(Iota{.count = Dim::symbol("n")}, {}), "i64[n]");
  EXPECT_EQ(inferred(Fill{.type = DType::F16, .shape = parse_shape("[n,2]"), .value = 1}, {}), "f16[n,2]");
  const HostCall call{.op = "torchvision::nms", .types = {DType::I64}, .shapes = {parse_shape("[u0]")}};
  EXPECT_EQ(inferred(call, {"f32[n,4]", "f32[n]"}), "i64[u0]");
  EXPECT_EQ(error_of(HostCall{.op = "a::b", .types = {DType::I64}}, {}), "error: host_call: has 1 types and 0 shapes");
}

}  // namespace
}  // namespace tuyere
