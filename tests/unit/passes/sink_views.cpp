// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(SinkViews, LayerScaleAndResidualOfConvNext) {
  expect_pass(sink_views,
              "x = input f32[n,8,h,v]\nc = input f32[n,h,v,32]\nw = param f32[8,32]\ns = param f32[8,1,1]\n"
              "a = matmul(c, w) trans_b=true\nb = permute(a) perm=[0,3,1,2]\nd = mul(b, s)\ne = add(d, x)\nreturn e",
              "x = input f32[n,8,h,v]\nc = input f32[n,h,v,32]\nw = param f32[8,32]\ns = param f32[8,1,1]\n"
              "a = matmul(c, w) trans_b=true\ns4 = reshape(s) shape=[1,8,1,1]\nsp = permute(s4) perm=[0,2,3,1]\nd = mul(a, sp)\n"
              "xp = permute(x) perm=[0,2,3,1]\ne = add(d, xp)\ny = permute(e) perm=[0,3,1,2]\nreturn y");
}

TEST(SinkViews, ResidualOverAReshape) {
  expect_pass(
      sink_views,
      "x = input f32[n,s,8]\nw = param f32[8,8]\nb = param f32[8]\n"
      "f = reshape(x) shape=[n*s,8]\na = matmul(f, w)\nu = reshape(a) shape=[n,s,8]\nc = add(u, b)\nd = add(x, c)\nreturn d",
      "x = input f32[n,s,8]\nw = param f32[8,8]\nb = param f32[8]\n"
      "f = reshape(x) shape=[n*s,8]\na = matmul(f, w)\nc = add(a, b)\nr = reshape(x) shape=[n*s,8]\nd = add(r, c)\nu = reshape(d) shape=[n,s,8]\nreturn u");
}

// Both inputs could be the one whose view is passed: the view that the other one gets on the way is no view to pass in turn.
TEST(SinkViews, TwoProductsUnderViewsOfTheirOwn) {
  expect_pass(sink_views,
              "x = input f32[6,8]\nz = input f32[2,3,8]\nw = param f32[8,8]\na = matmul(x, w)\nb = matmul(z, w)\n"
              "u = reshape(a) shape=[2,3,8]\nc = add(u, b)\nreturn c",
              "x = input f32[6,8]\nz = input f32[2,3,8]\nw = param f32[8,8]\na = matmul(x, w)\nb = matmul(z, w)\n"
              "v = reshape(b) shape=[6,8]\nc = add(a, v)\nu = reshape(c) shape=[2,3,8]\nreturn u");
}

TEST(SinkViews, LeavesOthersAlone) {
  // a second reader of the view
  expect_unchanged(sink_views, "x = input f32[n,8]\nw = param f32[8,8]\na = matmul(x, w)\nb = permute(a) perm=[1,0]\nc = relu(b)\nd = add(c, b)\nreturn d\n");
  // another input of another order, that is not an image
  expect_unchanged(sink_views,
                   "x = input f32[n,8]\ny = input f32[8,n]\nw = param f32[8,8]\na = matmul(x, w)\nb = permute(a) perm=[1,0]\nc = add(b, y)\nreturn c\n");
  // nothing to fuse with
  expect_unchanged(sink_views, "x = input f32[n,8]\na = softmax(x)\nb = permute(a) perm=[1,0]\nc = relu(b)\nreturn c\n");
}

}  // namespace
}  // namespace tuyere
