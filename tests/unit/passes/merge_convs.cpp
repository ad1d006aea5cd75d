// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(MergeConvs, BranchesOfEqualAndSmallerWindows) {
  expect_pass(merge_convs,
              "x = input f32[n,4,8,8]\nw = param f32[6,4,3,3]\nv = param f32[6,4,1,1]\nu = param f32[6,4,3,3]\nb = param f32[6,1,1]\nc = param f32[6,1,1]\n"
              "p = conv(x, v)\np1 = add(p, b)\nq = conv(x, w) pad_before=[1,1] pad_after=[1,1]\nq1 = add(q, c)\ns = add(p1, q1)\n"
              "r = conv(x, u) pad_before=[1,1] pad_after=[1,1]\nt = add(s, r)\ny = relu(t)\nreturn y",
              "x = input f32[n,4,8,8]\nw = param f32[6,4,3,3]\nv = param f32[6,4,1,1]\nu = param f32[6,4,3,3]\nb = param f32[6,1,1]\nc = param f32[6,1,1]\n"
              "d = pad(v) before=[0,0,1,1] after=[0,0,1,1]\ne = add(w, d)\nf = add(e, u)\nq = conv(x, f) pad_before=[1,1] pad_after=[1,1]\n"
              "g = add(b, c)\nt = add(q, g)\ny = relu(t)\nreturn y");
}

TEST(MergeConvs, ScaledInputs) {
  expect_pass(merge_convs,
              "x = input f32[n,4,8,8]\nw = param f32[4,1,3,3]\ns = param f32[4,1,1]\nz = input f32[n,4,8,8]\n"
              "p = conv(x, w) groups=4 pad_before=[1,1] pad_after=[1,1]\nq = mul(x, s)\na = add(q, z)\ny = add(p, a)\nreturn y",
              "x = input f32[n,4,8,8]\nw = param f32[4,1,3,3]\ns = param f32[4,1,1]\nz = input f32[n,4,8,8]\n"
              "f = fill() type=f32 shape=[4] value=1\nr = reshape(s) shape=[4]\nm = mul(f, r)\nc = reshape(m) shape=[4,1,1,1]\n"
              "d = pad(c) before=[0,0,1,1] after=[0,0,1,1]\ne = add(w, d)\np = conv(x, e) groups=4 pad_before=[1,1] pad_after=[1,1]\ny = add(p, z)\nreturn y");
  const Network net =
      after(merge_convs, "x = input f32[n,4,8,8]\nw = param f32[4,4,1,1]\ns = param f32[]\np = conv(x, w)\nq = mul(s, x)\ny = add(p, q)\nreturn y");
  EXPECT_NE(str(net).find("eq("), std::string::npos);  // a diagonal
  EXPECT_EQ(str(net).find("mul(s, x)"), std::string::npos);
}

TEST(MergeConvs, WhatIsNotOneConvolution) {
  const std::string start = "x = input f32[n,4,8,8]\nz = input f32[n,4,8,8]\nw = param f32[4,4,3,3]\nv = param f32[4,4,1,1]\n";
  const std::string padded = " pad_before=[1,1] pad_after=[1,1]\n";
  expect_unchanged(merge_convs, start + "p = conv(x, w)" + padded + "q = conv(z, v)\ny = add(p, q)\nreturn y\n");     // of two images
  expect_unchanged(merge_convs, start + "p = conv(x, w)" + padded + "q = conv(x, v)\ny = add(p, q)\nreturn y, q\n");  // which somebody reads
  expect_unchanged(merge_convs, start + "p = conv(x, w)" + padded + "q = conv(x, v)\ny = mul(p, q)\nreturn y\n");     // no sum
  expect_unchanged(merge_convs, start + "p = conv(x, w)" + padded + "y = add(p, x)\nreturn y\n");                     // a residual
  expect_unchanged(
      merge_convs,
      "x = input f32[n,4,8,8]\nw = input f32[4,4,3,3]\nv = param f32[4,4,3,3]\np = conv(x, w)\nq = conv(x, v)\ny = add(p, q)\nreturn y\n");  // training
  // Windows of which neither holds the other.
  expect_unchanged(merge_convs,
                   "x = input f32[n,4,8,8]\nw = param f32[4,4,3,1]\nv = param f32[4,4,1,3]\np = conv(x, w) pad_before=[1,0] pad_after=[1,0]\n"
                   "q = conv(x, v) pad_before=[0,1] pad_after=[0,1]\ny = add(p, q)\nreturn y\n");
  expect_unchanged(
      merge_convs,
      "x = input f32[n,4,8,8]\nw = param f32[4,4,3,3]\ns = param f32[4,1,1]\nu = param f32[4,4,3,3]\np = conv(x, w) stride=[2,2] pad_before=[1,1] "
      "pad_after=[1,1]\nq = conv(x, u) pad_before=[1,1] pad_after=[1,1] groups=1 stride=[2,2] dilation=[1,1]\nm = mul(p, s)\ny = add(m, q)\nreturn y\n");
}

TEST(MergeConvs, DilatedWindowsMustBeEqual) {
  const std::string start = "x = input f32[n,4,8,8]\nw = param f32[4,4,3,3]\nu = param f32[4,4,3,3]\nv = param f32[4,4,1,1]\n";
  const std::string steps = " pad_before=[2,2] pad_after=[2,2] dilation=[2,2]\n";
  const Network net =
      after(merge_convs, start + "p = conv(x, w)" + steps + "q = conv(x, u)" + steps + "r = conv(x, v)\ns = add(p, q)\ny = add(s, r)\nreturn y");
  EXPECT_NE(str(net).find("= add(w, u)"), std::string::npos);
  EXPECT_EQ(str(net).find("pad("), std::string::npos);
}

}  // namespace
}  // namespace tuyere
