// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(Concats, NestedOnesAreOne) {
  expect_pass(
      concats,
      "a = input f32[n,2]\nb = input f32[n,3]\nc = input f32[n,s]\nx = concat(b, c) axis=1\ny = concat(x, a) axis=1\nz = concat(a, y, y) axis=1\nreturn z",
      "a = input f32[n,2]\nb = input f32[n,3]\nc = input f32[n,s]\nz = concat(a, b, c, a, b, c, a) axis=1\nreturn z");
}

TEST(Concats, OnesWithOtherReadersOrAxesStay) {
  expect_unchanged(concats, "a = input f32[n,4]\nx = concat(a, a) axis=1\ny = concat(x, x) axis=0\nreturn y\n");
  expect_unchanged(concats, "a = input f32[n,4]\nx = concat(a, a) axis=1\ny = concat(x, a) axis=1\nreturn x, y\n");
}

TEST(Concats, PartsAreReadFromTheirSource) {
  expect_pass(concats,
              "a = input f32[n,2]\nb = input f32[n,5]\nc = concat(a, b) axis=1\nx = slice(c) axis=1 start=0 end=2\ny = slice(c) axis=1 start=3 end=7 step=2\n"
              "return x, y",
              "a = input f32[n,2]\nb = input f32[n,5]\nx = slice(a) axis=1 start=0 end=2\ny = slice(b) axis=1 start=1 end=5 step=2\nreturn x, y");
  expect_pass(concats, "a = input f32[n,4]\nb = input f32[m,4]\nc = concat(a, b) axis=0\ny = slice(c) axis=0 start=n end=n+m\nz = relu(y)\nreturn z",
              "a = input f32[n,4]\nb = input f32[m,4]\ny = slice(b) axis=0 start=0 end=m\nz = relu(y)\nreturn z");
}

TEST(Concats, WhatMayLieInTwoPartsStays) {
  expect_unchanged(concats, "a = input f32[n,2]\nb = input f32[n,5]\nc = concat(a, b) axis=1\nx = slice(c) axis=1 start=1 end=3\nreturn x\n");
  expect_unchanged(concats, "a = input f32[n,4]\nb = input f32[m,4]\nc = concat(a, b) axis=0\nx = slice(c) axis=0 start=0 end=2\nreturn x\n");
  expect_unchanged(concats, "a = input f32[n,2]\nb = input f32[n,5]\nc = concat(a, b) axis=1\nx = slice(c) axis=0 start=0 end=n\nreturn x\n");
}

TEST(Concats, NeighbouringSlicesAreOne) {
  expect_pass(concats,
              "x = input f32[n,8]\nd = input f32[n,2]\na = slice(x) axis=1 start=0 end=4\nb = slice(x) axis=1 start=4 end=8\ny = concat(a, b, d) axis=1\n"
              "z = relu(b)\nreturn y, z",
              "x = input f32[n,8]\nd = input f32[n,2]\nb = slice(x) axis=1 start=4 end=8\nz = relu(b)\ny = concat(x, d) axis=1\nreturn y, z");
  expect_pass(
      concats,
      "x = input f32[n,8]\nd = input f32[n,2]\na = slice(x) axis=1 start=1 end=3\nb = slice(x) axis=1 start=3 end=4\nc = slice(x) axis=1 start=4 end=7\n"
      "y = concat(d, a, b, c, d) axis=1\nreturn y",
      "x = input f32[n,8]\nd = input f32[n,2]\na = slice(x) axis=1 start=1 end=7\ny = concat(d, a, d) axis=1\nreturn y");
  expect_pass(concats,
              "x = input f32[n,8]\na = slice(x) axis=0 start=0 end=2\nb = slice(x) axis=0 start=2 end=n\ny = concat(a, b) axis=0\nz = relu(y)\nreturn z",
              "x = input f32[n,8]\nz = relu(x)\nreturn z");
}

TEST(Concats, OtherSlicesStay) {
  const auto unchanged = [](const std::string& a, const std::string& b, const std::string& axis) {
    expect_unchanged(concats,
                     "x = input f32[n,8]\nw = input f32[n,8]\na = slice(x) " + a + "\nb = slice(" + b + "\ny = concat(a, b) axis=" + axis + "\nreturn y\n");
  };
  unchanged("axis=1 start=4 end=8", "x) axis=1 start=0 end=4", "1");         // the other way round
  unchanged("axis=1 start=0 end=4", "w) axis=1 start=4 end=8", "1");         // of another tensor
  unchanged("axis=1 start=0 end=4", "x) axis=1 start=5 end=8", "1");         // with a gap
  unchanged("axis=1 start=0 end=4", "x) axis=1 start=4 end=8 step=2", "1");  // not of all
  unchanged("axis=1 start=0 end=4", "x) axis=1 start=4 end=8", "0");         // along another axis
}

}  // namespace
}  // namespace tuyere
