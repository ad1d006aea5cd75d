// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

/// The pointwise lines of `formula` over x, fused, become one call of `fn`; its values agree with the formula's.
void expect_call(const std::string& formula, const std::string& fn) {
  const std::string text = "x = input f32[n]\n" + formula;
  Network net = after(fuse_pointwise, text);
  const Program before = std::get<Pointwise>(net.main().layers.at(0).op).program;
  ASSERT_TRUE(match_activation(net, {})) << str(net);
  const Program program = std::get<Pointwise>(net.main().layers.at(0).op).program;
  ASSERT_EQ(program.body.size(), 1u) << str(program);
  EXPECT_STREQ(info(program.body[0].fn).name, fn.c_str());
  ASSERT_EQ(net.main().layers[0].inputs.size(), 1u);
  for (double x : {-7.0, -2.5, -0.5, 0.0, 0.25, 1.0, 3.5, 9.0, 30.0}) {
    double want = 0, have = 0;
    std::vector<double> in(before.inputs.size(), x);
    evaluate(program, &x, &have);
    if (before.inputs.size() == 1) {
      evaluate(before, in.data(), &want);
      EXPECT_NEAR(have, want, 1e-4 * (1 + std::abs(want))) << fn << "(" << x << ")";
    }
  }
}

TEST(MatchActivation, Sigmoids) {
  expect_call("s = sigmoid(x)\ny = mul(x, s)\nreturn y", "silu");
  expect_call("y = pointwise(x) program={mul(i0:f32, recip(add(exp(neg(i0)), 1:f32)))} types=[f32]\nreturn y", "silu");
  expect_call("y = pointwise(x) program={div(1:f32, add(1:f32, exp(neg(i0:f32))))} types=[f32]\nreturn y", "sigmoid");
  expect_call("s = softplus(x)\nt = tanh(s)\ny = mul(x, t)\nreturn y", "mish");
}

TEST(MatchActivation, Gelus) {
  expect_call(
      "h = literal f32[] 0.5\nr = literal f32[] 1.4142135\no = literal f32[] 1\na = mul(x, h)\nb = div(x, r)\nc = erf(b)\nd = add(c, o)\ny = mul(a, d)\nreturn "
      "y",
      "gelu_erf");
  expect_call(
      "h = literal f32[] 0.5\nk = literal f32[] 0.044715\nr = literal f32[] 0.7978845608\no = literal f32[] 1\na = mul(x, h)\nq = square(x)\nc = mul(q, x)\n"
      "m = mul(c, k)\nu = add(x, m)\nw = mul(u, r)\nt = tanh(w)\nd = add(t, o)\ny = mul(a, d)\nreturn y",
      "gelu_tanh");
}

TEST(MatchActivation, HardOnes) {
  expect_call("t = literal f32[] 3\nz = literal f32[] 0\ns = literal f32[] 6\na = add(x, t)\nc = clamp(a, z, s)\nm = mul(x, c)\ny = div(m, s)\nreturn y",
              "hardswish");
  expect_call("t = literal f32[] 3\ns = literal f32[] 6\na = add(x, t)\nr = relu(a)\nc = min(r, s)\ny = div(c, s)\nreturn y", "hardsigmoid");
}

TEST(MatchActivation, FillsBecomeNumbers) {
  expect_pass(match_activation, "x = input f32[n]\nc = input bool[n]\nz = fill() value=0.5\ny = where(c, z, x)\nreturn y",
              "x = input f32[n]\nc = input bool[n]\ny = pointwise(c, x) program={where(i0:bool, 0.5:f32, i1:f32)} types=[f32]\nreturn y");
  expect_unchanged(match_activation, "c = input bool[n]\nz = fill() type=bf16 shape=[n] value=0.1\nx = input bf16[n]\ny = where(c, z, x)\nreturn y\n");
}

TEST(MatchActivation, OthersStay) { expect_unchanged(match_activation, "x = input f32[n]\nu = input f32[n]\ns = sigmoid(x)\ny = mul(u, s)\nreturn y\n"); }

}  // namespace
}  // namespace tuyere
