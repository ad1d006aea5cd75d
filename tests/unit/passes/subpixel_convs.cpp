// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kUpsampled = "x = input f16[n,32,h,16]\nw = param f16[32,8,2,3]\nb = param f16[8,1,1]\n";
const std::string kTransposed = "conv(x, w, b) stride=[2,3] transposed=true output_padding=[0,0] type=f16 epilogue={relu(add(i0:f32, i1:f32))}\n";

TEST(SubpixelConvs, BecomeProductsAndBlocksOfPixels) {
  expect_pass(
      subpixel_convs, kUpsampled + "y = " + kTransposed + "return y",
      kUpsampled +
          "wp = permute(w) perm=[2,3,1,0]\nwr = reshape(wp) shape=[48,32,1,1]\np = conv(x, wr) stride=[1,1] type=f16\n"
          "s = reshape(p) shape=[n,2,3,8,h,16]\nt = permute(s) perm=[0,4,1,5,2,3]\nbr = reshape(b) shape=[8]\n"
          "e = pointwise(t, br) program={relu(add(i0:f32, i1:f32))} types=[f16]\nj = reshape(e) shape=[n,2*h,48,8]\ny = permute(j) perm=[0,3,1,2]\nreturn y",
      on_cuda());
}

TEST(SubpixelConvs, ResidualsAreReadByBlocks) {
  const std::string text = "x = input f32[2,4,5]\nw = param f32[4,6,2]\nr = input f32[2,6,10]\n";
  expect_pass(subpixel_convs, text + "y = conv(x, w, r) stride=[2] transposed=true output_padding=[0] epilogue={add(i0:f32, i1:f32)}\nreturn y",
              text +
                  "wp = permute(w) perm=[2,1,0]\nwr = reshape(wp) shape=[12,4,1]\np = conv(x, wr) stride=[1]\ns = reshape(p) shape=[2,2,6,5]\n"
                  "t = permute(s) perm=[0,3,1,2]\nrp = permute(r) perm=[0,2,1]\nrr = reshape(rp) shape=[2,5,2,6]\n"
                  "e = pointwise(t, rr) program={add(i0:f32, i1:f32)} types=[f32]\nj = reshape(e) shape=[2,10,6]\ny = permute(j) perm=[0,2,1]\nreturn y",
              on_cuda());
}

/// The first layer of a generator.
TEST(SubpixelConvs, ASinglePixelHasOneWindow) {
  const std::string text = "x = input f16[n,32,1,1]\nw = param f16[32,8,4,4]\n";
  expect_pass(
      subpixel_convs, text + "y = conv(x, w) stride=[1,2] transposed=true output_padding=[0,0] type=f16\nreturn y",
      text +
          "wp = permute(w) perm=[2,3,1,0]\nwr = reshape(wp) shape=[128,32,1,1]\np = conv(x, wr) type=f16\ns = reshape(p) shape=[n,4,4,8,1,1]\n"
          "t = permute(s) perm=[0,4,1,5,2,3]\ne = pointwise(t) program={i0:f32} types=[f16]\nj = reshape(e) shape=[n,4,4,8]\ny = permute(j) perm=[0,3,1,2]\n"
          "return y",
      on_cuda());
}

TEST(SubpixelConvs, OthersStay) {
  expect_unchanged(subpixel_convs, kUpsampled + "y = " + kTransposed + "return y", on_cpu());
  for (const std::string& attributes :
       {std::string("stride=[2,2] transposed=true output_padding=[0,0]"), std::string("stride=[2,3] transposed=true output_padding=[1,0]"),
        std::string("stride=[2,3] pad_before=[1,0] pad_after=[1,0] transposed=true output_padding=[0,0]"),
        std::string("stride=[2,3] groups=2 transposed=true output_padding=[0,0]")}) {
    SCOPED_TRACE(attributes);
    expect_unchanged(subpixel_convs, kUpsampled + "y = conv(x, w) " + attributes + " type=f16\nreturn y", on_cuda());
  }
}

/// On a GPU own kernels finish transposed convolutions by anything, but for those that only cuDNN is fast at.
TEST(FuseEpilogue, TransposedConvolutions) {
  const std::string image = "x = input f16[2,32,8,8]\nw = param f16[32,8,3,3]\n",
                    rest = " transposed=true output_padding=[0,0] type=f16\nz = relu(y)\nreturn z";
  const auto fused = [](const std::string& text, const PassContext& context) {
    return str(after(fuse_epilogue, text, context)).find("epilogue") != std::string::npos;
  };
  const std::string overlapping = image + "y = conv(x, w) stride=[2,2]" + rest, dilated = image + "y = conv(x, w) stride=[2,2] dilation=[2,2]" + rest;
  EXPECT_TRUE(fused(overlapping, on_cuda()));
  EXPECT_TRUE(fused(overlapping, on_cpu()));
  EXPECT_TRUE(fused(dilated, on_cpu()));
  expect_unchanged(fuse_epilogue, dilated, on_cuda());
  expect_unchanged(fuse_epilogue, "x = input f16[2,32,8,8]\nw = input f16[32,8,3,3]\ny = conv(x, w) stride=[2,2]" + rest, on_cuda());
  expect_unchanged(fuse_epilogue, "x = input f16[2,8,8,8]\nw = param f16[8,1,4,4]\ny = conv(x, w) stride=[2,2] groups=8" + rest, on_cuda());
  PassContext libraries = on_cuda();
  libraries.own_kernels = false;
  expect_unchanged(fuse_epilogue, overlapping, libraries);
  EXPECT_TRUE(fused(kUpsampled + "y = conv(x, w) stride=[2,3]" + rest, libraries));
}

}  // namespace
}  // namespace tuyere
