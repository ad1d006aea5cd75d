// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(FoldPads, ZerosAroundConvolutions) {
  expect_pass(fold_pads,
              "x = input f16[n,4,8,9]\nw = param f16[6,4,3,3]\np = pad(x) before=[0,0,0,1] after=[0,0,1,2]\n"
              "y = conv(p, w) stride=[2,2] pad_before=[1,0] pad_after=[1,0]\nreturn y",
              "x = input f16[n,4,8,9]\nw = param f16[6,4,3,3]\ny = conv(x, w) stride=[2,2] pad_before=[1,1] pad_after=[2,2]\nreturn y");
  expect_pass(fold_pads, "x = input f32[2,4,8]\nw = param f32[4,1,5]\np = pad(x) before=[0,0,4] after=[0,0,0]\ny = conv(p, w) groups=4\nreturn y",
              "x = input f32[2,4,8]\nw = param f32[4,1,5]\ny = conv(x, w) groups=4 pad_before=[4] pad_after=[0]\nreturn y");
}

TEST(FoldPads, ThroughCastsAndBesideOtherReaders) {
  expect_pass(fold_pads,
              "x = input f32[2,4,8,8]\nw = param f16[6,4,3,3]\np = pad(x) before=[0,0,1,1] after=[0,0,1,1]\nq = cast(p) type=f16\ny = conv(q, w)\nreturn y, p",
              "x = input f32[2,4,8,8]\nw = param f16[6,4,3,3]\np = pad(x) before=[0,0,1,1] after=[0,0,1,1]\nq = cast(x) type=f16\n"
              "y = conv(q, w) pad_before=[1,1] pad_after=[1,1]\nreturn y, p");
}

TEST(FoldPads, Pooling) {
  expect_pass(fold_pads, "x = input f32[2,4,8,8]\np = pad(x) before=[0,0,1,1] after=[0,0,1,1] value=-inf\ny = pool(p) kernel=[3,3] stride=[2,2]\nreturn y",
              "x = input f32[2,4,8,8]\ny = pool(x) kernel=[3,3] stride=[2,2] pad=[1,1]\nreturn y");
  expect_pass(fold_pads,
              "x = input f32[4,8,8]\np = pad(x) before=[0,1,1] after=[0,1,1]\ny = pool(p) kind=avg kernel=[3,3] stride=[2,2] count_include_pad=false\nreturn y",
              "x = input f32[4,8,8]\ny = pool(x) kind=avg kernel=[3,3] stride=[2,2] pad=[1,1]\nreturn y");
}

TEST(FoldPads, WhatStays) {
  const std::string conv = "x = input f32[2,4,8,8]\nw = param f32[6,4,3,3]\nv = param f32[6,5,3,3]\nu = param f32[4,6,3,3]\n";
  expect_unchanged(fold_pads, conv + "p = pad(x) before=[0,0,1,1] after=[0,0,1,1] value=1\ny = conv(p, w)\nreturn y\n");
  expect_unchanged(fold_pads, conv + "p = pad(x) before=[0,0,1,1] after=[0,0,1,1] mode=reflect\ny = conv(p, w)\nreturn y\n");
  expect_unchanged(fold_pads, conv + "p = pad(x) before=[0,0,-1,1] after=[0,0,1,1]\ny = conv(p, w)\nreturn y\n");  // crops
  expect_unchanged(fold_pads, conv + "p = pad(x) before=[0,0,0,0] after=[0,1,1,1]\ny = conv(p, v)\nreturn y\n");   // channels
  expect_unchanged(fold_pads, conv + "p = pad(x) before=[0,0,1,1] after=[0,0,1,1]\ny = conv(p, u) transposed=true\nreturn y\n");
  const std::string pool = "x = input f32[2,4,8,8]\n", even = "p = pad(x) before=[0,0,1,1] after=[0,0,1,1]",
                    odd = "p = pad(x) before=[0,0,0,0] after=[0,0,1,1]";
  const std::string window = "kernel=[3,3] stride=[2,2]";
  expect_unchanged(fold_pads, pool + even + "\ny = pool(p) " + window + "\nreturn y\n");            // zeros may be the largest
  expect_unchanged(fold_pads, pool + odd + " value=-inf\ny = pool(p) " + window + "\nreturn y\n");  // one side
  expect_unchanged(fold_pads, pool + even + " value=-inf\ny, i = pool(p) with_indices=true " + window + "\nreturn y, i\n");
  expect_unchanged(fold_pads, pool + even + "\ny = pool(p) kind=avg ceil_mode=true " + window + "\nreturn y\n");  // the last window may begin elsewhere
  expect_unchanged(fold_pads, pool + even + "\ny = pool(p) kind=avg count_include_pad=false pad=[1,1] " + window + "\nreturn y\n");
  expect_unchanged(fold_pads, pool + even + " value=-inf\ny = pool(p) kernel=[2,2] pad=[1,1]\nreturn y\n");  // more than half a window
}

}  // namespace
}  // namespace tuyere
