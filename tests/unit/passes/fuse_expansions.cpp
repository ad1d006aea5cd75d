// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

#define EXPANDING "stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] "
#define WINDOW "stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] "

const std::string kBlocked =
    "x = input f32[n,1,112,112,16]\nw = param f32[6,16,1,1,16]\na = param f32[1,6,1,1,16]\nv = param f32[6,1,3,3,16]\nb = param f32[1,6,1,1,16]\n";
const std::string kExpanding = "h = conv(x, w, a) " EXPANDING "epilogue={silu(add(i0:f32, i1:f32))}\n";
const std::string kWindowed = "y = conv(h, v, b) " WINDOW "groups=96 epilogue={relu(add(i0:f32, i1:f32))}\n";

TEST(FuseExpansions, DepthwiseAloneReadsTheExpansion) {
  expect_pass(
      fuse_expansions, kBlocked + kExpanding + kWindowed + "return y",
      kBlocked + "y = expanded_depthwise(x, w, v, a, b) " WINDOW "expansion={silu(add(i0:f32, i1:f32))} epilogue={relu(add(i0:f32, i1:f32))}\nreturn y");
}

TEST(FuseExpansions, ProgramsMayBeEmptyAndReadOtherImages) {
  const std::string inputs = "x = input f32[n,1,112,112,16]\nr = input f32[n,6,112,112,16]\nw = param f32[6,16,1,1,16]\nv = param f32[6,1,3,3,16]\n";
  expect_pass(fuse_expansions,
              inputs + "h = conv(x, w, r) " EXPANDING
                       "epilogue={add(i0:f32, i1:f32)}\n"
                       "y = conv(h, v) stride=[1,1] pad_before=[0,1] pad_after=[2,1] dilation=[1,1] groups=96\nreturn y",
              inputs +
                  "y = expanded_depthwise(x, w, v, r) stride=[1,1] pad_before=[0,1] pad_after=[2,1] dilation=[1,1] expansion={add(i0:f32, i1:f32)}\n"
                  "return y");
}

TEST(FuseExpansions, ShortImagesLieChannelsLast) {
  const std::string inputs =
      "i = input bf16[1,16,112,112]\nw = param bf16[96,16,1,1]\na = param f32[96,1,1]\nv = param bf16[96,1,3,3]\n"
      "x@0231 = pointwise(i) program={relu(i0:f32)} types=[bf16]\n";
  const std::string expanding = "conv(x, w, a) " EXPANDING "type=bf16 epilogue={silu(add(i0:f32, i1:f32))}\n";
  expect_pass(fuse_expansions, inputs + "h@0231 = " + expanding + "y@0231 = conv(h, v) " WINDOW "groups=96 type=bf16 epilogue={silu(i0:f32)}\nreturn y",
              inputs + "y@0231 = expanded_depthwise(x, w, v, a) " WINDOW "type=bf16 expansion={silu(add(i0:f32, i1:f32))} epilogue={silu(i0:f32)}\nreturn y");
  expect_unchanged(fuse_expansions, inputs + "h = " + expanding + "y = conv(h, v) " WINDOW "groups=96 type=bf16\nreturn y");
}

TEST(FuseExpansions, OthersStay) {
  expect_unchanged(fuse_expansions, kBlocked + kExpanding + kWindowed + "return y", on_cuda());
  PassContext libraries;
  libraries.own_kernels = false;
  expect_unchanged(fuse_expansions, kBlocked + kExpanding + kWindowed + "return y", libraries);
  // The expanded image has another reader, is returned, or is an operand of the window's epilogue too.
  expect_unchanged(fuse_expansions, kBlocked + kExpanding + kWindowed + "m = reduce(h) kind=mean axes=[2,3]\nreturn y, m");
  expect_unchanged(fuse_expansions, kBlocked + kExpanding + kWindowed + "return y, h");
  expect_unchanged(fuse_expansions, kBlocked + kExpanding +
                                        "y = conv(h, v, h) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=96 "
                                        "epilogue={add(i0:f32, i1:f32)}\nreturn y");
  // Weights that are not known, more than one pixel, pixels that are left out or added, groups, distant taps, a grouped window, channels-last.
  expect_unchanged(fuse_expansions, "x = input f32[n,1,112,112,16]\nw = input f32[6,16,1,1,16]\nv = param f32[6,1,3,3,16]\nh = conv(x, w) " EXPANDING
                                    "\ny = conv(h, v) " WINDOW "groups=96\nreturn y");
  const auto stays = [](const std::string& w, const std::string& expansion, const std::string& v, const std::string& window) {
    expect_unchanged(fuse_expansions, "x = input f32[n,1,112,112,16]\nw = param " + w + "\nv = param " + v + "\nh = conv(x, w) " + expansion +
                                          "\ny = conv(h, v) " + window + "\nreturn y");
  };
  const std::string w = "f32[6,16,1,1,16]", v = "f32[6,1,3,3,16]", window = WINDOW "groups=96";
  stays("f32[6,16,3,3,16]", EXPANDING, v, window);
  stays(w, "stride=[2,2] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]", v, window);
  stays(w, "stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1]", v, window);
  stays("f32[6,8,1,1,16]", EXPANDING "groups=2", v, window);
  stays(w, EXPANDING, v, "stride=[1,1] pad_before=[2,2] pad_after=[2,2] dilation=[2,2] groups=96");
  stays(w, EXPANDING, "f32[6,2,3,3,16]", WINDOW "groups=48");
  expect_unchanged(fuse_expansions, "x = input f32[1,16,112,112]\nw = param f32[96,16,1,1]\nv = param f32[96,1,3,3]\nh@0231 = conv(x, w) " EXPANDING
                                    "\ny@0231 = conv(h, v) " WINDOW "groups=96\nreturn y");
}

TEST(FuseExpansions, SmallImagesStay) {
  const std::string small = "x = input f32[1,5,s,s,16]\nw = param f32[30,80,1,1,16]\nv = param f32[30,1,3,3,16]\nh = conv(x, w) " EXPANDING
                            "\ny = conv(h, v) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=480\nreturn y";
  PassContext context;
  context.hints.set("s", 14);
  expect_unchanged(fuse_expansions, small, context);
  context.hints.set("s", 56);
  EXPECT_NE(str(after(fuse_expansions, small, context)).find("expanded_depthwise"), std::string::npos);
}

}  // namespace
}  // namespace tuyere
