// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(PadChannels, ImagesBeforeAFirstConvolution) {
  expect_pass(
      pad_channels,
      "x = input f16[n,3,32,32]\nw = param f16[64,3,7,7]\ny = conv(x, w) stride=[2,2] pad_before=[3,3] pad_after=[3,3] dilation=[1,1] type=f16\nreturn y",
      "x = input f16[n,3,32,32]\nw = param f16[64,3,7,7]\np = pad(x) before=[0,0,0,0] after=[0,1,0,0]\nq = pad(w) before=[0,0,0,0] after=[0,1,0,0]\n"
      "y = conv(p, q) stride=[2,2] pad_before=[3,3] pad_after=[3,3] dilation=[1,1] type=f16\nreturn y",
      on_cuda());
  expect_pass(
      pad_channels,
      "x = input bf16[2,3,8,8]\nw = param bf16[16,3,1,1]\ny = conv(x, w) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] type=bf16\nreturn y",
      "x = input bf16[2,3,8,8]\nw = param bf16[16,3,1,1]\np = pad(x) before=[0,0,0,0] after=[0,5,0,0]\nq = pad(w) before=[0,0,0,0] after=[0,5,0,0]\n"
      "y = conv(p, q) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] type=bf16\nreturn y",
      on_cuda());
}

TEST(PadChannels, OtherTypesTargetsAndChannelsStay) {
  const std::string conv = " stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] ";
  expect_unchanged(pad_channels, "x = input f32[2,3,8,8]\nw = param f32[16,3,1,1]\ny = conv(x, w)" + conv + "\nreturn y", on_cuda());
  expect_unchanged(pad_channels, "x = input f16[2,3,8,8]\nw = param f16[16,3,1,1]\ny = conv(x, w)" + conv + "type=f16\nreturn y", on_cpu());
  expect_unchanged(pad_channels, "x = input f16[2,4,8,8]\nw = param f16[16,4,1,1]\ny = conv(x, w)" + conv + "type=f16\nreturn y", on_cuda());
  expect_unchanged(pad_channels, "x = input f16[2,3,8,8]\nw = param f16[3,1,3,3]\ny = conv(x, w)" + conv + "groups=3 type=f16\nreturn y", on_cuda());
}

}  // namespace
}  // namespace tuyere
