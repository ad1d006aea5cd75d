// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(Layout, ConvolutionsWriteChannelsLastAndOutputsStay) {
  expect_pass(layout,
              "x = input f32[n,3,32,32]\nw = param f32[8,3,3,3]\nv = param f32[8,8,1,1]\n"
              "a = conv(x, w)\nb = relu(a)\nc = conv(b, v)\nd = add(c, b)\nreturn d",
              "x = input f32[n,3,32,32]\nw = param f32[8,3,3,3]\nv = param f32[8,8,1,1]\n"
              "x_1@0231 = pointwise(x) program={i0:f32} types=[f32]\n"
              "a@0231 = conv(x_1, w)\nb@0231 = relu(a)\nc@0231 = conv(b, v)\nd = add(c, b)\nreturn d");
}

TEST(Layout, PoolingFollowsAndCopiesAreShared) {
  expect_pass(layout,
              "x = input f32[n,3,32,32]\nw = param f32[8,3,3,3]\nv = param f32[8,3,3,3]\n"
              "a = conv(x, w)\nb = conv(x, v)\nc = concat(a, b) axis=1\np = pool(c) kernel=[2,2] stride=[2,2]\nreturn p",
              "x = input f32[n,3,32,32]\nw = param f32[8,3,3,3]\nv = param f32[8,3,3,3]\n"
              "x_1@0231 = pointwise(x) program={i0:f32} types=[f32]\n"
              "a@0231 = conv(x_1, w)\nb@0231 = conv(x_1, v)\nc@0231 = concat(a, b) axis=1\np@0231 = pool(c) kernel=[2,2] stride=[2,2]\n"
              "y = pointwise(p) program={i0:f32} types=[f32]\nreturn y");
}

TEST(Layout, ChannelsLastInputNeedsNoCopyAndWeightsAreOrderedOnCuda) {
  expect_pass(layout,
              "x = input f16[n,8,32,32]@0231\nw = param f16[8,8,3,3]\nd = param f16[8,1,3,3]\n"
              "a = conv(x, w) type=f16\nb = conv(a, d) groups=8 type=f16\nr = reduce(b) kind=mean axes=[2,3] type=f16\nreturn r",
              "x = input f16[n,8,32,32]@0231\nw = param f16[8,8,3,3]\nd = param f16[8,1,3,3]\n"
              "w_1@0231 = pointwise(w) program={i0:f32} types=[f16]\n"
              "a@0231 = conv(x, w_1) type=f16\nb@0231 = conv(a, d) groups=8 type=f16\nr = reduce(b) kind=mean axes=[2,3] type=f16\nreturn r",
              on_cuda());
}

TEST(Layout, GroupNormsTurnTheirResultsThemselvesOnCuda) {
  const char* text = "x = input f16[n,8,32,32]@0231\ny = norm(x) kind=group groups=4 type=f16\nreturn y";
  expect_pass(layout, text, text, on_cuda());
  expect_pass(layout, text,
              "x = input f16[n,8,32,32]@0231\ny_1@0231 = norm(x) kind=group groups=4 type=f16\n"
              "y = pointwise(y_1) program={i0:f32} types=[f16]\nreturn y");
  // What others read too stays as it is.
  expect_pass(layout, "x = input f16[n,8,32,32]@0231\na = norm(x) kind=group groups=4 type=f16\nr = reduce(a) axes=[2,3] type=f16\nreturn a, r",
              "x = input f16[n,8,32,32]@0231\na_1@0231 = norm(x) kind=group groups=4 type=f16\nr = reduce(a_1) axes=[2,3] type=f16\n"
              "a = pointwise(a_1) program={i0:f32} types=[f16]\nreturn a, r",
              on_cuda());
}

