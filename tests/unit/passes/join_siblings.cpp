// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kRotate = " program={i0:f32, i1:f32, i2:f32 -> v3 = mul(i0, i2); v4 = sub(v3, i1); v5 = add(v3, i1); v4, v5} types=[f16, f16]\n";
const std::string kHeads =
    "x = input f16[n,s,48]\nc = input f16[1,1,s,4]\nq = slice(x) axis=2 start=0 end=24\nk = slice(x) axis=2 start=24 end=32\nq4 = reshape(q) "
    "shape=[n,s,3,8]\nk4 = reshape(k) shape=[n,s,1,8]\nqh = permute(q4) perm=[0,2,1,3]\nkh = permute(k4) perm=[0,2,1,3]\n"
    "q0 = slice(qh) axis=3 start=0 end=4\nq1 = slice(qh) axis=3 start=4 end=8\nk0 = slice(kh) axis=3 start=0 end=4\nk1 = slice(kh) axis=3 start=4 end=8\n"
    "qa, qb = pointwise(q0, q1, c)" +
    kRotate + "ka, kb = pointwise(k0, k1, c)" + kRotate + "qr = concat(qa, qb) axis=3\nkr = concat(ka, kb) axis=3\n";

TEST(JoinSiblings, RotaryQueriesAndKeysOfOneProduct) {
  expect_pass(
      join_siblings, kHeads + "y = mul(qr, kr)\nreturn y",
      "x = input f16[n,s,48]\nc = input f16[1,1,s,4]\nh = reshape(x) shape=[n,s,6,8]\np = permute(h) perm=[0,2,1,3]\na = slice(p) axis=1 start=0 end=4\n"
      "a0 = slice(a) axis=3 start=0 end=4\nh2 = reshape(x) shape=[n,s,6,8]\np2 = permute(h2) perm=[0,2,1,3]\nb = slice(p2) axis=1 start=0 end=4\n"
      "b0 = slice(b) axis=3 start=4 end=8\nu, v = pointwise(a0, b0, c)" +
          kRotate + "j = concat(u, v) axis=3\nqr = slice(j) axis=1 start=0 end=3\nkr = slice(j) axis=1 start=3 end=4\ny = mul(qr, kr)\nreturn y",
      on_cuda());
}

TEST(JoinSiblings, ResultsThatNeedMemoryOfTheirOwnStay) {
  expect_unchanged(join_siblings, kHeads + "return qr, kr", on_cuda());
  expect_unchanged(join_siblings, kHeads + "y = mul(qr, kr)\nreturn y", on_cpu());
  // Reshapes of windows are copies.
  expect_unchanged(join_siblings, kHeads + "z = reshape(qr) shape=[n,s,24]\ny = neg(z)\nt = neg(kr)\nreturn y, t", on_cuda());
}

TEST(JoinSiblings, OtherSlicesStay) {
  const std::string x = "x = input f16[8,4]\na = slice(x) axis=0 start=0 end=3\n";
  expect_unchanged(join_siblings, x + "b = slice(x) axis=0 start=4 end=8\ny = neg(a)\nz = neg(b)\nr = exp(y)\ns = exp(z)\nreturn r, s", on_cuda());  // a gap
  expect_unchanged(join_siblings, x + "b = slice(x) axis=0 start=3 end=8\ny = neg(a)\nz = sin(b)\nr = exp(y)\ns = exp(z)\nreturn r, s", on_cuda());
  // What both read varies along the slices.
  expect_unchanged(join_siblings,
                   x + "b = slice(x) axis=0 start=3 end=6\nw = input f16[3,4]\ny = mul(a, w)\nz = mul(b, w)\nr = exp(y)\ns = exp(z)\nreturn r, s", on_cuda());
  expect_pass(join_siblings, x + "b = slice(x) axis=0 start=3 end=8\ny = neg(a)\nz = neg(b)\nr = exp(y)\ns = exp(z)\nreturn r, s",
              "x = input f16[8,4]\nj = neg(x)\ny = slice(j) axis=0 start=0 end=3\nr = exp(y)\nz = slice(j) axis=0 start=3 end=8\ns = exp(z)\nreturn r, s",
              on_cuda());
}

}  // namespace
}  // namespace tuyere
