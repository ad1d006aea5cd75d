// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kConv = " stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] type=f16 epilogue={relu(add(i0:f32, i1:f32))}\n";

TEST(ShortBiases, VectorsOfFloats) {
  expect_pass(short_biases, "x = input f16[2,8,4,4]\nw = param f16[16,8,1,1]\nb = param f32[16,1,1]\ny = conv(x, w, b)" + kConv + "return y",
              "x = input f16[2,8,4,4]\nw = param f16[16,8,1,1]\nb = param f32[16,1,1]\nc = cast(b) type=f16\ny = conv(x, w, c)" + kConv + "return y",
              on_cuda());
  const std::string product = " type=bf16 epilogue={add(add(i0:f32, i1:f32), i2:f32)}\n";
  expect_pass(short_biases,
              "x = input bf16[4,8]\nw = param bf16[8,16]\nb = param f32[1,16]\nz = input bf16[4,16]\ny = matmul(x, w, b, z)" + product + "return y",
              "x = input bf16[4,8]\nw = param bf16[8,16]\nb = param f32[1,16]\nz = input bf16[4,16]\nc = cast(b) type=bf16\ny = matmul(x, w, c, z)" + product +
                  "return y",
              on_cuda());
}

TEST(ShortBiases, OthersStay) {
  const std::string tail = "y = conv(x, w, b)" + kConv + "return y";
  expect_unchanged(short_biases, "x = input f16[2,8,4,4]\nw = param f16[16,8,1,1]\nb = param f32[16,1,1]\n" + tail, on_cpu());
  expect_unchanged(short_biases, "x = input f16[2,8,4,4]\nw = param f16[16,8,1,1]\nb = input f32[16,1,1]\n" + tail, on_cuda());
  expect_unchanged(short_biases, "x = input f16[2,8,4,4]\nw = param f16[16,8,1,1]\nb = literal f32[] 2\n" + tail, on_cuda());
  expect_unchanged(short_biases,
                   "x = input f16[2,8,4,4]\nw = param f16[8,1,1,1]\ns = param f32[8,1,1]\ny = conv(x, w, s) groups=8 type=f16 "
                   "epilogue={mul(relu(i0:f32), i1:f32)}\nreturn y",
                   on_cuda());
  expect_unchanged(short_biases,
                   "x = input f16[4,8]\nw = param f16[8,16]\nb = param f32[16]\ny = matmul(x, w, b) type=f32 epilogue={add(i0:f32, i1:f32)}\nreturn y",
                   on_cuda());
}

}  // namespace
}  // namespace tuyere