TEST(Layout, ThePointwiseLayerBeforeAConvolutionWritesItsOrder) {
  expect_pass(layout, "x = input f32[n,3,32,32]\nw = param f32[8,3,3,3]\na = relu(x)\nb = conv(a, w)\nr = reduce(b) kind=mean axes=[2,3]\nreturn r",
              "x = input f32[n,3,32,32]\nw = param f32[8,3,3,3]\na@0231 = relu(x)\nb@0231 = conv(a, w)\nr = reduce(b) kind=mean axes=[2,3]\nreturn r");
}

TEST(Layout, ViewsOfTokensAreImages) {
  expect_pass(layout,
              "x = input f32[n,h*v,8]\nw = param f32[8,8,3,3]\n"
              "a = permute(x) perm=[0,2,1]\nb = reshape(a) shape=[n,8,h,v]\nc = conv(b, w) pad_before=[1,1] pad_after=[1,1]\n"
              "d = reshape(c) shape=[n,8,h*v]\ne = permute(d) perm=[0,2,1]\ny = relu(e)\nreturn y",
              "x = input f32[n,h*v,8]\nw = param f32[8,8,3,3]\n"
              "a = permute(x) perm=[0,2,1]\nb@0231 = reshape(a) shape=[n,8,h,v]\nc@0231 = conv(b, w) pad_before=[1,1] pad_after=[1,1]\n"
              "d = reshape(c) shape=[n,8,h*v]\ne = permute(d) perm=[0,2,1]\ny = relu(e)\nreturn y");
}

TEST(Layout, ConvNextBlocksNeedNoCopies) {
  const Network net = after(layout,
                            "x = input f32[n,8,h,v]@0231\nw = param f32[8,1,7,7]\nu = param f32[8,8]\ng = param f32[8]\n"
                            "a = conv(x, w) groups=8 pad_before=[3,3] pad_after=[3,3]\nb = permute(a) perm=[0,2,3,1]\n"
                            "c = norm(b, g) kind=layer has_weight=true\nd = matmul(c, u) trans_b=true\ne = permute(d) perm=[0,3,1,2]\n"
                            "f = add(e, x)\nk = conv(f, w) groups=8 pad_before=[3,3] pad_after=[3,3]\nr = reduce(k) kind=mean axes=[2,3]\nreturn r");
  EXPECT_EQ(net.main().layers.size(), 8u);
  EXPECT_EQ(str(net).find("i0:f32}"), std::string::npos);
}

TEST(Layout, AttentionWritesWhatThePermuteReads) {
  expect_pass(layout, "q = input f32[b,4,s,16]\na = attention(q, q, q)\nc = permute(a) perm=[0,2,1,3]\nd = reshape(c) shape=[b,s,64]\nreturn d",
              "q = input f32[b,4,s,16]\na@0213 = attention(q, q, q)\nc = permute(a) perm=[0,2,1,3]\nd = reshape(c) shape=[b,s,64]\nreturn d");
}

TEST(Layout, AttentionOfSequenceFirstModels) {
  expect_pass(layout, "q = input f32[b,4,s,16]\na = attention(q, q, q)\nc = permute(a) perm=[2,0,1,3]\nd = reshape(c) shape=[b*s,64]\nreturn d",
              "q = input f32[b,4,s,16]\na@2013 = attention(q, q, q)\nc = permute(a) perm=[2,0,1,3]\nd = reshape(c) shape=[b*s,64]\nreturn d");
}

TEST(Layout, GradientsOfConvolutionsShareOneCopy) {
  const std::string lists = "stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]", weight = "conv_weight_gradient(";
  expect_pass(layout,
              "g = input f32[n,8,6,6]\nx = input f32[n,4,8,8]@0231\nw = input f32[8,4,3,3]\n"
              "a = conv(g, w) transposed=true\nb = " +
                  weight + "g, x) kernel=[3,3] " + lists + "\nreturn a, b",
              "g = input f32[n,8,6,6]\nx = input f32[n,4,8,8]@0231\nw = input f32[8,4,3,3]\n"
              "g_1@0231 = pointwise(g) program={i0:f32} types=[f32]\na@0231 = conv(g_1, w) transposed=true\nb = " +
                  weight + "g_1, x) kernel=[3,3] " + lists + "\ny = pointwise(a) program={i0:f32} types=[f32]\nreturn y, b");
}

