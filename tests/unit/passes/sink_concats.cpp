// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kConvs =
    "x = input f32[2,8,9,9]\nw = param f32[4,8,3,3]\nv = param f32[6,8,3,3]\n"
    "a = conv(x, w) pad_before=[1,1] pad_after=[1,1]\nb = conv(x, v) pad_before=[1,1] pad_after=[1,1]\n";

TEST(SinkConcats, ScaleAndActivationGoIntoTheBranches) {
  expect_pass(sink_concats, kConvs + "s = param f32[10,1,1]\ny = concat(a, b) axis=1\nz = mul(y, s)\nr = relu(z)\nreturn r",
              kConvs +
                  "s = param f32[10,1,1]\ns0 = slice(s) axis=0 start=0 end=4\np = mul(a, s0)\ns1 = slice(s) axis=0 start=4 end=10\nq = mul(b, s1)\n"
                  "p1 = relu(p)\nq1 = relu(q)\nr = concat(p1, q1) axis=1\nreturn r");
}

TEST(SinkConcats, BroadcastConstantsStayWhole) {
  expect_pass(sink_concats, kConvs + "s = param f32[1]\ny = concat(a, b) axis=1\nr = mul(y, s)\nreturn r",
              kConvs + "s = param f32[1]\np = mul(a, s)\nq = mul(b, s)\nr = concat(p, q) axis=1\nreturn r");
}

TEST(SinkConcats, OthersStay) {
  // Not every part is a convolution's.
  expect_unchanged(sink_concats, kConvs + "y = concat(a, x) axis=1\nr = relu(y)\nreturn r");
  // A branch has another reader, or the concat has.
  expect_unchanged(sink_concats, kConvs + "y = concat(a, b) axis=1\nr = relu(y)\nreturn r, a");
  expect_unchanged(sink_concats, kConvs + "y = concat(a, b) axis=1\nr = relu(y)\nreturn r, y");
  // What is added differs from call to call.
  expect_unchanged(sink_concats, kConvs + "g = input f32[2,10,1,1]\ny = concat(a, b) axis=1\nr = mul(y, g)\nreturn r");
}

/// The right side of a U-Net joins what the left one also goes on with.
TEST(SinkConcats, CopiesOfWhatIsReadTwiceComputeOnCuda) {
  const std::string text =
      "x = input f32[2,8,9,9]\nw = param f32[4,8,1,1]\nt = param f32[4,4,3,3]\nc = conv(x, w)\nb = conv(c, t) pad_before=[1,1] pad_after=[1,1]\n";
  expect_pass(sink_concats, text + "y = concat(c, b) axis=1\nr = relu(y)\nreturn r", text + "p = relu(c)\nq = relu(b)\nr = concat(p, q) axis=1\nreturn r",
              on_cuda());
  expect_unchanged(sink_concats, text + "y = concat(c, b) axis=1\nr = relu(y)\nreturn r", on_cpu());
  // More copies than branches (DenseNet), nothing that is copied, another reader of the whole.
  expect_unchanged(sink_concats, text + "y = concat(c, x, b) axis=1\nr = relu(y)\nreturn r", on_cuda());
  expect_unchanged(sink_concats, kConvs + "y = concat(a, b) axis=1\nr = relu(y)\nreturn r", on_cuda());
  expect_unchanged(sink_concats, text + "y = concat(c, b) axis=1\nr = relu(y)\nreturn r, y", on_cuda());
}

}  // namespace
}  // namespace tuyere
