// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

TEST(ConvMatMuls, ImagesOfOnePixel) {
  for (const PassContext& context : {on_cuda(), on_cpu()}) {
    expect_pass(conv_matmuls,
                "x = input f16[n,32,1,1]\nw = param f16[8,32,1,1]\nb = param f16[8,1,1]\nr = input f16[n,8,1,1]\n"
                "y = conv(x, w, b, r) type=f16 epilogue={add(add(i0:f32, i1:f32), i2:f32)}\nreturn y",
                "x = input f16[n,32,1,1]\nw = param f16[8,32,1,1]\nb = param f16[8,1,1]\nr = input f16[n,8,1,1]\n"
                "w2 = reshape(w) shape=[8,32]\nx2 = reshape(x) shape=[n,32]\nb2 = reshape(b) shape=[8]\nr2 = reshape(r) shape=[n,8]\n"
                "m = matmul(x2, w2, b2, r2) trans_b=true type=f16 epilogue={add(add(i0:f32, i1:f32), i2:f32)}\ny = reshape(m) shape=[n,8,1,1]\nreturn y",
                context);
  }
}

const std::string kGated =
    "x = input f16[n,32,16,16]\nd = param f16[32,1,1,1]\ng = input f16[n,32,1,1]\nw = param f16[24,32,1,1]\na = conv(x, d) groups=32 type=f16\n";

TEST(ConvMatMuls, GatesMoveIntoTheWeight) {
  expect_pass(
      conv_matmuls, kGated + "s = mul(a, g)\ny = conv(s, w) type=f16\nreturn y",
      "x = input f16[n,32,16,16]\nd = param f16[32,1,1,1]\ng = input f16[n,32,1,1]\nw = param f16[24,32,1,1]\na = conv(x, d) groups=32 type=f16\n"
      "w3 = reshape(w) shape=[1,24,32]\ng3 = reshape(g) shape=[n,1,32]\nwg = mul(w3, g3)\np = permute(a) perm=[0,2,3,1]\nr = reshape(p) shape=[n,256,32]\n"
      "m = matmul(r, wg) trans_b=true type=f16\nq = reshape(m) shape=[n,16,16,24]\ny = permute(q) perm=[0,3,1,2]\nreturn y",
      on_cuda());
}

const std::string kPixelwise =
    "x = input f16[2,64,16,16]\nd = param f16[64,1,1,1]\nw = param f16[72,64,1,1]\ns = param f32[72,1,1]\na = conv(x, d) groups=64 type=f16\n";

TEST(ConvMatMuls, FormulasThatLibrariesDoNotKnow) {
  const std::string image = kPixelwise + "y = conv(a, w, s) type=f16 epilogue={mul(relu(i0:f32), i1:f32)}\nreturn y";
  expect_pass(conv_matmuls, image,
              kPixelwise +
                  "w2 = reshape(w) shape=[72,64]\np = permute(a) perm=[0,2,3,1]\nr = reshape(p) shape=[2,256,64]\ns2 = reshape(s) shape=[72]\n"
                  "m = matmul(r, w2, s2) trans_b=true type=f16 epilogue={mul(relu(i0:f32), i1:f32)}\nq = reshape(m) shape=[2,16,16,72]\n"
                  "y = permute(q) perm=[0,3,1,2]\nreturn y",
              on_cuda());
  PassContext ampere = on_cuda();
  ampere.target.sm = 80;
  expect_unchanged(conv_matmuls, image, ampere);
  expect_unchanged(conv_matmuls, image, on_cpu());
  expect_unchanged(conv_matmuls, kPixelwise + "y = conv(a, w, s) type=f16 epilogue={relu(add(i0:f32, i1:f32))}\nreturn y", on_cuda());
}

TEST(ConvMatMuls, OthersStay) {
  const auto stays = [](const std::string& text) {
    SCOPED_TRACE(text);
    expect_unchanged(conv_matmuls, text, on_cuda());
  };
  stays(kGated + "s = mul(a, g)\ny = conv(s, w) type=f16\nreturn y, s");  // the product is needed
  stays(kGated + "s = add(a, g)\ny = conv(s, w) type=f16\nreturn y");
  stays(kGated + "s = pointwise(a, g) program={mul(i0:f32, add(i0:f32, i1:f32))} types=[f16]\ny = conv(s, w) type=f16\nreturn y");
  stays(kGated + "v = param f16[200,32,1,1]\ns = mul(a, g)\ny = conv(s, v) type=f16\nreturn y");  // more weights than pixels
  stays("x = input f16[n,32,16,16]\ng = input f16[n,32,1,1]\nw = param f16[24,32,1,1]\ns = mul(x, g)\ny = conv(s, w) type=f16\nreturn y");
  expect_unchanged(conv_matmuls, kGated + "s = mul(a, g)\ny = conv(s, w) type=f16\nreturn y", on_cpu());
}

}  // namespace
}  // namespace tuyere
