// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

PassContext on_ampere() {
  PassContext context = on_cuda();
  context.target.sm = 80;
  return context;
}

TEST(PadMatmuls, HopperKernelsWriteResultsAtAnyAddress) {
  const std::string product = "x = input f16[4,64,768]\nw = param f16[1001,768]\nm = matmul(x, w) trans_b=true type=f16\n";
  expect_unchanged(pad_matmuls, product + "return m", on_cuda());
  expect_pass(pad_matmuls, product + "y = softmax(m) axis=2\nreturn y",
              "x = input f16[4,64,768]\nw = param f16[1001,768]\np = pad(w) before=[0,0] after=[7,0]\nm = matmul(x, p) trans_b=true type=f16\n"
              "s = slice(m) axis=2 end=1001\ny = softmax(s) axis=2\nreturn y",
              on_cuda());
}

TEST(PadMatmuls, ColumnsOfConstantWeights) {
  expect_pass(pad_matmuls, "x = input f16[4,64,768]\nw = param f16[1001,768]\ny = matmul(x, w) trans_b=true type=f16\nreturn y",
              "x = input f16[4,64,768]\nw = param f16[1001,768]\np = pad(w) before=[0,0] after=[7,0]\nm = matmul(x, p) trans_b=true type=f16\n"
              "y = slice(m) axis=2 end=1001\nreturn y",
              on_ampere());
  const std::string bias = " type=bf16 epilogue={add(i0:f32, i1:f32)}\n";
  expect_pass(pad_matmuls, "x = input bf16[256,512]\nw = param bf16[512,70]\nb = param bf16[70]\ny = matmul(x, w, b)" + bias + "return y",
              "x = input bf16[256,512]\nw = param bf16[512,70]\nb = param bf16[70]\np = pad(w) before=[0,0] after=[0,2]\nq = pad(b) before=[0] after=[2]\n"
              "m = matmul(x, p, q)" +
                  bias + "y = slice(m) axis=1 end=70\nreturn y",
              on_cuda());
}

TEST(PadMatmuls, EmbeddingsShareTheWeights) {
  expect_pass(pad_matmuls, "i = input i64[4,64]\nw = param f16[1001,512]\nx = gather(w, i)\ny = matmul(x, w) trans_b=true type=f16\nreturn y",
              "i = input i64[4,64]\nw = param f16[1001,512]\np = pad(w) before=[0,0] after=[7,0]\nv = slice(p) axis=0 end=1001\nx = gather(v, i)\n"
              "m = matmul(x, p) trans_b=true type=f16\ny = slice(m) axis=2 end=1001\nreturn y",
              on_ampere());
}

TEST(PadMatmuls, AlignedSmallAndOtherProductsStay) {
  const std::string product = "y = matmul(x, w) type=f16\nreturn y";
  expect_unchanged(pad_matmuls, "x = input f16[256,512]\nw = param f16[512,72]\n" + product, on_cuda());
  expect_unchanged(pad_matmuls, "x = input f16[8,512]\nw = param f16[512,70]\n" + product, on_cuda());
  expect_unchanged(pad_matmuls, "x = input f16[256,64]\nw = param f16[64,70]\n" + product, on_cuda());
  expect_unchanged(pad_matmuls, "x = input f16[256,512]\nw = input f16[512,70]\n" + product, on_cuda());
  expect_unchanged(pad_matmuls, "x = input f16[256,512]\nw = param f16[512,70]\n" + product, on_cpu());
  expect_unchanged(
      pad_matmuls,
      "x = input f16[256,512]\nw = param f16[512,70]\nz = input f16[256,70]\ny = matmul(x, w, z) type=f16 epilogue={add(i0:f32, i1:f32)}\nreturn y", on_cuda());
}

}  // namespace
}  // namespace tuyere
