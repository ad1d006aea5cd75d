// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(SpaceToDepth, StridedWindowsOverBlocksWithTheirBorders) {
  expect_pass(
      space_to_depth,
      "x = input f16[n,3,32,32]\nw = param f16[64,3,7,7]\ny = conv(x, w) stride=[2,2] pad_before=[3,3] pad_after=[3,3] dilation=[1,1] type=f16\nreturn y",
      "x = input f16[n,3,32,32]\nw = param f16[64,3,7,7]\n"
      "a = reshape(x) shape=[n,3,16,2,16,2]\np@024351 = pad(a) before=[0,0,2,0,2,0] after=[0,1,1,0,1,0]\nb = permute(p) perm=[0,3,5,1,2,4]\n"
      "i = reshape(b) shape=[n,16,19,19]\nv = pad(w) before=[0,0,1,1] after=[0,1,0,0]\nu = reshape(v) shape=[64,4,4,2,4,2]\n"
      "t = permute(u) perm=[0,3,5,1,2,4]\ns = reshape(t) shape=[64,16,4,4]\n"
      "y = conv(i, s) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] type=f16\nreturn y",
      on_cuda());
}

TEST(SpaceToDepth, PatchesInTheOrderOfMemory) {
  const std::string conv = "y = conv(x, w) stride=[4,4] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] type=bf16\nreturn y";
  const std::string last = " stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] type=bf16\nreturn y";
  expect_pass(space_to_depth, "x = input bf16[2,3,8,12]\nw = param bf16[96,3,4,4]\n" + conv,
              "x = input bf16[2,3,8,12]\nw = param bf16[96,3,4,4]\na = reshape(x) shape=[2,3,2,4,3,4]\nc@024135 = pointwise(a) program={i0:f32} types=[bf16]\n"
              "b = permute(c) perm=[0,1,3,5,2,4]\ni = reshape(b) shape=[2,48,2,3]\nu = reshape(w) shape=[96,3,1,4,1,4]\nt = permute(u) perm=[0,1,3,5,2,4]\n"
              "s = reshape(t) shape=[96,48,1,1]\ny = conv(i, s)" +
                  last,
              on_cuda());
  // Columns that no window reads are cut off.
  expect_pass(space_to_depth, "x = input bf16[2,3,8,14]@0231\nw = param bf16[96,3,4,4]\n" + conv,
              "x = input bf16[2,3,8,14]@0231\nw = param bf16[96,3,4,4]\nk = slice(x) axis=3 start=0 end=12\na = reshape(k) shape=[2,3,2,4,3,4]\n"
              "c@024351 = pointwise(a) program={i0:f32} types=[bf16]\nb = permute(c) perm=[0,3,5,1,2,4]\ni = reshape(b) shape=[2,48,2,3]\n"
              "u = reshape(w) shape=[96,3,1,4,1,4]\nt = permute(u) perm=[0,3,5,1,2,4]\ns = reshape(t) shape=[96,48,1,1]\ny = conv(i, s)" +
                  last,
              on_cuda());
}

TEST(SpaceToDepth, OthersStay) {
  const auto stays = [](const std::string& x, const std::string& w, const std::string& attributes, const PassContext& context) {
    SCOPED_TRACE(x + " " + w + " " + attributes);
    expect_unchanged(space_to_depth, "x = input " + x + "\nw = param " + w + "\ny = conv(x, w) " + attributes + "\nreturn y", context);
  };
  const std::string no_pad = " pad_before=[0,0] pad_after=[0,0] dilation=[1,1] type=f16";
  stays("f16[2,3,8,8]", "f16[16,3,3,3]", "stride=[1,1]" + no_pad, on_cuda());
  stays("f16[2,3,8,8]", "f16[16,3,1,1]", "stride=[2,2]" + no_pad, on_cuda());  // most pixels are not read
  stays("f16[2,3,9,9]", "f16[16,3,3,3]", "stride=[2,2]" + no_pad, on_cuda());  // no whole blocks, and all of them are read
  stays("f16[2,16,8,8]", "f16[16,16,2,2]", "stride=[2,2]" + no_pad, on_cuda());
  stays("f16[2,3,8,n]", "f16[16,3,2,2]", "stride=[2,2]" + no_pad, on_cuda());
  stays("f16[2,3,8,8]", "f16[16,3,2,2]", "stride=[2,2]" + no_pad, on_cpu());
  stays("f32[2,3,8,8]", "f32[16,3,2,2]", "stride=[2,2] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]", on_cuda());
}

}  // namespace
}  // namespace tuyere
