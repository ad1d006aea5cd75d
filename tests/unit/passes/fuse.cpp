// SPDX-License-Identifier: Apache-2.0
// fuse_epilogue, fuse_pointwise, fuse_prologue
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(FuseEpilogue, BiasResidualActivation) {
  expect_pass(
      fuse_epilogue,
      "x = input f32[n,8]\nz = input f32[n,4]\nw = param f32[8,4]\nb = param f32[4]\na = matmul(x, w)\nc = add(a, b)\nd = add(c, z)\ny = relu(d)\nreturn y",
      "x = input f32[n,8]\nz = input f32[n,4]\nw = param f32[8,4]\nb = param f32[4]\n"
      "y = matmul(x, w, b, z) epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))}\nreturn y");
}

TEST(FuseEpilogue, WhatLibrariesDoNotKnowStaysOutOfMatmul) {
  expect_unchanged(fuse_epilogue, "x = input f32[n,8]\nz = input f32[n,4]\nw = param f32[8,4]\na = matmul(x, w)\ny = mul(a, z)\nreturn y\n");
  expect_pass(fuse_epilogue, "x = input f32[n,8]\na = reduce(x) kind=sum axes=[1]\ny = sqrt(a)\nreturn y",
              "x = input f32[n,8]\ny = reduce(x) kind=sum axes=[1] epilogue={sqrt(i0:f32)}\nreturn y");
}

TEST(FuseEpilogue, RoundingOnTheWayIsKept) {
  const std::string inputs = "x = input f32[n,8]\nw = param f32[8,4]\n";
  const std::string rounded = inputs + "h = matmul(x, w) type=f16 epilogue={cast(i0:f32, f16)}\ny = pointwise(h) program={i0:f32} types=[f32]\nreturn y\n";
  expect_pass(fuse_epilogue,
              inputs + "a = matmul(x, w)\nh = pointwise(a) program={cast(i0:f32, f16)} types=[f16]\ny = pointwise(h) program={i0:f32} types=[f32]\nreturn y",
              rounded);
  expect_unchanged(fuse_formulas, rounded);
}

TEST(FuseEpilogue, ProductsOnHopperTakeTheirGate) {
  const std::string inputs = "x = input f16[512,64]\nw0 = param f16[96,64]\nw1 = param f16[96,64]\n";
  const std::string gated = inputs + "g = matmul(x, w0) trans_b=true type=f16\nu = matmul(x, w1) trans_b=true type=f16\ns = silu(g)\ny = mul(s, u)\nreturn y";
  expect_pass(fuse_epilogue, gated,
              inputs +
                  "g = matmul(x, w0) trans_b=true type=f16 epilogue={silu(i0:f32)}\n"
                  "y = matmul(x, w1, g) trans_b=true type=f16 epilogue={mul(i1:f32, i0:f32)}\nreturn y",
              on_cuda());
  PassContext ampere = on_cuda();
  ampere.target.sm = 80;
  expect_pass(fuse_epilogue, gated,
              inputs + "u = matmul(x, w1) trans_b=true type=f16\ng = matmul(x, w0) trans_b=true type=f16 epilogue={silu(i0:f32)}\ny = mul(g, u)\nreturn y",
              ampere);
  expect_unchanged(fuse_epilogue,
                   "x = input f16[512,64]\nz = input f16[512,1]\nw = param f16[96,64]\nu = matmul(x, w) trans_b=true type=f16\ny = mul(z, u)\nreturn y\n",
                   on_cuda());
}

TEST(FuseEpilogue, ProductsOnHopperTakeFormulas) {
  const std::string inputs = "x = input f16[512,64]\nw = param f16[96,64]\ns = param f32[96]\nr = input f16[512,96]\n";
  const std::string scaled = inputs +
                             "u = matmul(x, w) trans_b=true type=f16\ny = pointwise(u, s, r) program={add(mul(silu(i0:f32), i1:f32), i2:f32)} types=[f16]\n"
                             "return y\n";
  expect_pass(fuse_epilogue, scaled, inputs + "y = matmul(x, w, s, r) trans_b=true type=f16 epilogue={add(mul(silu(i0:f32), i1:f32), i2:f32)}\nreturn y",
              on_cuda());
  PassContext ampere = on_cuda();
  ampere.target.sm = 80;
  expect_unchanged(fuse_epilogue, scaled, ampere);
  expect_unchanged(fuse_epilogue, scaled, on_cpu());
}

