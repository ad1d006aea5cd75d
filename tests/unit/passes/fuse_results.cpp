// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(FuseResults, AnOutputIsNotReadAgain) {
  expect_pass(fuse_results, "x = input f32[n]\nz = input f32[n]\na = add(x, z)\ny = relu(a)\nreturn y, a",
              "x = input f32[n]\nz = input f32[n]\na, y = pointwise(x, z) program={i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = relu(v2); v2, v3} types=[f32,f32]\n"
              "return y, a");
}

TEST(FuseResults, OtherReadersReadTheResult) {
  expect_pass(fuse_results, "x = input f32[n,4]\nw = param f32[4,4]\na = exp(x)\nm = matmul(a, w)\ny = neg(a)\nreturn m, y",
              "x = input f32[n,4]\nw = param f32[4,4]\na, y = pointwise(x) program={i0:f32 -> v1 = exp(i0); v2 = neg(v1); v1, v2} types=[f32,f32]\n"
              "m = matmul(a, w)\nreturn m, y");
}

TEST(FuseResults, ManyReadersBecomeOneLayer) {
  expect_pass(
      fuse_results, "x = input f32[n]\nz = input f32[n]\na = exp(x)\nb = mul(a, z)\nc = add(a, b)\nreturn a, b, c",
      "x = input f32[n]\nz = input f32[n]\n"
      "a, b, c = pointwise(x, z) program={i0:f32, i1:f32 -> v2 = exp(i0); v3 = mul(v2, i1); v4 = add(v2, v3); v2, v3, v4} types=[f32,f32,f32]\nreturn a, b, c");
}

TEST(FuseResults, RoundsAsAStoreDoes) {
  expect_pass(fuse_results, "x = input f32[n]\na = cast(x) type=i32\ny = cast(a) type=f32\nreturn y, a",
              "x = input f32[n]\na, y = pointwise(x) program={i0:f32 -> v1 = cast(i0, i32); v2 = cast(v1, f32); v1, v2} types=[i32,f32]\nreturn y, a");
}

TEST(FuseResults, CirclesBroadcastsAndLargeKernelsStay) {
  expect_unchanged(fuse_results, "x = input f32[n,4]\nw = param f32[4,4]\na = exp(x)\nm = matmul(a, w)\ny = add(a, m)\nreturn y\n");
  expect_unchanged(fuse_results, "x = input f32[n]\nz = input f32[m,n]\na = exp(x)\ny = mul(a, z)\nreturn y, a\n");
  expect_unchanged(fuse_results,
                   "a = input f32[n]\nb = input f32[n]\nc = input f32[n]\nd = input f32[n]\ne = input f32[n]\nf = input f32[n]\ng = input f32[n]\n"
                   "x = pointwise(a, b, c, d) program={add(add(i0:f32, i1:f32), add(i2:f32, i3:f32))} types=[f32]\n"
                   "y = pointwise(x, e, f, g) program={add(add(i0:f32, i1:f32), add(i2:f32, i3:f32))} types=[f32]\nreturn x, y\n");
}

}  // namespace
}  // namespace tuyere
