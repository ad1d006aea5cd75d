// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(MatchNorm, RmsOfLlama) {
  expect_pass(match_norm,
              "x = input f16[n,s,64]\nw = param f16[64]\neps = literal f32[] 0.00048828125\n"
              "f = cast(x) type=f32\nq = square(f)\nm = reduce(q) kind=mean axes=[2] keepdim=true\na = add(m, eps)\nr = rsqrt(a)\n"
              "y = mul(f, r)\nh = cast(y) type=f16\nz = mul(w, h)\nreturn z",
              "x = input f16[n,s,64]\nw = param f16[64]\nz = norm(x, w) kind=rms eps=0.00048828125 has_weight=true type=f16\nreturn z");
}

TEST(MatchNorm, LayerNormByHand) {
  expect_pass(match_norm,
              "x = input f32[n,64]\nw = param f32[64]\nb = param f32[1,64]\neps = literal f32[] 0.00048828125\n"
              "m = reduce(x) kind=mean axes=[1] keepdim=true\nd = sub(x, m)\nq = mul(d, d)\nv = reduce(q) kind=mean axes=[1] keepdim=true\n"
              "a = add(v, eps)\ns = sqrt(a)\ny = div(d, s)\nz = mul(y, w)\no = add(z, b)\nreturn o",
              "x = input f32[n,64]\nw = param f32[64]\nb = param f32[1,64]\nc = reshape(b) shape=[64]\no = norm(x, w, c) eps=0.00048828125 has_weight=true "
              "has_bias=true\nreturn o");
}

TEST(MatchNorm, RowsOfUnitLength) {
  const auto text = [](const std::string& type) {
    return "x = input " + type +
           "[n,64,64]\nq = pointwise(x) program={square(i0:f32)} types=[f32]\ns = reduce(q) axes=[2] keepdim=true\nr = sqrt(s)\n"
           "h = pointwise(r) program={i0:f32} types=[" +
           type +
           "]\n"
           "m = pointwise(h) program={max(i0:f32, 1e-06:f32)} types=[f32]\ny = div(x, m) type=" +
           type + "\nreturn y\n";
  };
  expect_pass(match_norm, text("f16"), "x = input f16[n,64,64]\ny = norm(x) kind=rms eps=1.5625e-14 type=f16 epilogue={mul(i0:f32, 0.125:f32)}\nreturn y",
              on_cuda());
  expect_unchanged(match_norm, text("f16"), on_cpu());
  expect_unchanged(match_norm, text("f32"), on_cuda());  // a row may be as short as the least length
}

TEST(MatchNorm, OtherStatisticsStay) {
  expect_unchanged(match_norm,
                   "x = input f32[n,64]\nu = input f32[n,64]\neps = literal f32[] 0.00048828125\nq = square(u)\nv = reduce(q) kind=mean axes=[1] keepdim=true\n"
                   "a = add(v, eps)\nr = rsqrt(a)\ny = mul(x, r)\nreturn y\n");
  expect_unchanged(match_norm,
                   "x = input f32[n,64]\neps = literal f32[] 0.00048828125\nq = square(x)\nv = reduce(q) kind=mean axes=[0] keepdim=true\n"
                   "a = add(v, eps)\nr = rsqrt(a)\ny = mul(x, r)\nreturn y\n");
}

}  // namespace
}  // namespace tuyere
