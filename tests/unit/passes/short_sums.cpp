// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kBranches = "x = input f16[n,2,8,6,6]\na = input f16[n,2,8,1,1]\n";

TEST(ShortSums, EntriesOfAnAxis) {
  expect_pass(
      short_sums, "x = input f16[n,3,8]\ny = reduce(x) axes=[1] kind=mean keepdim=true type=f16\nreturn y",
      "x = input f16[n,3,8]\ns0 = slice(x) axis=1 end=1\nr0 = reshape(s0) shape=[n,8]\nt0 = pointwise(r0) program={i0:f32} types=[f32]\n"
      "s1 = slice(x) axis=1 start=1 end=2\nr1 = reshape(s1) shape=[n,8]\nt1 = pointwise(r1) program={i0:f32} types=[f32]\n"
      "s2 = slice(x) axis=1 start=2 end=3\nr2 = reshape(s2) shape=[n,8]\nt2 = pointwise(r2) program={i0:f32} types=[f32]\n"
      "m = pointwise(t0, t1, t2) program={i0:f32, i1:f32, i2:f32 -> v3 = add(i0, i1); v4 = add(v3, i2); v5 = 0.3333333333333333:f32; v6 = mul(v4, v5); v6} "
      "types=[f16]\ny = reshape(m) shape=[n,1,8]\nreturn y",
      on_cuda());
}

TEST(ShortSums, WeightedBranches) {
  expect_pass(short_sums, kBranches + "m = mul(x, a)\ny = reduce(m) axes=[1] type=f16\nreturn y",
              kBranches +
                  "x0 = slice(x) axis=1 end=1\nu0 = reshape(x0) shape=[n,8,6,6]\na0 = slice(a) axis=1 end=1\nb0 = reshape(a0) shape=[n,8,1,1]\nt0 = mul(u0, "
                  "b0) type=f32\n"
                  "x1 = slice(x) axis=1 start=1 end=2\nu1 = reshape(x1) shape=[n,8,6,6]\na1 = slice(a) axis=1 start=1 end=2\nb1 = reshape(a1) shape=[n,8,1,1]\n"
                  "t1 = mul(u1, b1) type=f32\ny = add(t0, t1) type=f16\nreturn y",
              on_cuda());
}

TEST(ShortSums, StackedBranchesAreReadThemselves) {
  const std::string inputs = "p = input f16[n,1,8,6,6]\nq = input f16[n,1,8,6,6]\n";
  expect_pass(short_sums, inputs + "x = concat(p, q) axis=1\ny = reduce(x) axes=[1] type=f16\nreturn y",
              inputs +
                  "r0 = reshape(p) shape=[n,8,6,6]\nt0 = pointwise(r0) program={i0:f32} types=[f32]\nr1 = reshape(q) shape=[n,8,6,6]\n"
                  "t1 = pointwise(r1) program={i0:f32} types=[f32]\ny = add(t0, t1) type=f16\nreturn y",
              on_cuda());
}

TEST(ShortSums, OthersStay) {
  const std::string sum = kBranches + "m = mul(x, a)\ny = reduce(m) axes=[1] type=f16\nreturn y";
  expect_unchanged(short_sums, sum, on_cpu());
  expect_unchanged(short_sums, "x = input f16[n,5,8]\ny = reduce(x) axes=[1] type=f16\nreturn y", on_cuda());
  expect_unchanged(short_sums, "x = input f16[n,2]\ny = reduce(x) axes=[1] type=f16\nreturn y", on_cuda());
  expect_unchanged(short_sums, "x = input f16[n,2,8]\ny = reduce(x) axes=[1] kind=max type=f16\nreturn y", on_cuda());
  expect_unchanged(short_sums, "x = input i64[n,2,8]\ny = reduce(x) axes=[1] type=i64\nreturn y", on_cuda());
  expect_unchanged(short_sums, "x = input f16[2,2,8]\ny = reduce(x) axes=[0,1] type=f16\nreturn y", on_cuda());
}

}  // namespace
}  // namespace tuyere
