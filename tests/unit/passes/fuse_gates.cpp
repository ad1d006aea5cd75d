// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kBothProducts = "x = input f16[512,64]\nw = param f16[128,64]\nv = param f16[128,64]\nu = matmul(x, v) trans_b=true type=f16\n";
const std::string kGatedUnit = kBothProducts + "y = matmul(x, w, u) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\n";

TEST(FuseGates, SecondProductReadsTheFirst) {
  expect_pass(fuse_gates, kGatedUnit + "return y\n",
              "x = input f16[512,64]\nw = param f16[128,64]\nv = param f16[128,64]\n"
              "y = gated_matmul(x, w, v) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\nreturn y",
              on_cuda());
}

TEST(FuseGates, FormulasOfBothProducts) {
  expect_pass(fuse_gates,
              "x = input f16[512,64]\nw = param f16[64,128]\nv = param f16[64,128]\nb = param f16[128]\nc = param f16[128]\n"
              "u = matmul(x, v, c) type=f16 epilogue={relu(add(i0:f32, i1:f32))}\n"
              "y = matmul(x, w, b, u) type=f16 epilogue={mul(add(i0:f32, i1:f32), i2:f32)}\nreturn y\n",
              "x = input f16[512,64]\nw = param f16[64,128]\nv = param f16[64,128]\nb = param f16[128]\nc = param f16[128]\n"
              "y = gated_matmul(x, w, v, c, b) type=f16 epilogue={i0:f32, i1:f32, i2:f32, i3:f32 -> v4 = add(i1, i2); v5 = relu(v4); v6 = add(i0, i3); "
              "v7 = mul(v6, v5); v7}\nreturn y",
              on_cuda());
}

TEST(FuseGates, OthersStay) {
  PassContext ampere = on_cuda(), libraries = on_cuda();
  ampere.target.sm = 80;
  libraries.own_kernels = false;
  expect_unchanged(fuse_gates, kGatedUnit + "return y\n", ampere);
  expect_unchanged(fuse_gates, kGatedUnit + "return y\n", libraries);
  expect_unchanged(fuse_gates, kGatedUnit + "return y\n", on_cpu());
  expect_unchanged(fuse_gates, kGatedUnit + "return y, u\n", on_cuda());
  // Other rows, and a gate that is no product.
  expect_unchanged(fuse_gates,
                   "x = input f16[512,64]\nz = input f16[512,64]\nw = param f16[128,64]\nv = param f16[128,64]\nu = matmul(z, v) trans_b=true type=f16\n"
                   "y = matmul(x, w, u) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\nreturn y\n",
                   on_cuda());
  expect_unchanged(fuse_gates,
                   kBothProducts + "g = input f16[512,128]\ny = matmul(x, w, g) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\nreturn u, y\n",
                   on_cuda());
}

const std::string kPacked = "x = input f16[2,512,64]\nw = param f16[256,64]\nb = param f16[256]\n";
const std::string kPackedProduct = kPacked + "p = matmul(x, w, b) trans_b=true type=f16 epilogue={add(i0:f32, i1:f32)}\n";
const std::string kHalves = kPackedProduct + "u = slice(p) axis=2 end=128\nv = slice(p) axis=2 start=128 end=256\n";

TEST(FuseGates, HalvesOfOneProduct) {
  expect_pass(fuse_gates, kHalves + "y = pointwise(u, v) program={mul(i0:f32, gelu_erf(i1:f32))} types=[f16]\nreturn y\n",
              kPacked +
                  "b0 = slice(b) axis=0 end=128\nb1 = slice(b) axis=0 start=128 end=256\nw0 = slice(w) axis=0 end=128\nw1 = slice(w) axis=0 start=128 end=256\n"
                  "y = gated_matmul(x, w0, w1, b1, b0) trans_b=true type=f16 epilogue={i0:f32, i1:f32, i2:f32, i3:f32 -> v4 = add(i1, i2); "
                  "v5 = add(i0, i3); v6 = gelu_erf(v4); v7 = mul(v5, v6); v7}\nreturn y\n",
              on_cuda());
  // The first gates the second, without a bias, the other way round in memory, and something else of the same shape joins them.
  expect_pass(fuse_gates,
              "x = input f16[512,64]\nr = input f16[512,128]\nw = input f16[64,256]\np = matmul(x, w) type=f16\nu = slice(p) axis=1 end=128\n"
              "v = slice(p) axis=1 start=128 end=256\ny = pointwise(r, v, u) program={add(i0:f32, mul(silu(i2:f32), i1:f32))} types=[f16]\nreturn y\n",
              "x = input f16[512,64]\nr = input f16[512,128]\nw = input f16[64,256]\nw1 = slice(w) axis=1 start=128 end=256\nw0 = slice(w) axis=1 end=128\n"
              "y = gated_matmul(x, w1, w0, r) type=f16 epilogue={add(i2:f32, mul(silu(i1:f32), i0:f32))}\nreturn y\n",
              on_cuda());
}

