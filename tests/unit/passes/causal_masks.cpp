// SPDX-License-Identifier: Apache-2.0
#include "core/builder/evaluate.h"
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

PassContext computing() {
  PassContext context = on_cuda();
  context.evaluate = [](const Network& network) { return evaluate(network, 1); };
  return context;
}

const std::string kOperands = "q = input f16[2,4,8,16]\nk = input f16[2,4,8,16]\nv = input f16[2,4,8,16]\n";
const std::string kPositions = "j = iota() count=8\ni = reshape(j) shape=[8,1]\n";
const std::string kMasked = "y = attention(q, k, v, m) scale=0.25 has_mask=true type=f16\nreturn y";

TEST(CausalMasks, LowerTriangles) {
  const std::string causal = kOperands + "y = attention(q, k, v) scale=0.25 causal=true type=f16\nreturn y";
  const std::string triangle = kOperands + kPositions + "t = pointwise(i, j) program={ge(i0:i64, i1:i64)} types=[bool]\n";
  expect_pass(causal_masks, triangle + "m = expand(t) shape=[2,1,8,8]\n" + kMasked, causal, computing());
  expect_pass(causal_masks,
              triangle + "z = literal f32[] 0\nn = literal f32[] -inf\nm = pointwise(t, z, n) program={where(i0:bool, i1:f32, i2:f32)} types=[f32]\n" + kMasked,
              causal, computing());
}

TEST(CausalMasks, MasksThatLeaveEverything) {
  expect_pass(causal_masks, kOperands + "m = fill() shape=[8,8] type=bool value=1\n" + kMasked,
              kOperands + "y = attention(q, k, v) scale=0.25 type=f16\nreturn y", computing());
}

TEST(CausalMasks, OthersStay) {
  expect_unchanged(causal_masks, kOperands + kPositions + "m = pointwise(i, j) program={gt(i0:i64, i1:i64)} types=[bool]\n" + kMasked, computing());
  expect_unchanged(causal_masks, kOperands + "m = input bool[8,8]\n" + kMasked, computing());
  expect_unchanged(causal_masks, kOperands + "m = param bool[8,8]\n" + kMasked, computing());
  expect_unchanged(causal_masks, kOperands + kPositions + "m = pointwise(i, j) program={sub(cast(i0:i64, f32), cast(i1:i64, f32))} types=[f32]\n" + kMasked,
                   computing());
  expect_unchanged(causal_masks, kOperands + kPositions + "m = pointwise(i, j) program={ge(i0:i64, i1:i64)} types=[bool]\n" + kMasked, on_cuda());
}

}  // namespace
}  // namespace tuyere
