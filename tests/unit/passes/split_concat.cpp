// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(SplitConcat, RotaryEmbedding) {
  expect_pass(
      split_concat,
      "q = input f16[2,4,n,16]\ncos = input f16[1,1,n,16]\nsin = input f16[1,1,n,16]\na = slice(q) axis=3 start=0 end=8\nb = slice(q) axis=3 start=8 "
      "end=16\nm = neg(b)\nr = concat(m, a) axis=3\n"
      "y = pointwise(q, cos, r, sin) program={add(mul(i0:f32, i1:f32), mul(i2:f32, i3:f32))} types=[f16]\nreturn y",
      "q = input f16[2,4,n,16]\ncos = input f16[1,1,n,16]\nsin = input f16[1,1,n,16]\na = slice(q) axis=3 start=0 end=8\nb = slice(q) axis=3 start=8 "
      "end=16\nc0 = slice(cos) axis=3 start=0 end=8\ns0 = slice(sin) axis=3 start=0 end=8\nc1 = slice(cos) axis=3 start=8 end=16\n"
      "s1 = slice(sin) axis=3 start=8 end=16\n"
      "y0, y1 = pointwise(b, a, c0, s0, c1, s1) program={i0:f32, i1:f32, i2:f32, i3:f32, i4:f32, i5:f32 -> v6 = neg(i0); v7 = mul(i1, i2); v8 = mul(v6, "
      "i3); v9 = add(v7, v8); v10 = mul(i0, i4); v11 = mul(i1, i5); v12 = add(v10, v11); v9, v12} types=[f16, f16]\n"
      "y = concat(y0, y1) axis=3\nreturn y",
      on_cuda());
}

TEST(SplitConcat, OthersStay) {
  // The parts come from elsewhere.
  expect_unchanged(split_concat, "p = input f16[2,8]\nq = input f16[2,8]\nx = input f16[2,16]\nr = concat(p, q) axis=1\ny = mul(x, r)\nreturn y", on_cuda());
  // The concat has another reader.
  expect_unchanged(split_concat,
                   "x = input f16[2,16]\na = slice(x) axis=1 start=0 end=8\nb = slice(x) axis=1 start=8 end=16\nr = concat(b, a) axis=1\ny = mul(x, r)\nreturn "
                   "y, r",
                   on_cuda());
}

}  // namespace
}  // namespace tuyere