TEST(FuseEpilogue, ConvolutionsOfPixelsOnHopperTakeFormulas) {
  const auto net = [](const std::string& weight, const std::string& attributes, const std::string& size, const std::string& end) {
    return "x = input f16[2,64,16,16]\nd = param f16[64,1,1,1]\nw = " + weight + "\ns = param f32[72,1,1]\nr = input f16[2,72," + size +
           "]\na = conv(x, d) groups=64 type=f16\n" + end + attributes + "\nreturn y\n";
  };
  const std::string formula = "add(mul(relu(i0:f32), i1:f32), i2:f32)", apart = "\ny = pointwise(u, s, r) program={" + formula + "} types=[f16]",
                    one = "param f16[72,64,1,1]";
  expect_pass(fuse_epilogue, net(one, " type=f16" + apart, "16,16", "u = conv(a, w)"),
              net(one, " type=f16 epilogue={" + formula + "}", "16,16", "y = conv(a, w, s, r)"), on_cuda());
  expect_unchanged(fuse_epilogue, net(one, " type=f16" + apart, "16,16", "u = conv(a, w)"), on_cpu());
  expect_unchanged(fuse_epilogue, net("input f16[72,64,1,1]", " type=f16" + apart, "16,16", "u = conv(a, w)"), on_cuda());
  expect_unchanged(fuse_epilogue, net("param f16[72,64,3,3]", " pad_before=[1,1] pad_after=[1,1] type=f16" + apart, "16,16", "u = conv(a, w)"), on_cuda());
  expect_unchanged(fuse_epilogue, net(one, " stride=[2,2] type=f16" + apart, "8,8", "u = conv(a, w)"), on_cuda());
  expect_unchanged(fuse_epilogue, net(one, " type=f16" + apart, "16,16", "u = conv(x, w)"), on_cuda());  // the caller's image is not channels-last
}

TEST(FuseFormulas, ProductsOnTheCpuTakeAnyFormula) {
  const std::string inputs = "x = input f32[n,8]\nr = input f32[n,4]\nw = param f32[8,4]\n",
                    pair = "program={where(le(i0:f32, 0:f32), 0:f32, i1:f32)} types=[f32]";
  const std::string masked = inputs + "a = matmul(x, w)\ny = pointwise(r, a) " + pair + "\nreturn y\n";
  expect_pass(fuse_formulas, masked,
              inputs + "y = matmul(x, w, r) epilogue={i0:f32, i1:f32 -> v2 = 0:f32; v3 = le(i1, v2); v4 = where(v3, v2, i0); v4}\nreturn y");
  expect_unchanged(fuse_formulas, masked, on_cuda());
  expect_unchanged(fuse_formulas, inputs + "a = matmul(x, w)\ny = pointwise(r, a) " + pair + "\nreturn y, a\n");
  expect_unchanged(fuse_formulas, "x = input bf16[n,8]\nr = input bf16[n,4]\nw = param bf16[8,4]\na = matmul(x, w) type=bf16\ny = mul(r, a)\nreturn y\n");
}

