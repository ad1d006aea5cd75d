// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(Simplify, Identities) {
  expect_pass(simplify,
              "x = input f32[n,8]\na = reshape(x) shape=[n,8]\nb = permute(a) perm=[0,1]\nc = slice(b) axis=1 start=0 end=8\nd = expand(c) shape=[n,8]\n"
              "e = cast(d) type=f32\nf = relu(e)\nreturn f",
              "x = input f32[n,8]\nf = relu(x)\nreturn f");
}

TEST(Simplify, PoolingToTheSizeThereIs) {
  expect_pass(simplify, "x = input f16[n,8,7,7]\na = adaptive_pool(x) out=[7,7]\ny = relu(a)\nreturn y", "x = input f16[n,8,7,7]\ny = relu(x)\nreturn y");
  expect_unchanged(simplify, "x = input f16[n,8,7,7]\na = adaptive_pool(x) out=[7,1]\ny = relu(a)\nreturn y");
}

TEST(Simplify, ViewsOfViews) {
  expect_pass(simplify,
              "x = input f32[n,2,8]\na = permute(x) perm=[1,2,0]\nb = permute(a) perm=[2,0,1]\nc = relu(b)\nd = reshape(x) shape=[2*n,8]\ne = reshape(d) "
              "shape=[16*n]\nreturn c, e",
              "x = input f32[n,2,8]\nc = relu(x)\ne = reshape(x) shape=[16*n]\nreturn c, e");
}

TEST(Simplify, ExpandsBeforePointwise) {
  expect_pass(simplify, "x = input f32[n,8]\nb = param f32[8]\ne = expand(b) shape=[n,8]\ny = add(x, e)\nreturn y",
              "x = input f32[n,8]\nb = param f32[8]\ny = add(x, b)\nreturn y");
  expect_unchanged(simplify, "b = param f32[8]\ne = expand(b) shape=[4,8]\ny = relu(e)\nreturn y\n");
}

TEST(Simplify, ACopyToAnotherOrderStays) {
  expect_unchanged(simplify, "x = input f32[n,8,4,4]\ny@0231 = pointwise(x) program={i0:f32} types=[f32]\nz@0231 = relu(y)\nreturn z\n");
}

}  // namespace
}  // namespace tuyere
