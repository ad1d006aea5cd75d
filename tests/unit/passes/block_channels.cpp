// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

PassContext blocks_of(int64_t block) {
  PassContext context;
  context.channel_block = block;
  return context;
}

constexpr const char* kResidual =
    "x = input f32[n,3,32,32]\nu = param f32[16,3,3,3]\nw = param f32[16,16,3,3]\nb = param f32[16,1,1]\n"
    "s@0231 = conv(x, u, b) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] epilogue={relu(add(i0:f32, i1:f32))}\n"
    "p@0231 = pool(s) kernel=[2,2] stride=[2,2]\n"
    "y@0231 = conv(p, w, p) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] epilogue={relu(add(i0:f32, i1:f32))}\n"
    "r = reduce(y) kind=mean axes=[2,3]\nreturn r";

TEST(BlockChannels, ResidualNetwork) {
  expect_pass(block_channels, kResidual,
              "x = input f32[n,3,32,32]\nu = param f32[16,3,3,3]\nw = param f32[16,16,3,3]\nb = param f32[16,1,1]\n"
              "u1 = reshape(u) shape=[2,8,3,3,3]\nu2@04123 = permute(u1) perm=[0,2,3,4,1]\nb1 = reshape(b) shape=[1,2,1,1,8]\n"
              "s = conv(x, u2, b1) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] epilogue={relu(add(i0:f32, i1:f32))}\n"
              "s1 = permute(s) perm=[0,1,4,2,3]\ns2@0231 = reshape(s1) shape=[n*2,8,32,32]\n"
              "p@0231 = pool(s2) kernel=[2,2] stride=[2,2]\n"
              "p1 = reshape(p) shape=[n,2,8,16,16]\np2 = permute(p1) perm=[0,1,3,4,2]\n"
              "w1 = reshape(w) shape=[2,8,16,3,3]\nw2@04123 = permute(w1) perm=[0,2,3,4,1]\n"
              "y = conv(p2, w2, p2) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] epilogue={relu(add(i0:f32, i1:f32))}\n"
              "r = reduce(y) kind=mean axes=[2,3]\nr1 = reshape(r) shape=[n,16]\nreturn r1",
              blocks_of(8));
}

TEST(BlockChannels, NothingToDo) {
  expect_unchanged(block_channels, kResidual);  // no block is known
  PassContext wide = blocks_of(32);             // 16 channels
  Network net = parse_network(kResidual);
  EXPECT_FALSE(block_channels(net, wide));
}

TEST(BlockChannels, FillsUpChannels) {
  const std::string text =
      "x = input f32[n,3,32,32]\nu = param f32[12,3,3,3]\nd = param f32[12,1,3,3]\nw = param f32[12,12,3,3]\nq = param f32[4,12,1,1]\ne = param f32[12,4,1,1]\n"
      "b = param f32[12,1,1]\n"
      "s@0231 = conv(x, u, b) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] epilogue={relu(add(i0:f32, i1:f32))}\n"
      "t@0231 = conv(s, d) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=12\n"
      "m = reduce(t) kind=mean axes=[2,3] keepdim=true\n"
      "q1 = conv(m, q) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]\n"
      "e1 = conv(q1, e) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] epilogue={sigmoid(i0:f32)}\n"
      "g@0231 = pointwise(t, e1) program={mul(i0:f32, i1:f32)} types=[f32]\n"
      "y@0231 = conv(g, w) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1]\n";
  const std::string result =
      str(after(block_channels, text + "r = reduce(y) kind=mean axes=[2,3]\nreturn r", blocks_of(8)), TextOptions{.names = false, .origins = false});
  EXPECT_NE(result.find("groups=16"), std::string::npos) << result;
  EXPECT_NE(result.find("before=[0,0,0,0] after=[4,4,0,0]"), std::string::npos) << result;  // of w
  EXPECT_NE(result.find("before=[0,0,0] after=[4,0,0]"), std::string::npos) << result;      // of the bias
  EXPECT_NE(result.find("slice"), std::string::npos) << result;                             // of what is returned
  EXPECT_EQ(result.find("@0231"), std::string::npos) << result;                             // nothing is left of channels-last
  // 1 / 0 in the channels that nobody asked for would spread.
  std::string unsafe = text;
  unsafe.replace(unsafe.find("{mul("), 5, "{div(");
  EXPECT_FALSE(after(block_channels, unsafe + "return y", blocks_of(8)).bodies.empty());
  EXPECT_NE(str(after(block_channels, unsafe + "return y", blocks_of(8)), TextOptions{.names = false, .origins = false}).find("@0231"), std::string::npos);
}

TEST(BlockChannels, GroupsStayWhole) {
  const std::string text =
      "x = input f32[n,3,32,32]\nu = param f32[60,3,3,3]\nw = param f32[60,12,3,3]\nv = param f32[60,60,1,1]\n"
      "s@0231 = conv(x, u) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1]\n"
      "t@0231 = conv(s, w) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=5\n"
      "y@0231 = conv(t, v) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]\n"
      "r = reduce(y) kind=mean axes=[2,3]\nreturn r";
  const std::string result = str(after(block_channels, text, blocks_of(8)), TextOptions{.names = false, .origins = false});
  EXPECT_NE(result.find("groups=6"), std::string::npos) << result;  // 72 channels, 6 times 12
}

TEST(BlockChannels, CopiesAtTheBorderMustPay) {
  Network net = parse_network(
      "x = input f32[n,3,32,32]\nu = param f32[16,3,4,4]\n"
      "s@0231 = conv(x, u) stride=[4,4] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]\n"
      "t = reshape(s) shape=[n,16,64]\nreturn t");
  EXPECT_FALSE(block_channels(net, blocks_of(8)));
}

TEST(BlockChannels, OtherLayersReadTheImageInOneRun) {
  std::string text = "x = input f32[n,3,32,32]\nw = param f32[16,16,3,3]\nu = param f32[16,3,3,3]\na0@0231 = conv(x, u) pad_before=[1,1] pad_after=[1,1]\n";
  for (int k = 0; k < 4; ++k) text += "a" + std::to_string(k + 1) + "@0231 = conv(a" + std::to_string(k) + ", w) pad_before=[1,1] pad_after=[1,1]\n";
  const Network net = after(block_channels, text + "m = reduce(a4) kind=mean axes=[1]\nreturn m", blocks_of(8));
  const std::string result = str(net, TextOptions{.names = false, .origins = false});
  EXPECT_NE(result.find("@03412 = pointwise"), std::string::npos) << result;
  EXPECT_NE(result.find("shape=[n,16,32,32]"), std::string::npos) << result;
}

}  // namespace
}  // namespace tuyere
