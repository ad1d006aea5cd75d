// SPDX-License-Identifier: Apache-2.0
#include "common/error.h"
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

PassContext wants(const std::string& precision) {
  PassContext context = on_cuda();
  context.precision = precision;
  return context;
}

TEST(Precision, Fp16KeepsTheTypesOfInputsAndOutputs) {
  expect_pass(precision,
              "x = input f32[n,8]\nw = param f32[8,8]\nb = param f32[8]\n"
              "a = matmul(x, w, b) epilogue={add(i0:f32, i1:f32)}\nc = relu(a)\nreturn c",
              "x = input f32[n,8]\nw = param f32[8,8]\nb = param f32[8]\n"
              "x16 = cast(x) type=f16\nw16 = cast(w) type=f16\nb16 = cast(b) type=f16\n"
              "a = matmul(x16, w16, b16) epilogue={add(i0:f32, i1:f32)} type=f16\nc = relu(a) type=f16\ny = cast(c) type=f32\nreturn y",
              wants("fp16"));
}

TEST(Precision, PositionsStayF32AndEmbeddingsDoNot) {
  expect_pass(precision,
              "i = input i64[n]\nt = param f32[100,8]\nf = param f32[8]\nr = reshape(i) shape=[n,1]\n"
              "e = gather(t, i)\np = mul(r, f) type=f32\ns = sin(p)\ny = add(e, s)\nreturn y",
              "i = input i64[n]\nt = param f32[100,8]\nf = param f32[8]\nr = reshape(i) shape=[n,1]\n"
              "p = mul(r, f) type=f32\ns = sin(p)\nt16 = cast(t) type=bf16\ne = gather(t16, i)\ny = add(e, s) type=bf16\nz = cast(y) type=f32\nreturn z",
              wants("bf16"));
}

TEST(Precision, HugeConstantsStayF32) {
  expect_pass(precision,
              "x = input f32[n,8]\nm = input i64[n,8]\nc = literal f32[] -3e38\nz = literal f32[] 0\n"
              "k = where(m, z, c)\na = add(x, k)\ns = softmax(a)\nreturn s",
              "x = input f32[n,8]\nm = input i64[n,8]\nc = literal f32[] -3e38\nz = literal f32[] 0\n"
              "k = where(m, z, c)\na = add(x, k)\ns = softmax(a) type=f16\ny = cast(s) type=f32\nreturn y",
              wants("fp16"));
}

TEST(Precision, SumsStayF32) {
  expect_pass(
      precision, "x = input f16[n,8]\na = square(x)\nb = reduce(a) kind=mean axes=[1] keepdim=true type=f16\nc = rsqrt(b)\nd = mul(x, c)\nreturn d",
      "x = input f16[n,8]\na = square(x) type=f32\nb = reduce(a) kind=mean axes=[1] keepdim=true type=f32\nc = rsqrt(b) type=f16\nd = mul(x, c)\nreturn d",
      wants("fp16"));
}

TEST(Precision, Fp32AndTf32) {
  const char* in = "x = input bf16[n,8]\nw = param bf16[8,8]\na = matmul(x, w) type=bf16\nreturn a";
  const auto out = [](const std::string& attributes) {
    return "x = input bf16[n,8]\nw = param bf16[8,8]\nx32 = cast(x) type=f32\nw32 = cast(w) type=f32\na = matmul(x32, w32)" + attributes +
           "\ny = cast(a) type=bf16\nreturn y";
  };
  expect_pass(precision, in, out(""), wants("fp32"));
  expect_pass(precision, in, out(" tf32=true"), wants("tf32"));
}

TEST(Precision, AsIsTakesTheFlagsOfPyTorch) {
  const char* text = "x = input f32[n,8]\nw = param f32[8,8]\na = matmul(x, w)\nreturn a\n";
  expect_unchanged(precision, text, wants("as_is"));
  PassContext context = wants("as_is");
  context.tf32_matmul = true;
  const char* allowed = "x = input f32[n,8]\nw = param f32[8,8]\na = matmul(x, w) tf32=true\nreturn a";
  expect_pass(precision, text, allowed, context);
  context.precision = "fp32";
  expect_pass(precision, text, allowed, context);
  context.target = {};
  expect_unchanged(precision, text, context);
}

TEST(Precision, F32LayersOfAShortNetworkTakeTheFlags) {
  Network net =
      parse_network("x = input f32[n,8]\nw = param f32[8,8]\nbig = literal f32[1,8] [1e6,1,1,1,1,1,1,1]\na = matmul(big, w)\nb = matmul(x, w)\nreturn a, b");
  for (bool flag : {false, true}) {
    Network copy = net;
    PassContext context = wants("fp16");
    context.tf32_matmul = flag;
    precision(copy, context);
    for (const Layer& layer : copy.main().layers) {
      const auto* product = std::get_if<MatMul>(&layer.op);
      if (!product) continue;
      EXPECT_EQ(product->tf32, flag && copy.type(layer.inputs[0]).dtype == DType::F32);
    }
  }
}

TEST(Precision, StemsKeepPlainF32UnderTheFlags) {
  const auto text = [](int channels, const char* attributes) {
    const std::string c = std::to_string(channels);
    return "x = input f32[1," + c + ",8,8]\nw = param f32[4," + c + ",1,1]\na = conv(x, w) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]" +
           attributes + "\nreturn a";
  };
  PassContext context = wants("as_is");
  context.tf32_conv = true;
  expect_unchanged(precision, text(3, ""), context);
  expect_unchanged(precision, text(16, ""), context);
  expect_pass(precision, text(32, ""), text(32, " tf32=true"), context);
  expect_pass(precision, text(3, ""), text(3, " tf32=true"), wants("tf32"));
}

TEST(Precision, UnknownIsRefused) {
  Network net = parse_network("x = input f32[n]\ny = relu(x)\nreturn y\n");
  EXPECT_THROW(precision(net, wants("fp8")), Error);
}

}  // namespace
}  // namespace tuyere
