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

const std::string kScoreInputs = "x = input f32[b,4,n,8]\ny = input f32[b,4,8,n]\n";
const std::string kHeadWeights = "w = param f32[6,4]\nc = param f32[6]\n";

TEST(MoveViews, ProductsOverHeadsWhereTheyLie) {
  expect_pass(move_views,
              kScoreInputs + kHeadWeights +
                  "a = matmul(x, y)\nl = permute(a) perm=[0,2,3,1]\nm = matmul(l, w, c) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
                  "r = permute(m) perm=[0,3,1,2]\nreturn r",
              kScoreInputs + kHeadWeights +
                  "a = matmul(x, y)\nf = reshape(a) shape=[b,4,n*n]\nd = reshape(c) shape=[6,1]\nm = matmul(w, f, d) epilogue={add(i0:f32, i1:f32)}\n"
                  "g = reshape(m) shape=[b,6,n,n]\nl = permute(g) perm=[0,2,3,1]\nr = permute(l) perm=[0,3,1,2]\nreturn r");
  // The other way round the weight is turned; a softmax between keeps the rows.
  expect_pass(move_views,
              kScoreInputs + "w = param f32[4,4]\na = matmul(x, y)\ns = softmax(a) axis=3\nl = permute(s) perm=[0,2,3,1]\nm = matmul(l, w)\nreturn m",
              kScoreInputs +
                  "w = param f32[4,4]\na = matmul(x, y)\ns = softmax(a) axis=3\nf = reshape(s) shape=[b,4,n*n]\nm = matmul(w, f) trans_a=true\n"
                  "g = reshape(m) shape=[b,4,n,n]\nl = permute(g) perm=[0,2,3,1]\nreturn l");
  // Images, which convolutions want with their channels innermost, many columns, other orders, a residual.
  expect_unchanged(move_views, "x = input f32[b,4,n,n]\nw = param f32[4,4]\nl = permute(x) perm=[0,2,3,1]\nm = matmul(l, w)\nreturn m\n");
  const std::string scores = kScoreInputs + "a = matmul(x, y)\n";
  expect_unchanged(move_views, scores + "w = param f32[4,32]\nl = permute(a) perm=[0,2,3,1]\nm = matmul(l, w)\nreturn m\n");
  expect_unchanged(move_views, scores + "w = param f32[4,4]\nl = permute(a) perm=[0,3,2,1]\nm = matmul(l, w)\nreturn m\n");
  expect_unchanged(move_views, scores +
                                   "w = param f32[4,4]\nh = input f32[b,n,n,4]\nl = permute(a) perm=[0,2,3,1]\n"
                                   "m = matmul(l, w, h) epilogue={add(i0:f32, i1:f32)}\nreturn m\n");
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
