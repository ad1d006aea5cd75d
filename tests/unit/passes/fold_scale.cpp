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

TEST(FoldScale, OtherFactorsStay) {
  expect_unchanged(fold_scale, "x = input f32[n,8]\nw = param f32[8,4]\ns = input f32[4]\na = matmul(x, w)\ny = mul(a, s)\nreturn y\n");
  expect_unchanged(fold_scale, "x = input f32[4,8]\nw = param f32[8,4]\ns = param f32[4,1]\na = matmul(x, w)\ny = mul(a, s)\nreturn y\n");
  expect_unchanged(fold_scale, "x = input f32[n,8]\nw = param f32[8,4]\ns = param f32[4]\na = matmul(x, w)\ny = mul(a, s)\nreturn y, a\n");
}

}  // namespace
}  // namespace tuyere
