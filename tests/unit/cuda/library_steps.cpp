// SPDX-License-Identifier: Apache-2.0
// Steps of closed libraries as text and as problems see them. No device is needed.
#include <gtest/gtest.h>

#include "kernels/cublaslt/cublaslt_tactics.h"
#include "kernels/cudnn/cudnn_tactics.h"

namespace tuyere {
namespace {

Target absent() {
  Target target;
  target.kind = Target::Kind::Cuda;
  target.sm = 90;
  target.multiprocessors = 132;
  target.present = false;
  return target;
}

TensorDesc channels_last(DType type, const std::vector<int64_t>& shape) {
  TensorDesc t = desc(type, Shape(shape.begin(), shape.end()));
  std::vector<int64_t> strides = contiguous_strides(shape);
  int64_t next = shape[1];
  strides[1] = 1;
  for (size_t i = shape.size(); i-- > 2;) {
    strides[i] = next;
    next *= shape[i];
  }
  strides[0] = next;
  t.strides.assign(strides.begin(), strides.end());
  return t;
}

Problem matmul(DType type, const char* epilogue, std::vector<Shape> extras) {
  MatMul op;
  op.type = type;
  if (*epilogue) op.epilogue = parse_program(epilogue);
  Problem p;
  p.op = op;
  p.in = {desc(type, {128, 64}), desc(type, {64, 256})};
  for (const Shape& shape : extras) p.in.push_back(desc(type, shape));
  p.out = {desc(type, {128, 256})};
  return p;
}

Problem conv(const char* epilogue, DType bias, bool residual, int64_t groups = 1) {
  Conv op;
  op.stride = {1, 1}, op.pad_before = {1, 1}, op.pad_after = {1, 1}, op.dilation = {1, 1};
  op.output_padding = {0, 0};
  op.groups = groups;
  op.type = DType::F16;
  if (*epilogue) op.epilogue = parse_program(epilogue);
  Problem p;
  p.op = op;
  p.in = {channels_last(DType::F16, {2, 64, 14, 14}), channels_last(DType::F16, {64, 64 / groups, 3, 3})};
  if (*epilogue) p.in.push_back(desc(bias, {64, 1, 1}));
  if (residual) p.in.push_back(channels_last(DType::F16, {2, 64, 14, 14}));
  p.out = {channels_last(DType::F16, {2, 64, 14, 14})};
  return p;
}

TEST(LtLayout, RowsOrColumnsAreContiguous) {
  LtLayout layout;
  ASSERT_TRUE(lt_layout(4, 8, 1, 4, &layout));
  EXPECT_FALSE(layout.transposed);
  EXPECT_EQ(layout.leading, 4);
  ASSERT_TRUE(lt_layout(4, 8, 10, 1, &layout));
  EXPECT_TRUE(layout.transposed);
  EXPECT_EQ(layout.leading, 10);
  ASSERT_TRUE(lt_layout(1, 8, 77, 3, &layout));
  EXPECT_EQ(layout.leading, 3);
  EXPECT_FALSE(lt_layout(4, 8, 2, 16, &layout)) << "no stride of 1";
  EXPECT_FALSE(lt_layout(4, 8, 0, 1, &layout)) << "broadcast rows";
}

TEST(LtStep, RoundTrip) {
  LtStep step;
  step.m = Dim::symbol("n") * 2, step.n = 256, step.k = 64;
  step.type = step.out = DType::BF16;
  step.a = {0, {64, 1, 0}, 256}, step.b = {1, {256, 1, 0}, 16}, step.d = {3, {256, 1, 0}, 256};
  step.bias = 2, step.act = "relu", step.algo = "00ff", step.tuned = {8, 256, 64, 1}, step.version = 130100, step.then = "{}";
  const auto read = parse_lt_step(to_json(step));
  ASSERT_TRUE(read.is_ok()) << read.status().message();
  EXPECT_EQ(read.value(), step);
  EXPECT_EQ(parse_lt_step("{").status().code(), Code::DataLoss);
  EXPECT_EQ(parse_lt_step("{\"m\":1,\"n\":1,\"k\":1,\"batch\":1,\"type\":\"f16\",\"out\":\"f16\"}").status().code(), Code::DataLoss);
}

TEST(LtStep, EpiloguesThatFuse) {
  LtStep step;
  bool fused = false;
  ASSERT_TRUE(make_lt_step(matmul(DType::F16, "relu(add(i0:f32, i1:f32))", {{256}}), &step, &fused));
  EXPECT_TRUE(fused);
  EXPECT_EQ(step.bias, 2);
  EXPECT_EQ(step.act, "relu");
  ASSERT_TRUE(make_lt_step(matmul(DType::F16, "add(add(i0:f32, i1:f32), i2:f32)", {{256}, {128, 256}}), &step, &fused));
  EXPECT_TRUE(fused);
  EXPECT_EQ(step.bias, 2);
  EXPECT_EQ(step.c.position, 3);
  ASSERT_TRUE(make_lt_step(matmul(DType::F16, "gelu_erf(add(i0:f32, i1:f32))", {{256}}), &step, &fused));
  EXPECT_FALSE(fused) << "the library's GELU is the tanh form";
  EXPECT_EQ(step.bias, -1);
}

TEST(LtStep, ColumnMajorResultsExchangeTheOperands) {
  Problem p = matmul(DType::F32, "", {});
  p.out[0].strides = {1, 128};
  LtStep step;
  bool fused = false;
  ASSERT_TRUE(make_lt_step(p, &step, &fused));
  EXPECT_EQ(step.m.value(), 256);
  EXPECT_EQ(step.n.value(), 128);
  EXPECT_EQ(step.a.position, 1);
  EXPECT_EQ(step.d.strides[0].value(), 128);
  EXPECT_EQ(step.d.strides[1].value(), 1);
  EXPECT_EQ(step.a.strides[0].value(), 1);  // rows of a are the columns of w
  EXPECT_EQ(step.a.strides[1].value(), 256);
}

TEST(LtStep, RefusesWithReasons) {
  LtStep step;
  bool fused = false;
  Problem p = matmul(DType::F64, "", {});
  EXPECT_EQ(make_lt_step(p, &step, &fused).reason(), "cuBLASLt steps are for f16, bf16 and f32");
  p = matmul(DType::F16, "", {});
  p.in[0].strides = {128, 2};
  EXPECT_EQ(make_lt_step(p, &step, &fused).reason(), "the first operand has no stride of 1");
}

TEST(CudnnStep, RoundTrip) {
  CudnnStep step = make_cudnn_step(conv("relu(add(add(i0:f32, i1:f32), i2:f32))", DType::F16, true), ConvForm::fused);
  step.config = "eng=41 k2=0", step.tuned = {1, 2, 3}, step.version = 91900, step.then = "{}";
  const auto read = parse_cudnn_step(to_json(step));
  ASSERT_TRUE(read.is_ok()) << read.status().message();
  EXPECT_EQ(read.value(), step);
  EXPECT_EQ(parse_cudnn_step("[]").status().code(), Code::DataLoss);
}

TEST(CudnnStep, CanonicalOrderIsResidualBiasActivation) {
  const Problem p = conv("relu(add(add(i0:f32, i1:f32), i2:f32))", DType::F16, true);
  ConvForms forms;
  ASSERT_TRUE(conv_forms(p, absent(), &forms));
  EXPECT_TRUE(forms.precompiled);
  EXPECT_EQ(forms.forms, std::vector<ConvForm>{ConvForm::fused});
  const CudnnStep step = make_cudnn_step(p, ConvForm::fused);
  ASSERT_EQ(step.pointwise.size(), 3u);
  EXPECT_EQ(step.tensors[step.pointwise[0].b].position, 3);
  EXPECT_EQ(step.tensors[step.pointwise[1].b].position, 2);
  EXPECT_EQ(step.pointwise[2].fn, "relu");
  EXPECT_EQ(step.tensors[step.pointwise[2].y].position, 4);
  EXPECT_EQ(step.tensors[step.y].position, -1);
  EXPECT_EQ(step.pointwise[0].x, step.y);
}

TEST(CudnnStep, FormsOfEpilogues) {
  ConvForms forms;
  ASSERT_TRUE(conv_forms(conv("relu(add(i0:f32, i1:f32))", DType::F32, false), absent(), &forms));
  EXPECT_FALSE(forms.precompiled) << "an f32 bias";
  EXPECT_EQ(forms.forms, (std::vector<ConvForm>{ConvForm::fused, ConvForm::split}));
  ASSERT_TRUE(conv_forms(conv("relu(add(i0:f32, i1:f32))", DType::F16, false, 64), absent(), &forms));
  EXPECT_EQ(forms.forms.front(), ConvForm::split) << "depthwise";
  Problem transposed = conv("relu(add(i0:f32, i1:f32))", DType::F16, false);
  std::get<Conv>(transposed.op).transposed = true;
  ASSERT_TRUE(conv_forms(transposed, absent(), &forms));
  EXPECT_EQ(forms.forms.front(), ConvForm::split) << "transposed";
  ASSERT_TRUE(conv_forms(conv("sin(add(i0:f32, i1:f32))", DType::F16, false), absent(), &forms));
  EXPECT_EQ(forms.forms, std::vector<ConvForm>{ConvForm::split});
  const CudnnStep split = make_cudnn_step(conv("sin(add(i0:f32, i1:f32))", DType::F16, false), ConvForm::split);
  EXPECT_TRUE(split.pointwise.empty());
  EXPECT_EQ(split.tensors[split.y].position, 3);
}

TEST(CudnnStep, GradientOfAWeight) {
  const Problem p = parse_problem(
      "conv_weight_gradient kernel=[3,3] stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=2 | f32[4,64,8,8]{4096,1,512,64}, "
      "f32[4,32,16,16]{8192,1,512,32} -> f32[64,16,3,3]{144,1,48,16}");
  ASSERT_TRUE(cudnn_weight_gradient_fits(p, absent()));
  CudnnStep step = make_cudnn_weight_gradient_step(p);
  EXPECT_TRUE(step.weight_gradient);
  EXPECT_EQ(str(step.tensors[step.x].dims), "[4,32,16,16]");
  EXPECT_EQ(str(step.tensors[step.w].dims), "[64,16,3,3]");
  EXPECT_EQ(str(step.tensors[step.y].dims), "[4,64,8,8]");
  EXPECT_EQ(step.tensors[step.y].position, 0);
  EXPECT_EQ(step.tensors[step.x].position, 1);
  EXPECT_EQ(step.tensors[step.w].position, 2);
  step.config = "eng=1 k2=0", step.tuned = {1, 2, 3}, step.version = 91900;
  const auto read = parse_cudnn_step(to_json(step));
  ASSERT_TRUE(read.is_ok()) << read.status().message();
  EXPECT_EQ(read.value(), step);
  step.transposed = true;
  EXPECT_EQ(parse_cudnn_step(to_json(step)).status().code(), Code::DataLoss);
}

TEST(CudnnStep, OneDimensionGetsASecond) {
  Conv op;
  op.stride = {2}, op.pad_before = {1}, op.pad_after = {1}, op.dilation = {1}, op.output_padding = {0};
  op.type = DType::F32;
  Problem p;
  p.op = op;
  p.in = {desc(DType::F32, {4, 8, 32}), desc(DType::F32, {16, 8, 3})};
  p.out = {desc(DType::F32, {4, 16, 16})};
  const CudnnStep step = make_cudnn_step(p, ConvForm::fused);
  EXPECT_EQ(step.stride, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(step.pad_before, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(str(step.tensors[step.x].dims), "[4,8,1,32]");
  EXPECT_EQ(str(step.tensors[step.x].strides), "[256,32,32,1]");
}

/// Heads out of one buffer [b, s, (heads + 2 * kv_heads) * d].
Problem attention(DType type, int64_t queries, int64_t keys, int64_t heads, int64_t kv_heads, int64_t depth) {
  Attention op;
  op.scale = 0.125;
  op.type = type;
  Problem p;
  p.op = op;
  const int64_t row = (heads + 2 * kv_heads) * depth;
  for (int i = 0; i < 3; ++i) {
    p.in.push_back(desc(type, {2, i ? kv_heads : heads, i ? keys : queries, depth}));
    p.in.back().strides = {(i ? keys : queries) * row, depth, row, 1};
  }
  p.out = {desc(type, {2, heads, queries, depth})};
  return p;
}

TEST(CudnnAttention, StepOfSharedHeads) {
  Problem p = attention(DType::BF16, 40, 70, 8, 2, 64);
  std::get<Attention>(p.op).causal = true;
  ASSERT_TRUE(cudnn_attention_fits(p));
  CudnnStep step = make_cudnn_attention_step(p);
  ASSERT_TRUE(step.attention);
  EXPECT_TRUE(step.attention->causal);
  const CudnnTensor& k = step.tensors[step.attention->k];
  EXPECT_EQ(str(k.dims), "[2,2,64,70]") << "the transpose";
  EXPECT_EQ(str(k.strides), "[53760,64,1,768]");
  EXPECT_EQ(step.tensors[step.attention->o].position, 3);
  step.config = "eng=2 k24=7", step.tuned = {1, 2}, step.version = 91900;
  const auto read = parse_cudnn_step(to_json(step));
  ASSERT_TRUE(read.is_ok()) << read.status().message();
  EXPECT_EQ(read.value(), step);
}

TEST(CudnnAttention, MaskIsABias) {
  Problem p = attention(DType::F16, 40, 70, 4, 4, 64);
  std::get<Attention>(p.op).has_mask = true;
  p.in.push_back(desc(DType::F16, {40, 70}));
  ASSERT_TRUE(cudnn_attention_fits(p));
  const CudnnStep step = make_cudnn_attention_step(p);
  const CudnnTensor& bias = step.tensors[step.attention->bias];
  EXPECT_EQ(str(bias.dims), "[1,1,40,70]");
  EXPECT_EQ(str(bias.strides), "[2800,2800,70,1]");
  EXPECT_EQ(bias.position, 3);
  EXPECT_EQ(step.tensors[step.attention->o].position, 4);
  p.in[3] = desc(DType::F16, {2, 1, 1, 70});
  EXPECT_EQ(cudnn_attention_fits(p).reason(), "the mask broadcasts over queries or keys");
  p.in[3] = desc(DType::Bool, {40, 70});
  EXPECT_EQ(cudnn_attention_fits(p).reason(), "the mask is not added in the queries' type");
}

TEST(CudnnAttention, RefusesWithReasons) {
  EXPECT_EQ(cudnn_attention_fits(attention(DType::F32, 8, 8, 2, 2, 64)).reason(), "not f16 or bf16");
  EXPECT_EQ(cudnn_attention_fits(attention(DType::F16, 8, 8, 2, 2, 192)).reason(), "head size is not a multiple of 8 up to 128");
  Problem p = attention(DType::F16, 8, 8, 2, 2, 64);
  p.in[1].alignment = 2;
  EXPECT_EQ(cudnn_attention_fits(p).reason(), "the key is not aligned to 16 bytes");
  p = attention(DType::F16, 8, 8, 2, 2, 64);
  p.in[2].strides[1] = 0;
  EXPECT_EQ(cudnn_attention_fits(p).reason(), "the value has strides that are not multiples of 16 bytes");
  p = attention(DType::F16, 8, 8, 2, 2, 64);
  p.in[0].shape[2] = p.out[0].shape[2] = Dim::symbol("s");
  EXPECT_EQ(cudnn_attention_fits(p).reason(), "symbolic sizes: a plan would be compiled for every shape");
  EXPECT_EQ(parse_cudnn_step(R"({"tensors":[],"attention":{"q":0,"k":1,"v":2,"o":3,"scale":1}})").status().code(), Code::DataLoss);
}

Problem pixels(DType bias, bool padded) {
  Problem p = conv("relu(add(add(i0:f32, i1:f32), i2:f32))", bias, true);
  auto& op = std::get<Conv>(p.op);
  p.in[1] = channels_last(DType::F16, {64, 64, 1, 1});
  op.pad_before = op.pad_after = {padded, padded};
  return p;
}

TEST(Products, ConvolutionsOfPixels) {
  const auto product = as_matmul(pixels(DType::F16, false));
  ASSERT_TRUE(product);
  EXPECT_EQ(
      key(*product),
      "matmul trans_b=true type=f16 epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))} | f16[392,64], f16[64,64], f16[1,64]{1,1}, f16[392,64] -> f16[392,64]");
  LtStep step;
  bool fused = false;
  ASSERT_TRUE(make_lt_step(*product, &step, &fused));
  EXPECT_TRUE(fused);
  EXPECT_EQ(step.bias, 2);
  EXPECT_EQ(step.c.position, 3);
  EXPECT_EQ(step.d.position, 4);
  EXPECT_FALSE(as_matmul(pixels(DType::F16, true)));
  EXPECT_FALSE(as_matmul(conv("", DType::F16, false)));
}

TEST(Products, MatricesAsImages) {
  Problem p = matmul(DType::F16, "gelu_erf(add(add(i0:f32, i1:f32), i2:f32))", {{256}, {2, 128, 256}});
  auto& op = std::get<MatMul>(p.op);
  p.in[0] = desc(DType::F16, {2, 128, 64}), p.in[1] = desc(DType::F16, {256, 64}), p.out = {desc(DType::F16, {2, 128, 256})};
  EXPECT_FALSE(as_conv(p)) << "columns of weights";
  op.trans_b = true;
  const auto image = as_conv(p);
  ASSERT_TRUE(image);
  ConvForms forms;
  ASSERT_TRUE(conv_forms(*image, absent(), &forms));
  EXPECT_EQ(forms.forms.front(), ConvForm::fused);
  const CudnnStep step = make_cudnn_step(*image, ConvForm::fused);
  const CudnnTensor &x = step.tensors[step.x], &w = step.tensors[step.w];
  EXPECT_EQ(x.dims, (std::vector<Dim>{2, 64, 128, 1}));
  EXPECT_EQ(x.strides, (std::vector<Dim>{8192, 1, 64, 64}));
  EXPECT_EQ(w.dims, (std::vector<Dim>{256, 64, 1, 1}));
  EXPECT_EQ(step.pointwise.size(), 3u);
}

TEST(CudnnStep, CanonicalStrides) {
  std::vector<int64_t> strides{64, 1, 99, 64};
  canonical_strides({2, 64, 1, 1}, strides);
  EXPECT_EQ(strides, (std::vector<int64_t>{64, 1, 64, 64}));
  strides = {784, 196, 14, 1};
  canonical_strides({1, 4, 14, 14}, strides);
  EXPECT_EQ(strides, (std::vector<int64_t>{784, 196, 14, 1}));
  strides = {1000, 1, 70, 5};
  canonical_strides({2, 4, 14, 14}, strides);
  EXPECT_EQ(strides, (std::vector<int64_t>{1000, 1, 70, 5})) << "gaps stay";
}

}  // namespace
}  // namespace tuyere
