// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kInputs = "q = input f32[b,4,s,16]\nk = input f32[b,4,t,16]\nv = input f32[b,4,t,16]\n";

TEST(MatchAttention, ScaleAndMask) {
  expect_pass(match_attention,
              kInputs +
                  "m = input f32[b,1,1,t]\nc = literal f32[] 0.25\nkt = permute(k) perm=[0,1,3,2]\np = matmul(q, kt)\nd = mul(p, c)\ne = add(d, m)\nw = "
                  "softmax(e) axis=3\n"
                  "y = matmul(w, v)\nreturn y",
              kInputs +
                  "m = input f32[b,1,1,t]\nkt = permute(k) perm=[0,1,3,2]\nkk = permute(kt) perm=[0,1,3,2]\ny = attention(q, kk, v, m) scale=0.25 "
                  "has_mask=true\nreturn y");
}

TEST(MatchAttention, ScaleOnTheQueriesAndConditions) {
  expect_pass(match_attention,
              kInputs +
                  "m = input bool[s,t]\nc = literal f32[] 0.25\nz = literal f32[] -inf\nqs = mul(q, c)\np = matmul(qs, k) trans_b=true\ne = where(m, p, z)\nw "
                  "= softmax(e) axis=3\n"
                  "y = matmul(w, v)\nreturn y",
              kInputs + "m = input bool[s,t]\ny = attention(q, k, v, m) scale=0.25 has_mask=true\nreturn y");
}

TEST(MatchAttention, ProductsOfRankThree) {
  expect_pass(
      match_attention,
      "q = input f32[b,s,16]\nk = input f32[b,t,16]\nv = input f32[b,t,8]\np = matmul(q, k) trans_b=true\nw = softmax(p) axis=2\ny = matmul(w, v)\nreturn y",
      "q = input f32[b,s,16]\nk = input f32[b,t,16]\nv = input f32[b,t,8]\nq4 = reshape(q) shape=[b,1,s,16]\nk4 = reshape(k) shape=[b,1,t,16]\n"
      "v4 = reshape(v) shape=[b,1,t,8]\na = attention(q4, k4, v4)\ny = reshape(a) shape=[b,s,8]\nreturn y");
}

TEST(MatchAttention, ShiftedWindowsOfSwin) {
  const std::string inputs =
      "q = input f32[4*n,3,49,32]\nk = input f32[4*n,3,49,32]\nv = input f32[4*n,3,49,32]\nbias = param f32[1,3,49,49]\nm = param f32[1,4,1,49,49]\n";
  expect_pass(match_attention,
              inputs +
                  "p = matmul(q, k) trans_b=true\na = add(p, bias)\nw5 = reshape(a) shape=[n,4,3,49,49]\nb = add(w5, m)\nw4 = reshape(b) shape=[4*n,3,49,49]\n"
                  "w = softmax(w4) axis=3\ny = matmul(w, v)\nreturn y",
              inputs + "r = reshape(m) shape=[4,1,49,49]\ns = add(r, bias)\ny = attention(q, k, v, s) has_mask=true\nreturn y");
}

TEST(MatchAttention, TemperaturesOfHeads) {
  const std::string inputs = kInputs + "h = param f32[4,1,1]\nbias = input f32[4,s,t]\n";
  expect_pass(match_attention, inputs + "p = matmul(q, k) trans_b=true\na = mul(p, h)\nb = add(a, bias)\nw = softmax(b) axis=3\ny = matmul(w, v)\nreturn y",
              inputs + "qs = mul(q, h)\ny = attention(qs, k, v, bias) has_mask=true\nreturn y");
  // Channels that attend to channels, factors of keys, and of scores with a mask.
  expect_unchanged(
      match_attention,
      "q = input f32[b,4,8,64]\nk = input f32[b,4,8,64]\nv = input f32[b,4,8,64]\nh = param f32[4,1,1]\np = matmul(q, k) trans_b=true\na = mul(p, h)\n"
      "w = softmax(a) axis=3\ny = matmul(w, v)\nreturn y\n");
  expect_unchanged(match_attention,
                   kInputs + "f = input f32[4,1,t]\np = matmul(q, k) trans_b=true\na = mul(p, f)\nw = softmax(a) axis=3\ny = matmul(w, v)\nreturn y\n");
  expect_unchanged(match_attention,
                   inputs + "p = matmul(q, k) trans_b=true\nb = add(p, bias)\na = mul(b, h)\nw = softmax(a) axis=3\ny = matmul(w, v)\nreturn y\n");
}

TEST(MatchAttention, RepeatedHeads) {
  const std::string inputs = "q = input f32[b,8,s,16]\nk = input f32[b,2,t,16]\nv = input f32[b,2,t,16]\n";
  expect_pass(
      match_attention,
      inputs +
          "k5 = reshape(k) shape=[b,2,1,t,16]\nke = expand(k5) shape=[b,2,4,t,16]\nkr = reshape(ke) shape=[b,8,t,16]\n"
          "v5 = reshape(v) shape=[b,2,1,t,16]\nve = expand(v5) shape=[b,2,4,t,16]\nvr = reshape(ve) shape=[b,8,t,16]\ny = attention(q, kr, vr)\nreturn y",
      inputs + "y = attention(q, k, v)\nreturn y");
}

TEST(MatchAttention, WeightsThatAreReadStay) {
  expect_unchanged(match_attention, kInputs + "p = matmul(q, k) trans_b=true\nw = softmax(p) axis=3\ny = matmul(w, v)\nreturn y, w\n");
  expect_unchanged(match_attention, kInputs + "p = matmul(q, k) trans_b=true\nw = softmax(p) axis=2\ny = matmul(w, v)\nreturn y\n");
}

}  // namespace
}  // namespace tuyere
