// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(Cse, EqualLayersAndLiterals) {
  expect_pass(cse, "x = input f32[n]\nc = literal f32[] 2\nd = literal f32[] 2\na = mul(x, c)\nb = mul(x, d)\ne = exp(a)\nf = exp(b)\ny = add(e, f)\nreturn y",
              "x = input f32[n]\nc = literal f32[] 2\na = mul(x, c)\ne = exp(a)\ny = add(e, e)\nreturn y");
}

TEST(Cse, DifferentAttributesAndTypesStay) {
  expect_unchanged(cse, "x = input f32[n,8]\na = softmax(x) axis=0\nb = softmax(x) axis=1\nc = exp(x)\nd = exp(x) type=f16\nreturn a, b, c, d\n");
}

}  // namespace
}  // namespace tuyere