TEST(FuseEpilogue, DepthwiseConvolutionsOnGpusTakeAnyFormula) {
  const std::string inputs = "x = input f16[n,8,9,9]\nw = param f16[8,1,3,3]\ns = param f32[8,1,1]\nb = param f32[8,1,1]\n";
  const std::string chain =
      "a = conv(x, w) groups=8 pad_before=[1,1] pad_after=[1,1] type=f16\nr = relu(a)\n"
      "p = pointwise(r, s, b, x) program={add(add(mul(i0:f32, i1:f32), i2:f32), i3:f32)} types=[f16]\nreturn p\n";
  expect_pass(fuse_epilogue, inputs + chain,
              inputs +
                  "p = conv(x, w, s, b, x) groups=8 pad_before=[1,1] pad_after=[1,1] type=f16 "
                  "epilogue={add(add(mul(relu(i0:f32), i1:f32), i2:f32), i3:f32)}\nreturn p",
              on_cuda());
  // On the CPU, with a tensor of another shape, and two tensors: the activation alone.
  const auto activation_alone = [](const Network& net) {
    return net.main().layers.size() == 2 && std::get<Conv>(net.main().layers[0].op).epilogue.body.size() == 1;
  };
  EXPECT_TRUE(activation_alone(after(fuse_epilogue, inputs + chain)));
  const std::string begin =
      "x = input f16[n,8,9,9]\nz = input f16[n,8,9,9]\ng = input f16[n,1,9,9]\nw = param f16[8,1,3,3]\n"
      "a = conv(x, w) groups=8 pad_before=[1,1] pad_after=[1,1] type=f16\nr = relu(a)\n";
  EXPECT_TRUE(activation_alone(after(fuse_epilogue, begin + "p = mul(r, g)\nreturn p\n", on_cuda())));
  EXPECT_TRUE(
      activation_alone(after(fuse_epilogue, begin + "p = pointwise(r, x, z) program={mul(mul(i0:f32, i1:f32), i2:f32)} types=[f16]\nreturn p\n", on_cuda())));
}

TEST(FuseEpilogue, ASecondReaderOrACircleStays) {
  expect_unchanged(fuse_epilogue, "x = input f32[n,8]\nw = param f32[8,4]\na = matmul(x, w)\ny = relu(a)\nreturn y, a\n");
  expect_unchanged(fuse_epilogue, "x = input f32[n,8]\nw = param f32[8,8]\na = matmul(x, w)\ns = softmax(a)\ny = add(a, s)\nreturn y\n");
}

TEST(FusePointwise, Chains) {
  expect_pass(fuse_pointwise, "x = input f32[n]\nz = input f32[n]\na = add(x, z)\nb = exp(a)\ny = mul(b, z)\nreturn y",
              "x = input f32[n]\nz = input f32[n]\ny = pointwise(x, z) program={mul(exp(add(i0:f32, i1:f32)), i1)} types=[f32]\nreturn y");
}

TEST(FusePointwise, ExpensiveWorkIsNotRepeated) {
  expect_unchanged(fuse_pointwise, "x = input f32[n]\nz = input f32[m,n]\na = exp(x)\ny = mul(z, a)\nreturn y\n");
  expect_unchanged(fuse_pointwise, "x = input f32[n]\nz = input f32[n]\na = exp(x)\nb = mul(z, a)\nc = add(z, a)\nreturn b, c\n");
}

TEST(FusePointwise, RoundingToIntegersStays) {
  expect_pass(fuse_pointwise, "x = input f32[n]\na = cast(x) type=i32\ny = cast(a) type=f32\nreturn y",
              "x = input f32[n]\ny = pointwise(x) program={cast(cast(i0:f32, i32), f32)} types=[f32]\nreturn y");
}

TEST(FusePrologue, MaskBeforeSoftmax) {
  expect_pass(fuse_prologue, "x = input f32[n,8]\nm = input f32[8]\na = add(m, x)\ny = softmax(a) axis=1\nreturn y",
              "x = input f32[n,8]\nm = input f32[8]\ny = softmax(x, m) axis=1 prologue={add(i1:f32, i0:f32)}\nreturn y");
}

TEST(FusePrologue, ResidualSumsAreStoredByTheNorm) {
  const Network net = after(fuse_prologue, "x = input f32[n,8]\nz = input f32[n,8]\ns = add(x, z)\na = norm(s)\ny = add(a, s)\nreturn y");
  ASSERT_EQ(net.main().layers.size(), 2u);
  EXPECT_EQ(net.main().layers[0].outputs.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<Norm>(net.main().layers[0].op));
}

}  // namespace
}  // namespace tuyere
