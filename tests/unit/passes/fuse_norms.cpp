// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kNormInputs = "a = input f16[512,128]\nh = input f16[512,192]\nv = param f16[192,128]\nw = param f16[96,192]\n";
const std::string kNormWeight = "g = param f16[192]\n";
const std::string kRows = kNormInputs + kNormWeight + "x = matmul(a, v, h) trans_b=true type=f16 epilogue={add(i0:f32, i1:f32)}\n";
const std::string kRms = "y = norm(x, g) kind=rms eps=1e-06 has_weight=true type=f16\n";
const std::string kScale =  // of g: values of at most one, and a factor
    "wide = cast(g) type=f32\nsize = abs(wide)\nfactor = reduce(size) kind=max axes=[0] keepdim=true epilogue={max(i0:f32, 1e-30:f32)}\n"
    "scale = div(wide, factor)\n";
const std::string kLarge = "w = param f16[2048,192]\n";  // a weight larger than the rows

size_t count(const std::string& text, const std::string& what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(FuseNorms, SmallWeightsTakeTheScale) {
  expect_pass(fuse_norms, kRows + kRms + "z = matmul(y, w) trans_b=true type=f16\nu = add(x, h)\nreturn z, u\n",
              kNormInputs + kNormWeight +
                  "wide = cast(g) type=f32\nx, p = norm_matmul(a, v, h) trans_b=true sums=true type=f16 epilogue={add(i0:f32, i1:f32)}\n"
                  "u = add(x, h)\nf = mul(w, wide)\n"
                  "z = norm_matmul(x, f, p) trans_b=true normalizes=true kind=rms eps=1e-06 type=f16 epilogue={mul(i0:f32, i1:f32)}\nreturn z, u",
              on_cuda());
}

TEST(FuseNorms, LargeWeightsStayWhatTheyAre) {
  std::string rows = kRows;
  rows.replace(rows.find("w = param f16[96,192]\n"), 22, kLarge);
  expect_pass(
      fuse_norms, rows + kRms + "z = matmul(y, w) trans_b=true type=f16\nreturn z, x\n",
      "a = input f16[512,128]\nh = input f16[512,192]\nv = param f16[192,128]\n" + kLarge + kNormWeight + kScale +
          "x, s, p = norm_matmul(a, v, h, scale) trans_b=true sums=true type=f16 epilogue={i0:f32, i1:f32, i2:f32 -> v3 = add(i0, i1); v4 = mul(v3, i2); "
          "v3, v4}\n"
          "z = norm_matmul(s, w, factor, p) trans_b=true normalizes=true kind=rms eps=1e-06 type=f16 epilogue={mul(i0:f32, mul(i1:f32, i2:f32))}\n"
          "return z, x",
      on_cuda());
}

TEST(FuseNorms, LayerNormsCenterWeights) {
  expect_pass(fuse_norms,
              kRows +
                  "b = param f16[192]\nc = param f16[96]\ny = norm(x, g, b) has_weight=true has_bias=true type=f16\n"
                  "z = matmul(y, w, c) trans_b=true type=f16 epilogue={gelu_erf(add(i0:f32, i1:f32))}\nreturn z, x\n",
              kNormInputs + kNormWeight +
                  "b = param f16[192]\nc = param f16[96]\nwide = cast(g) type=f32\n"
                  "x, p = norm_matmul(a, v, h) trans_b=true sums=true type=f16 epilogue={add(i0:f32, i1:f32)}\n"
                  "e = cast(b) type=f32\nt = reduce(w, e) axes=[1] prologue={mul(i0:f32, i1:f32)}\nd = add(c, t) type=f16\n"
                  "f = mul(w, wide) type=f32\nm = reduce(f) kind=mean axes=[1] keepdim=true\nq = sub(f, m) type=f16\n"
                  "z = norm_matmul(x, q, d, p) trans_b=true normalizes=true type=f16 epilogue={gelu_erf(add(mul(i0:f32, i1:f32), i2:f32))}\nreturn z, x",
              on_cuda());
}

TEST(FuseNorms, LayerNormBeforeTwoProducts) {
  const Network net = after(fuse_norms,
                            kRows +
                                "b = param f16[192]\nq = param f16[192,64]\ny = norm(x, g, b) has_weight=true has_bias=true type=f16\n"
                                "z = matmul(y, w) trans_b=true type=f16 epilogue={relu(i0:f32)}\nu = matmul(y, q) type=f16\nreturn z, u, x\n",
                            on_cuda());
  const std::string text = str(net, {.names = false, .origins = false});
  EXPECT_EQ(count(text, " norm("), 0u) << text;
  EXPECT_EQ(count(text, " norm_matmul("), 3u) << text;
  EXPECT_EQ(count(text, "epilogue={relu(add(mul(i0:f32, i1:f32), i2:f32))}"), 1u) << text;
  EXPECT_EQ(count(text, "epilogue={add(mul(i0:f32, i1:f32), i2:f32)}"), 1u) << text;
  EXPECT_EQ(count(text, "kind=mean axes=[0] keepdim=true"), 1u) << text;
}

TEST(FuseNorms, ViewsOfRows) {
  const Network net = after(fuse_norms,
                            kRows + "r = reshape(x) shape=[2,256,192]\n" +
                                "y = norm(r, g) kind=rms has_weight=true type=f16\nf = reshape(y) shape=[512,192]\nz = matmul(f, w) trans_b=true type=f16\n"
                                "t = reshape(y) shape=[4,128,192]\nu = matmul(t, w) trans_b=true type=f16\nreturn z, u, r\n",
                            on_cuda());
  const std::string text = str(net, {.names = false, .origins = false});
  EXPECT_EQ(count(text, " norm("), 0u) << text;
  EXPECT_EQ(count(text, "reshape("), 3u) << text;  // the result, and rows and parts of the second product
  EXPECT_EQ(count(text, "shape=[4,128,3,2]"), 1u) << text;
}

TEST(FuseNorms, GatedUnit) {
  expect_pass(fuse_norms,
              kRows + "m = param f16[96,192]\n" + "y = norm(x) kind=rms eps=1e-06 type=f16\n" +
                  "z = gated_matmul(y, w, m) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\nreturn z, x\n",
              kNormInputs +
                  "m = param f16[96,192]\nx, p = norm_matmul(a, v, h) trans_b=true sums=true type=f16 epilogue={add(i0:f32, i1:f32)}\n"
                  "z = norm_matmul(x, w, m, p) trans_b=true gated=true normalizes=true kind=rms eps=1e-06 type=f16 epilogue={i0:f32, i1:f32, i2:f32 -> "
                  "v3 = mul(i0, i2); v4 = mul(i1, i2); v5 = silu(v3); v6 = mul(v5, v4); v6}\nreturn z, x",
              on_cuda());
}

TEST(FuseNorms, OthersStay) {
  PassContext ampere = on_cuda(), libraries = on_cuda();
  ampere.target.sm = 80;
  libraries.own_kernels = false;
  const std::string product = "z = matmul(y, w) trans_b=true type=f16\n";
  for (const PassContext& context : {ampere, libraries, on_cpu()}) expect_unchanged(fuse_norms, kRows + kRms + product + "return z\n", context);
  // The norm is an output, has another reader, or a weight that changes.
  expect_unchanged(fuse_norms, kRows + kRms + product + "return z, y\n", on_cuda());
  expect_unchanged(fuse_norms, kRows + kRms + product + "u = pointwise(y) program={relu(i0:f32)} types=[f16]\nreturn z, u\n", on_cuda());
  expect_unchanged(fuse_norms, kRows + "k = input f16[192]\ny = norm(x, k) kind=rms has_weight=true type=f16\n" + product + "return z\n", on_cuda());
  // No product before the norm, or one whose columns are no whole parts.
  expect_unchanged(fuse_norms, "x = input f16[512,192]\nw = param f16[96,192]\ng = param f16[192]\n" + kRms + product + "return z\n", on_cuda());
  expect_unchanged(fuse_norms,
                   "a = input f16[512,128]\nv = param f16[200,128]\nw = param f16[96,200]\nx = matmul(a, v) trans_b=true type=f16\ny = norm(x) type=f16\n" +
                       product + "return z\n",
                   on_cuda());
  // A layer norm whose weights would take more memory than its rows.
  std::string large = kRows;
  large.replace(large.find("w = param f16[96,192]\n"), 22, kLarge);
  expect_unchanged(fuse_norms, large + "y = norm(x, g) has_weight=true type=f16\n" + product + "return z\n", on_cuda());
  // A product that takes long.
  expect_unchanged(
      fuse_norms,
      "a = input f16[8192,128]\nv = param f16[2048,128]\nw = param f16[8192,2048]\nx = matmul(a, v) trans_b=true type=f16\ny = norm(x) type=f16\n" + product +
          "return z\n",
      on_cuda());
}

}  // namespace
}  // namespace tuyere