TEST(FuseGates, HalvesAsAMatrix) {
  const std::string halves = "w0 = slice(w) axis=0 end=128\nw1 = slice(w) axis=0 start=128 end=256\n", others =
                                                                                                           "w0 = slice(w) axis=0 end=255 step=2\n"
                                                                                                           "w1 = slice(w) axis=0 start=1 end=256 step=2\n";
  const std::string result = "y = gated_matmul(x, w0, w1) trans_b=true type=f16 epilogue={mul(i0:f32, sigmoid(i1:f32))}\nreturn y\n";
  const std::string product = "x = input f16[512,64]\nw = param f16[256,64]\n",
                    formula = "y = pointwise(u, v) program={mul(i0:f32, sigmoid(i1:f32))} types=[f16]\nreturn y\n";
  const std::string whole = product + "p = matmul(x, w) trans_b=true type=f16\n";
  expect_pass(fuse_gates,
              whole +
                  "m = reshape(p) shape=[512,2,128]\na = slice(m) axis=1 end=1\nu = reshape(a) shape=[512,128]\nb = slice(m) axis=1 start=1 end=2\n"
                  "v = reshape(b) shape=[512,128]\n" +
                  formula,
              product + halves + result, on_cuda());
  expect_pass(fuse_gates,
              whole +
                  "m = reshape(p) shape=[512,128,2]\na = slice(m) axis=2 end=1\nu = reshape(a) shape=[512,128]\nb = slice(m) axis=2 start=1 end=2\n"
                  "v = reshape(b) shape=[512,128]\n" +
                  formula,
              product + others + result, on_cuda());
  expect_pass(fuse_gates, whole + "u = slice(p) axis=1 step=2 end=256\nv = slice(p) axis=1 start=1 end=256 step=2\n" + formula, product + others + result,
              on_cuda());
}

TEST(FuseGates, EveryOtherColumnOfContiguousOnesIsCopied) {
  const std::string product =
      "p = matmul(x, w) type=f16\nu = slice(p) axis=1 end=256 step=2\nv = slice(p) axis=1 start=1 end=256 step=2\n"
      "y = pointwise(u, v) program={mul(i0:f32, sigmoid(i1:f32))} types=[f16]\nreturn y\n";
  expect_pass(
      fuse_gates, "x = input f16[512,64]\nw = param f16[64,256]\n" + product,
      "x = input f16[512,64]\nw = param f16[64,256]\nt = permute(w) perm=[1,0]\nc = pointwise(t) program={i0:f32} types=[f16]\nk = permute(c) perm=[1,0]\n"
      "w0 = slice(k) axis=1 end=255 step=2\nw1 = slice(k) axis=1 start=1 end=256 step=2\n"
      "y = gated_matmul(x, w0, w1) type=f16 epilogue={mul(i0:f32, sigmoid(i1:f32))}\nreturn y\n",
      on_cuda());
  expect_unchanged(fuse_gates, "x = input f16[512,64]\nw = input f16[64,256]\n" + product, on_cuda());
}

TEST(FuseGates, EveryOtherBiasIsCopied) {
  expect_pass(
      fuse_gates,
      "x = input f16[512,64]\nw = param f16[256,64]\nb = param f16[256]\np = matmul(x, w, b) trans_b=true type=f16 epilogue={add(i0:f32, i1:f32)}\n"
      "u = slice(p) axis=1 end=256 step=2\nv = slice(p) axis=1 start=1 end=256 step=2\n"
      "y = pointwise(u, v) program={mul(i0:f32, i1:f32)} types=[f16]\nreturn y\n",
      "x = input f16[512,64]\nw = param f16[256,64]\nb = param f16[256]\ns0 = slice(b) axis=0 end=255 step=2\nb0 = pointwise(s0) program={i0:f32} types=[f16]\n"
      "s1 = slice(b) axis=0 start=1 end=256 step=2\nb1 = pointwise(s1) program={i0:f32} types=[f16]\n"
      "w0 = slice(w) axis=0 end=255 step=2\nw1 = slice(w) axis=0 start=1 end=256 step=2\n"
      "y = gated_matmul(x, w0, w1, b1, b0) trans_b=true type=f16 epilogue={i0:f32, i1:f32, i2:f32, i3:f32 -> v4 = add(i1, i2); v5 = add(i0, i3); "
      "v6 = mul(v5, v4); v6}\nreturn y\n",
      on_cuda());
}

TEST(FuseGates, OtherPartsStay) {
  const std::string gelu = "y = pointwise(u, v) program={mul(i0:f32, gelu_erf(i1:f32))} types=[f16]\n";
  PassContext ampere = on_cuda();
  ampere.target.sm = 80;
  expect_unchanged(fuse_gates, kHalves + gelu + "return y\n", on_cpu());
  expect_unchanged(fuse_gates, kHalves + gelu + "return y\n", ampere);
  // Somebody else wants the product, or a half of it.
  expect_unchanged(fuse_gates, kHalves + gelu + "return y, p\n", on_cuda());
  expect_unchanged(fuse_gates, kHalves + gelu + "z = softmax(v) axis=2 type=f16\nreturn y, z\n", on_cuda());
  // A third part, halves that overlap, something that broadcasts along the columns.
  expect_unchanged(fuse_gates, kPackedProduct + "u = slice(p) axis=2 end=64\nv = slice(p) axis=2 start=64 end=128\n" + gelu + "return y\n", on_cuda());
  expect_unchanged(fuse_gates, kPackedProduct + "u = slice(p) axis=2 end=128\nv = slice(p) axis=2 start=64 end=192\n" + gelu + "return y\n", on_cuda());
  expect_unchanged(fuse_gates, kHalves + "s = input f16[2,512,1]\ny = pointwise(u, v, s) program={mul(i0:f32, mul(i1:f32, i2:f32))} types=[f16]\nreturn y\n",
                   on_cuda());
}

}  // namespace
}  // namespace tuyere
