// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(FoldScale, BatchNormAfterConv) {
  expect_pass(
      fold_scale,
      "x = input f32[n,3,8,8]\nw = param f32[4,3,3,3]\ns = param f32[4,1,1]\nb = param f32[4,1,1]\na = conv(x, w)\nm = mul(a, s)\ny = add(m, b)\nreturn y",
      "x = input f32[n,3,8,8]\nw = param f32[4,3,3,3]\ns = param f32[4,1,1]\nb = param f32[4,1,1]\nr = reshape(s) shape=[4,1,1,1]\nv = mul(w, r)\na = conv(x, "
      "v)\n"
      "y = add(a, b)\nreturn y");
}

TEST(FoldScale, TheBiasIsScaledToo) {
  expect_pass(fold_scale,
              "x = input f32[n,8]\nw = param f32[4,8]\nb = param f32[4]\ns = param f32[4]\na = matmul(x, w, b) trans_b=true epilogue={add(i0:f32, i1:f32)}\ny "
              "= mul(s, a)\nreturn y",
              "x = input f32[n,8]\nw = param f32[4,8]\nb = param f32[4]\ns = param f32[4]\nr = reshape(s) shape=[4,1]\nv = mul(w, r)\nc = mul(b, s)\n"
              "y = matmul(x, v, c) trans_b=true epilogue={add(i0:f32, i1:f32)}\nreturn y");
}

TEST(FoldScale, BatchNormAfterConvWithABias) {
  expect_pass(
      fold_scale,
      "x = input f16[n,3,8,8]\nw = param f16[4,3,3,3]\nc = param f16[4,1,1]\ns = param f32[4,1,1]\nb = param f32[4,1,1]\n"
      "a = conv(x, w, c) type=f16 epilogue={add(i0:f32, i1:f32)}\nm = mul(a, s) type=f32\ny = add(m, b) type=f32\nreturn y",
      "x = input f16[n,3,8,8]\nw = param f16[4,3,3,3]\nc = param f16[4,1,1]\ns = param f32[4,1,1]\nb = param f32[4,1,1]\nr = reshape(s) shape=[4,1,1,1]\n"
      "v = pointwise(w, r) program={mul(i0:f32, i1:f32)} types=[f16]\nd = mul(c, s) type=f32\ne = add(d, b)\n"
      "y = conv(x, v, e) epilogue={add(i0:f32, i1:f32)}\nreturn y");
}

TEST(FoldScale, OtherFactorsStay) {
  expect_unchanged(fold_scale, "x = input f32[n,8]\nw = param f32[8,4]\ns = input f32[4]\na = matmul(x, w)\ny = mul(a, s)\nreturn y\n");
  expect_unchanged(fold_scale, "x = input f32[4,8]\nw = param f32[8,4]\ns = param f32[4,1]\na = matmul(x, w)\ny = mul(a, s)\nreturn y\n");
  expect_unchanged(fold_scale, "x = input f32[n,8]\nw = param f32[8,4]\ns = param f32[4]\na = matmul(x, w)\ny = mul(a, s)\nreturn y, a\n");
  expect_unchanged(fold_scale, "x = input f32[n,8]\nw = param f32[8,4]\ns = param f32[4]\na = matmul(x, w)\ny = add(a, s)\nreturn y\n");  // its bias to be
}

}  // namespace
}  // namespace tuyere
