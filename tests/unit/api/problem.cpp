// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/problem.h"

#include <gtest/gtest.h>

#include <limits>

#include "common/error.h"
#include "kernels/api/cuda_step.h"
#include "kernels/api/tactic.h"

namespace tuyere {
namespace {

Shape S(std::string_view text) { return parse_shape(text); }

TensorDesc channels_last(DType type, Shape s) {
  TensorDesc t = desc(type, s);
  t.strides = {s[1] * s[2] * s[3], 1, s[1] * s[3], s[1]};
  return t;
}

TEST(Problem, KeyRoundTrips) {
  Problem p;
  p.op = parse_op("conv stride=[1,1] pad_before=[1,1] pad_after=[1,1] type=f16 epilogue={i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = relu(v2); v3}");
  p.in = {channels_last(DType::F16, S("[n,64,56,56]")), desc(DType::F16, S("[64,64,3,3]")), desc(DType::F16, S("[64,1,1]"))};
  p.in[1].constant = true;
  p.in[2].alignment = 16;
  p.out = {channels_last(DType::F16, S("[n,64,56,56]"))};
  p.hints.set("n", 8);
  p.hints.set("unused", 3);
  p.deterministic = false;
  EXPECT_EQ(key(p),
            "conv stride=[1,1] pad_before=[1,1] pad_after=[1,1] type=f16 epilogue={relu(add(i0:f32, i1:f32))} | f16[n,64,56,56]{200704,1,3584,64}, "
            "const f16[64,64,3,3], f16[64,1,1]@16 -> f16[n,64,56,56]{200704,1,3584,64} | n=8 nondeterministic");
  Problem q = parse_problem(key(p));
  EXPECT_EQ(key(q), key(p));
  EXPECT_EQ(q.in, p.in);
  EXPECT_EQ(q.deterministic, false);
  EXPECT_EQ(*q.hints.find("n"), 8);
  EXPECT_FALSE(q.is_static());
  EXPECT_EQ(key(parse_problem("permute perm=[1,0] | f32[min(n,4),3]{1,n} -> f32[3,min(n,4)]")), "permute perm=[1,0] | f32[min(n,4),3]{1,n} -> f32[3,min(n,4)]");
  EXPECT_EQ(key(parse_problem("iota count=5 |  -> i64[5]")), "iota count=5 |  -> i64[5]");
  for (const char* bad : {"conv", "conv | f32[1]", "conv | f32 -> f32[1]", "conv | f32[1]{1,2} -> f32[1]", "conv | f32[1]x -> f32[1]", "conv | -> f32[1] | n"})
    EXPECT_THROW(parse_problem(bad), Error) << bad;
}

TEST(Problem, MemoryOrder) {
  EXPECT_TRUE(desc(DType::F32, S("[n,c,h,w]")).is_contiguous());
  EXPECT_FALSE(desc(DType::F32, S("[n,c,h,w]")).is_channels_last());
  EXPECT_TRUE(channels_last(DType::F32, S("[n,c,h,w]")).is_channels_last());
  EXPECT_FALSE(channels_last(DType::F32, S("[n,c,h,w]")).is_contiguous());
  EXPECT_TRUE(channels_last(DType::F32, S("[n,c,1,1]")).is_contiguous());
  EXPECT_TRUE(desc(DType::F32, S("[n,1,h,w]")).is_channels_last());
  EXPECT_FALSE(desc(DType::F32, S("[n,c]")).is_channels_last());
  TensorDesc expanded = desc(DType::F32, S("[2,3]"));
  expanded.strides = {0, 1};
  EXPECT_FALSE(expanded.is_contiguous());
  Target target;
  EXPECT_EQ(target.arch(), "cpu");
  target.kind = Target::Kind::Cuda;
  target.sm = 80;
  EXPECT_EQ(target.arch(), "sm_80");
  target.sm = 100;
  EXPECT_EQ(target.arch(), "sm_100a");
}

TEST(Problem, Cost) {
  Problem matmul = parse_problem("matmul trans_b=true | f16[4,m,64], f16[32,64] -> f16[4,m,32] | m=10");
  EXPECT_EQ(flops(matmul), 2.0 * 4 * 10 * 64 * 32);
  EXPECT_EQ(traffic_bytes(matmul), 2 * (4 * 10 * 64 + 32 * 64 + 4 * 10 * 32));
  Problem conv = parse_problem("conv groups=2 | f32[1,4,8,8], f32[6,2,3,3] -> f32[1,6,6,6]");
  EXPECT_EQ(flops(conv), 2.0 * 216 * 18);
  Problem attention = parse_problem("attention | f16[1,2,8,16], f16[1,2,4,16], f16[1,2,4,16] -> f16[1,2,8,16]");
  EXPECT_EQ(flops(attention), 2.0 * 8 * 4 * (2 * 32 + 5));
  EXPECT_EQ(traffic_bytes(parse_problem("gather | f32[1000,8], i64[3] -> f32[3,8]")), 96 + 24 + 96);
  EXPECT_EQ(traffic_bytes(parse_problem("pointwise | f32[1000]{0} -> f32[1000]")), 4 + 4000);
  EXPECT_EQ(flops(parse_problem("reshape shape=[4] | f32[2,2] -> f32[4]")), 0);
}

struct Nothing : Tactic {
  std::string_view name() const override { return "own.test"; }
  std::string_view source() const override { return "own"; }
  Support supports(const Problem& p, const Target&) const override {
    REQUIRE(p.in.size() == 1, "not one input");
    return Support::yes();
  }
  StepSpec make(const Problem&, const Target&, const Config&) const override { return {}; }
};

TEST(Tactic, DefaultEstimateAndSupport) {
  Problem p = parse_problem("pointwise | f32[1000000] -> f32[1000000]");
  Target target;
  EXPECT_NEAR(Nothing().estimate(p, target, ""), 8e6 / 10e9 + 2e-6, 1e-9);
  target.kind = Target::Kind::Cuda;
  target.copy_gbps = 2000;
  EXPECT_NEAR(Nothing().estimate(p, target, ""), 8e6 / 2000e9 + 2e-6, 1e-12);
  EXPECT_TRUE(Nothing().supports(p, target));
  p.in.clear();
  EXPECT_EQ(Nothing().supports(p, target).reason(), "not one input");
}

struct NoExecutor : Executor {
  Result<std::unique_ptr<Executable>> prepare(const StepSpec&, const PrepareArgs&) override { return Status(Code::Unsupported, "none"); }
};

TEST(Step, WorkspaceAndViews) {
  Symbols symbols;
  symbols.set("n", 3);
  StepSpec spec{"cuda", "{}", {}, Dim::parse("256*n")};
  PrepareArgs args;
  NoExecutor executor;
  EXPECT_FALSE(executor.workspace(spec, args).is_ok());
  args.symbols = &symbols;
  EXPECT_EQ(executor.workspace(spec, args).value(), 768);
  EXPECT_EQ((TensorView{DType::F32, {2, 3, 4}, {}}).numel(), 24);
  EXPECT_EQ((TensorView{DType::F32, {2, 0}, {}}).numel(), 0);
}

TEST(CudaStep, JsonRoundTrips) {
  KernelLaunch launch;
  launch.kernel = "k0";
  launch.blob = 1;
  launch.grid = {Dim::parse("(n+255)//256"), 2, 1};
  launch.block = {256, 1, 1};
  launch.shared_bytes = 1024;
  launch.cluster = 2;
  launch.pdl = true;
  launch.args = {KernelArg::ptr(0),
                 KernelArg::ptr(2, Dim::parse("4*n")),
                 KernelArg::int32(Dim::parse("n")),
                 KernelArg::int64(int64_t{1} << 40),
                 KernelArg::real(0.1f),
                 KernelArg::real(std::numeric_limits<float>::infinity())};
  KernelArg map;
  map.kind = KernelArg::Kind::tensor_map;
  map.pointer = 1;
  map.dims = {64, Dim::parse("n")};
  map.strides = {128};
  map.box = {64, 128};
  map.swizzle = 128;
  map.dtype = "f16";
  launch.args.push_back(map);
  KernelLaunch memset;
  memset.args = {KernelArg::ptr(3), KernelArg::int64(512)};
  CudaStep step{{memset, launch}};
  Result<CudaStep> back = parse_cuda_step(to_json(step));
  ASSERT_TRUE(back.is_ok()) << back.status().message();
  EXPECT_EQ(back->launches, step.launches);
  for (const char* bad : {"", "{}", "[1]", "{\"launches\":[{}]}", "{\"launches\":[{\"kernel\":\"k\",\"args\":[{\"kind\":\"f99\"}]}]}"})
    EXPECT_FALSE(parse_cuda_step(bad).is_ok()) << bad;
}

}  // namespace
}  // namespace tuyere