TEST(Layout, WeightsThatChangeAndTheirGradientsOnCuda) {
  const std::string lists = "stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1]";
  expect_pass(layout,
              "g = input f32[n,8,6,6]@0231\nx = input f32[n,4,8,8]@0231\nw = input f32[8,4,3,3]\n"
              "a = conv(g, w) transposed=true\nb = conv_weight_gradient(g, x) kernel=[3,3] " +
                  lists + "\nc = relu(a)\nreturn c, b",
              "g = input f32[n,8,6,6]@0231\nx = input f32[n,4,8,8]@0231\nw = input f32[8,4,3,3]\n"
              "d@0231 = conv_weight_gradient(g, x) kernel=[3,3] " +
                  lists +
                  "\nw_1@0231 = pointwise(w) program={i0:f32} types=[f32]\na@0231 = conv(g, w_1) transposed=true\nc = relu(a)\nb = pointwise(d) "
                  "program={i0:f32} types=[f32]\nreturn c, b",
              on_cuda());
}

/// On the CPU their kernels take either order, on a GPU all of them want channels innermost, in weights too.
TEST(Layout, TransposedConvolutionsAreChannelsLastOnCuda) {
  const std::string text =
      "x = input f16[n,8,6,6]\nw = param f16[8,4,4,4]\na = conv(x, w) stride=[2,2] transposed=true output_padding=[0,0]\nb = relu(a)\nreturn b";
  expect_unchanged(layout, text, on_cpu());
  expect_pass(layout, text,
              "x = input f16[n,8,6,6]\nw = param f16[8,4,4,4]\nx_1@0231 = pointwise(x) program={i0:f32} types=[f16]\n"
              "w_1@0231 = pointwise(w) program={i0:f32} types=[f16]\n"
              "a@0231 = conv(x_1, w_1) stride=[2,2] transposed=true output_padding=[0,0]\nb = relu(a)\nreturn b",
              on_cuda());
}

TEST(Layout, LinesOfTokensAreImagesWhereTheyAreConvolved) {
  const std::string text =
      "x = input f32[n,s,8]\nw = param f32[16,8,1]\nv = param f32[8,16,3]\n"
      "a = permute(x) perm=[0,2,1]\nb = conv(a, w)\nc = tanh(b)\nd = conv(c, v) pad_before=[1] pad_after=[1]\n"
      "e = permute(d) perm=[0,2,1]\ny = relu(e)\nreturn y";
  const auto laid_out = [](const std::string& v, const std::string& copy) {
    return "x = input f32[n,s,8]\nw = param f32[16,8,1]\nv = param f32[8,16,3]\na@021 = permute(x) perm=[0,2,1]\nb@021 = conv(a, w)\nc@021 = tanh(b)\n" + copy +
           "d@021 = conv(c, " + v + ") pad_before=[1] pad_after=[1]\ne = permute(d) perm=[0,2,1]\ny = relu(e)\nreturn y";
  };
  expect_pass(layout, text, laid_out("v", ""));
  expect_pass(layout, text, laid_out("v_1", "v_1@021 = pointwise(v) program={i0:f32} types=[f32]\n"), on_cuda());
}

TEST(Layout, TransposedTokensWithoutConvolutionsAreRowMajor) {
  expect_pass(layout, "x = input f32[n,s,8]\na = permute(x) perm=[0,2,1]\nb = relu(a)\nreturn b",
              "x = input f32[n,s,8]\na = permute(x) perm=[0,2,1]\nb = relu(a)\nreturn b");
}

TEST(Layout, NothingToDo) { expect_unchanged(layout, "x = input f32[n,8]\nw = param f32[8,8]\ny = matmul(x, w)\nz = relu(y)\nreturn z\n"); }

}  // namespace
}  // namespace tuyere
