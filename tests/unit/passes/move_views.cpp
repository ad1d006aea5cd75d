// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(MoveViews, BelowAMatmul) {
  expect_pass(move_views, "x = input f32[n,s,8]\nw = param f32[8,4]\na = permute(x) perm=[1,0,2]\nb = matmul(a, w)\nreturn b",
              "x = input f32[n,s,8]\nw = param f32[8,4]\nb = matmul(x, w)\na = permute(b) perm=[1,0,2]\nreturn a");
  expect_pass(
      move_views,
      "x = input f32[n,s,8]\nw = param f32[8,4]\nc = param f32[4]\na = permute(x) perm=[1,0,2]\nb = matmul(a, w, c) epilogue={add(i0:f32, i1:f32)}\nreturn b",
      "x = input f32[n,s,8]\nw = param f32[8,4]\nc = param f32[4]\nb = matmul(x, w, c) epilogue={add(i0:f32, i1:f32)}\na = permute(b) perm=[1,0,2]\nreturn a");
  // the last dimension moves, and a stack of matrices
  expect_unchanged(move_views, "x = input f32[n,8,s]\nw = param f32[8,4]\na = permute(x) perm=[0,2,1]\nb = matmul(a, w)\nreturn b\n");
  expect_unchanged(move_views, "x = input f32[n,s,8]\nw = input f32[s,8,4]\na = permute(x) perm=[1,0,2]\nb = matmul(a, w)\nreturn b\n");
}

TEST(MoveViews, HeadsOfSequenceFirstAttention) {
  expect_pass(move_views, "x = input f32[s,n,24]\na = reshape(x) shape=[s,3*n,8]\nb = permute(a) perm=[1,0,2]\nc = reshape(b) shape=[n,3,s,8]\nreturn c",
              "x = input f32[s,n,24]\na = reshape(x) shape=[s,3*n,8]\nb = reshape(a) shape=[s,n,3,8]\nc = permute(b) perm=[1,2,0,3]\nreturn c");
}

TEST(MoveViews, ReshapesThatMergeStay) {
  expect_unchanged(move_views, "x = input f32[4,6]\na = reshape(x) shape=[4,2,3]\nb = permute(a) perm=[1,0,2]\nc = reshape(b) shape=[2,12]\nreturn c\n");
  expect_unchanged(move_views, "x = input f32[4,6]\na = permute(x) perm=[1,0]\nb = reshape(a) shape=[2,3,4]\nreturn b\n");
}

const std::string kSequenceFirst =
    "q = input f16[2,3,5,8]\nw = param f16[24,24]\nc = param f16[24]\na = attention(q, q, q) type=f16\np = permute(a) perm=[2,0,1,3]\n"
    "r = reshape(p) shape=[10,24]\n";

TEST(MoveViews, AttentionWritesTheOrderOfItsReaders) {
  expect_pass(
      move_views,
      kSequenceFirst + "m = matmul(r, w, c) type=f16 epilogue={add(i0:f32, i1:f32)}\nf = reshape(m) shape=[5,2,24]\nb = permute(f) perm=[1,0,2]\nreturn b",
      "q = input f16[2,3,5,8]\nw = param f16[24,24]\nc = param f16[24]\na = attention(q, q, q) type=f16\np = permute(a) perm=[2,0,1,3]\n"
      "t = permute(p) perm=[1,0,2,3]\nr = reshape(t) shape=[2,5,24]\nm = matmul(r, w, c) type=f16 epilogue={add(i0:f32, i1:f32)}\nreturn m");
  // Other readers of the product, rows that no attention wrote, an epilogue that knows rows.
  expect_unchanged(move_views, kSequenceFirst + "m = matmul(r, w) type=f16\nf = reshape(m) shape=[5,2,24]\nb = permute(f) perm=[1,0,2]\nreturn b, m\n");
  expect_unchanged(move_views,
                   "x = input f16[5,2,3,8]\nw = param f16[24,24]\nr = reshape(x) shape=[10,24]\nm = matmul(r, w) type=f16\nf = reshape(m) shape=[5,2,24]\n"
                   "b = permute(f) perm=[1,0,2]\nreturn b\n");
  expect_unchanged(move_views, kSequenceFirst +
                                   "h = input f16[10,24]\nm = matmul(r, w, h) type=f16 epilogue={add(i0:f32, i1:f32)}\nf = reshape(m) shape=[5,2,24]\n"
                                   "b = permute(f) perm=[1,0,2]\nreturn b\n");
}

}  // namespace
}  // namespace tuyere
