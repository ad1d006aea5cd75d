// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const char* const kQkv =
    "x = input f32[n,s,64]\nw0 = param f32[64,64]\nw1 = param f32[64,64]\nw2 = param f32[32,64]\nb0 = param f32[64]\nb1 = param f32[64]\nb2 = param f32[32]\n"
    "q = matmul(x, w0, b0) trans_b=true epilogue={add(i0:f32, i1:f32)}\nk = matmul(x, w1, b1) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
    "v = matmul(x, w2, b2) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
    "q4 = reshape(q) shape=[n,s,4,16]\nk4 = reshape(k) shape=[n,s,4,16]\nv4 = reshape(v) shape=[n,s,4,8]\nreturn q4, k4, v4";

TEST(MergeMatmuls, QueriesKeysValues) {
  expect_pass(
      merge_matmuls, kQkv,
      "x = input f32[n,s,64]\nw0 = param f32[64,64]\nw1 = param f32[64,64]\nw2 = param f32[32,64]\nb0 = param f32[64]\nb1 = param f32[64]\nb2 = param f32[32]\n"
      "w = concat(w0, w1, w2) axis=0\nb = concat(b0, b1, b2) axis=0\ny = matmul(x, w, b) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
      "q = slice(y) axis=2 start=0 end=64\nq4 = reshape(q) shape=[n,s,4,16]\nk = slice(y) axis=2 start=64 end=128\nk4 = reshape(k) shape=[n,s,4,16]\n"
      "v = slice(y) axis=2 start=128 end=160\nv4 = reshape(v) shape=[n,s,4,8]\nreturn q4, k4, v4",
      on_cpu());
}

TEST(MergeMatmuls, GateAndUpOnCudaOnly) {
  const char* text =
      "x = input f32[n,64]\nw0 = param f32[64,96]\nw1 = param f32[64,96]\ng = matmul(x, w0)\nu = matmul(x, w1)\ns = silu(g)\ny = mul(s, u)\nreturn y\n";
  expect_unchanged(merge_matmuls, text, on_cpu());
  expect_pass(merge_matmuls, text,
              "x = input f32[n,64]\nw0 = param f32[64,96]\nw1 = param f32[64,96]\nw = concat(w0, w1) axis=1\na = matmul(x, w)\n"
              "g = slice(a) axis=1 start=0 end=96\ns = silu(g)\nu = slice(a) axis=1 start=96 end=192\ny = mul(s, u)\nreturn y",
              on_cuda());
}

TEST(MergeMatmuls, GatesOfLargeProductsStayOnHopper) {
  const auto text = [](const std::string& rows, const std::string& end) {
    return "x = input f16[" + rows + ",64]\nw0 = param f16[64,96]\nw1 = param f16[64,96]\ng = matmul(x, w0) type=f16\nu = matmul(x, w1) type=f16\n" + end;
  };
  const std::string gate = "s = silu(g)\ny = mul(s, u)\nreturn y\n", apart = "s = silu(g)\nv = softmax(u) axis=1\ny = mul(s, v)\nreturn y\n";
  const auto merges = [&](const std::string& rows, const std::string& end, int sm) {
    PassContext context = on_cuda();
    context.target.sm = sm;
    Network net = parse_network(text(rows, end));
    return merge_matmuls(net, context);
  };
  EXPECT_FALSE(merges("512", gate, 90));
  EXPECT_TRUE(merges("512", gate, 80));
  EXPECT_TRUE(merges("16", gate, 90)) << "bound by its weights";
  EXPECT_TRUE(merges("512", apart, 90));
}

TEST(MergeMatmuls, DifferentEpiloguesAndOutputsStay) {
  expect_unchanged(merge_matmuls,
                   "x = input f32[n,64]\nw0 = param f32[64,96]\nw1 = param f32[64,96]\ng = matmul(x, w0) epilogue={relu(i0:f32)}\nu = matmul(x, w1)\ny = "
                   "mul(g, u)\nreturn y\n",
                   on_cuda());
  expect_unchanged(merge_matmuls, "x = input f32[n,64]\nw0 = param f32[64,96]\nw1 = param f32[64,96]\ng = matmul(x, w0)\nu = matmul(x, w1)\nreturn g, u\n",
                   on_cuda());
}

}  // namespace
}  // namespace tuyere
