// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

const std::string kBothProducts = "x = input f16[512,64]\nw = param f16[128,64]\nv = param f16[128,64]\nu = matmul(x, v) trans_b=true type=f16\n";
const std::string kGatedUnit = kBothProducts + "y = matmul(x, w, u) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\n";

TEST(FuseGates, SecondProductReadsTheFirst) {
  expect_pass(fuse_gates, kGatedUnit + "return y\n",
              "x = input f16[512,64]\nw = param f16[128,64]\nv = param f16[128,64]\n"
              "y = gated_matmul(x, w, v) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\nreturn y",
              on_cuda());
}

TEST(FuseGates, FormulasOfBothProducts) {
  expect_pass(fuse_gates,
              "x = input f16[512,64]\nw = param f16[64,128]\nv = param f16[64,128]\nb = param f16[128]\nc = param f16[128]\n"
              "u = matmul(x, v, c) type=f16 epilogue={relu(add(i0:f32, i1:f32))}\n"
              "y = matmul(x, w, b, u) type=f16 epilogue={mul(add(i0:f32, i1:f32), i2:f32)}\nreturn y\n",
              "x = input f16[512,64]\nw = param f16[64,128]\nv = param f16[64,128]\nb = param f16[128]\nc = param f16[128]\n"
              "y = gated_matmul(x, w, v, c, b) type=f16 epilogue={i0:f32, i1:f32, i2:f32, i3:f32 -> v4 = add(i1, i2); v5 = relu(v4); v6 = add(i0, i3); "
              "v7 = mul(v6, v5); v7}\nreturn y",
              on_cuda());
}

TEST(FuseGates, OthersStay) {
  PassContext ampere = on_cuda(), libraries = on_cuda();
  ampere.target.sm = 80;
  libraries.own_kernels = false;
  expect_unchanged(fuse_gates, kGatedUnit + "return y\n", ampere);
  expect_unchanged(fuse_gates, kGatedUnit + "return y\n", libraries);
  expect_unchanged(fuse_gates, kGatedUnit + "return y\n", on_cpu());
  expect_unchanged(fuse_gates, kGatedUnit + "return y, u\n", on_cuda());
  // Other rows, and a gate that is no product.
  expect_unchanged(fuse_gates,
                   "x = input f16[512,64]\nz = input f16[512,64]\nw = param f16[128,64]\nv = param f16[128,64]\nu = matmul(z, v) trans_b=true type=f16\n"
                   "y = matmul(x, w, u) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\nreturn y\n",
                   on_cuda());
  expect_unchanged(fuse_gates,
                   kBothProducts + "g = input f16[512,128]\ny = matmul(x, w, g) trans_b=true type=f16 epilogue={mul(silu(i0:f32), i1:f32)}\nreturn u, y\n",
                   on_cuda());
}

}  // namespace
}  // namespace tuyere
