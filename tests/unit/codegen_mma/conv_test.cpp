// SPDX-License-Identifier: Apache-2.0
// Convolution kernels on the emulator against float64 sums.
#include <gtest/gtest.h>

#include "kernels/conv/conv_view.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

/// Dim 1 innermost.
TensorDesc last(DType type, const char* shape) {
  TensorDesc t = dense(type, shape);
  Dim stride = t.shape[1];
  t.strides[1] = 1;
  for (int d = t.rank() - 1; d >= 2; --d) t.strides[d] = stride, stride *= t.shape[d];
  t.strides[0] = stride;
  return t;
}

/// Dim 0 innermost.
TensorDesc across(DType type, const char* shape) {
  TensorDesc t = dense(type, shape);
  Dim stride = t.shape[0];
  t.strides[0] = 1;
  for (int d = t.rank() - 1; d >= 1; --d) t.strides[d] = stride, stride *= t.shape[d];
  return t;
}

struct ConvCase {
  const char* name;
  const char* op;
  std::vector<TensorDesc> in, out;
  const char* config;
  Symbols hints;
  int multiprocessors = 132;
};

std::vector<ConvCase> conv_cases() {
  const char* silu = "epilogue={silu(add(i0:f32, i1:f32))}";
  static std::vector<std::string> keep;
  auto op = [&](const std::string& text) {
    keep.reserve(96);
    keep.push_back("conv " + text);
    return keep.back().c_str();
  };
  const std::string unit = "stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] ",
                    same = "stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] ";
  std::vector<ConvCase> all;
  all.push_back({"same3x3",
                 op(same + silu),
                 {last(H, "[2,16,7,9]"), last(H, "[24,16,3,3]"), dense(H, "[24,1,1]")},
                 {last(H, "[2,24,7,9]")},
                 "tile=64x32x64 stages=4 warps=2x2 splitk=1",
                 {}});
  all.push_back({"point_residual",
                 op(unit + "epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))}"),
                 {last(B, "[3,32,5,5]"), dense(B, "[40,32,1,1]"), last(B, "[3,40,5,5]"), dense(B, "[40,1,1]")},
                 {last(B, "[3,40,5,5]")},
                 "tile=128x64x32 stages=4 warps=2x2 splitk=1",
                 {}});
  all.push_back({"stream",
                 op(unit + std::string(silu)),
                 {last(H, "[3,24,9,11]"), dense(H, "[144,24,1,1]"), dense(H, "[144,1,1]")},
                 {last(H, "[3,144,9,11]")},
                 "stream rows=64 warps=4 stages=3 blocks=2",
                 {},
                 1});
  all.push_back({"stream_residual_odd",
                 op(unit + "epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))}"),
                 {last(B, "[2,40,7,13]"), dense(B, "[20,40,1,1]"), last(B, "[2,20,7,13]"), dense(B, "[20,1,1]")},
                 {last(B, "[2,20,7,13]")},
                 "stream rows=128 warps=4 stages=2 blocks=1",
                 {},
                 1});
  all.push_back({"stream_tf32_unaligned",
                 op(unit + "tf32=true"),
                 {last(F, "[1,13,12,7]"), dense(F, "[70,13,1,1]")},
                 {last(F, "[1,70,12,7]")},
                 "stream rows=64 warps=4 stages=4 blocks=1",
                 {},
                 1});
  ConvCase streamed{"stream_symbolic",
                    op(unit + std::string(silu)),
                    {last(H, "[n,16,h,9]"), dense(H, "[32,16,1,1]"), dense(H, "[32,1,1]")},
                    {last(H, "[n,32,h,9]")},
                    "stream rows=128 warps=8 stages=3 blocks=2",
                    {},
                    1};
  streamed.multiprocessors = 1, streamed.hints.set("n", 2), streamed.hints.set("h", 5);
  all.push_back(streamed);
  all.push_back({"stem",
                 op("stride=[2,2] pad_before=[3,3] pad_after=[3,3] dilation=[1,1] " + std::string(silu)),
                 {last(H, "[1,3,20,20]"), last(H, "[16,3,7,7]"), dense(F, "[16,1,1]")},
                 {last(H, "[1,16,10,10]")},
                 "tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"stem4_split",
                 op("stride=[2,2] pad_before=[1,0] pad_after=[0,1] dilation=[1,2] "),
                 {last(H, "[1,4,14,15]"), last(H, "[16,4,5,3]")},
                 {last(H, "[1,16,6,6]")},
                 "tile=64x16x32 stages=4 warps=4x1 splitk=2",
                 {}});
  all.push_back({"groups",
                 op(same + "groups=3"),
                 {last(H, "[2,24,6,5]"), last(H, "[36,8,3,3]")},
                 {last(H, "[2,36,6,5]")},
                 "tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"channels_first",
                 op(same),
                 {dense(H, "[2,12,6,5]"), dense(H, "[20,12,3,3]")},
                 {dense(H, "[2,20,6,5]")},
                 "tile=32x32x64 stages=4 warps=2x2 splitk=1",
                 {}});
  all.push_back({"one_dim",
                 op("stride=[2] pad_before=[2] pad_after=[2] dilation=[1] "),
                 {last(H, "[2,16,33]"), last(H, "[24,16,5]")},
                 {last(H, "[2,24,17]")},
                 "tile=64x32x64 stages=4 warps=2x2 splitk=1",
                 {}});
  all.push_back({"three_dims",
                 op("stride=[1,2,1] pad_before=[1,1,1] pad_after=[1,1,1] dilation=[1,1,1] "),
                 {last(H, "[1,8,4,6,5]"), last(H, "[16,8,3,3,3]")},
                 {last(H, "[1,16,4,3,5]")},
                 "tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"tf32",
                 op(same + "tf32=true"),
                 {last(F, "[1,12,7,7]"), last(F, "[20,12,3,3]")},
                 {last(F, "[1,20,7,7]")},
                 "tile=64x64x32 stages=3 warps=2x2 splitk=1",
                 {}});
  all.push_back({"simt", op(same), {last(F, "[1,12,7,7]"), last(F, "[20,12,3,3]")}, {last(F, "[1,20,7,7]")}, "simt tile=64x32x16 stages=4 splitk=1", {}});
  ConvCase symbolic{"symbolic",
                    op(same + silu),
                    {last(H, "[n,8,h,9]"), last(H, "[16,8,3,3]"), dense(H, "[16,1,1]")},
                    {last(H, "[n,16,h,9]")},
                    "tile=64x16x64 stages=5 warps=4x1 splitk=1",
                    {}};
  symbolic.hints.set("n", 2), symbolic.hints.set("h", 5);
  all.push_back(symbolic);
  all.push_back({"depthwise3",
                 op(same + "groups=24 " + silu),
                 {last(H, "[2,24,7,9]"), dense(H, "[24,1,3,3]"), dense(H, "[24,1,1]")},
                 {last(H, "[2,24,7,9]")},
                 "depthwise columns=4 rows=2",
                 {}});
  all.push_back({"depthwise5_stride",
                 op("stride=[2,2] pad_before=[2,2] pad_after=[2,2] dilation=[1,1] groups=20"),
                 {last(B, "[2,20,9,11]"), dense(B, "[20,1,5,5]")},
                 {last(B, "[2,20,5,6]")},
                 "depthwise columns=4 rows=1",
                 {}});
  all.push_back({"depthwise3_rows",
                 op(same + "groups=32 epilogue={gelu_erf(add(i0:f32, i1:f32))}"),
                 {last(H, "[2,32,7,5]"), dense(H, "[32,1,3,3]"), dense(H, "[32,1,1]")},
                 {last(H, "[2,32,7,5]")},
                 "depthwise columns=2 rows=4 blocks=2",
                 {}});
  all.push_back({"depthwise7_narrow",
                 op("stride=[1,1] pad_before=[3,3] pad_after=[3,3] dilation=[1,1] groups=104 " + std::string(silu)),
                 {last(H, "[2,104,9,17]"), dense(H, "[104,1,7,7]"), dense(H, "[104,1,1]")},
                 {last(H, "[2,104,9,17]")},
                 "depthwise columns=8 rows=1 blocks=2 vec=4",
                 {}});
  all.push_back({"depthwise3_repeated",
                 op("stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=20"),
                 {last(B, "[20,20,20,41]"), dense(B, "[20,1,3,3]")},
                 {last(B, "[20,20,10,21]")},
                 "depthwise columns=2 rows=1 blocks=3 vec=4",
                 {},
                 1});
  all.push_back({"depthwise15",
                 op("stride=[1,1] pad_before=[7,7] pad_after=[7,7] dilation=[1,1] groups=8"),
                 {last(H, "[1,8,9,10]"), dense(H, "[8,1,15,15]")},
                 {last(H, "[1,8,9,10]")},
                 "depthwise columns=4 rows=1",
                 {}});
  all.push_back({"depthwise5_f32",
                 op("stride=[2,1] pad_before=[2,2] pad_after=[2,2] dilation=[1,1] groups=8"),
                 {last(F, "[2,8,9,6]"), dense(F, "[8,1,5,5]")},
                 {last(F, "[2,8,5,6]")},
                 "depthwise columns=4 rows=3",
                 {}});
  all.push_back({"depthwise_dilated",
                 op("stride=[1,1] pad_before=[2,2] pad_after=[2,2] dilation=[2,2] groups=8"),
                 {last(F, "[1,8,9,9]"), dense(F, "[8,1,3,3]")},
                 {last(F, "[1,8,9,9]")},
                 "depthwise columns=2 rows=2",
                 {}});
  all.push_back(
      {"depthwise_odd", op(same + "groups=13"), {last(H, "[1,13,6,6]"), dense(H, "[13,1,3,3]")}, {last(H, "[1,13,6,6]")}, "depthwise columns=4 rows=1", {}});
  all.push_back({"depthwise7",
                 op("stride=[1,1] pad_before=[3,3] pad_after=[3,3] dilation=[1,1] groups=16"),
                 {last(H, "[1,16,9,9]"), dense(H, "[16,1,7,7]")},
                 {last(H, "[1,16,9,9]")},
                 "depthwise columns=4 rows=1",
                 {}});
  all.push_back({"tile7_rows",
                 op("stride=[1,1] pad_before=[3,3] pad_after=[3,3] dilation=[1,1] groups=64 " + std::string(silu)),
                 {last(H, "[2,64,9,10]"), dense(H, "[64,1,7,7]"), dense(H, "[64,1,1]")},
                 {last(H, "[2,64,9,10]")},
                 "depthwise_tile channels=32 columns=4 rows=2 wide=2 high=4",
                 {}});
  all.push_back({"tile5_stride",
                 op("stride=[2,2] pad_before=[2,2] pad_after=[2,2] dilation=[1,1] groups=40 "),
                 {last(B, "[1,40,15,13]"), dense(B, "[40,1,5,5]")},
                 {last(B, "[1,40,8,7]")},
                 "depthwise_tile channels=32 columns=5 rows=2 wide=4 high=2",
                 {}});
  all.push_back({"tile3_stages",
                 op(same + std::string("groups=48 ") + silu),
                 {last(H, "[2,48,19,26]"), dense(H, "[48,1,3,3]"), dense(H, "[48,1,1]")},
                 {last(H, "[2,48,19,26]")},
                 "depthwise_tile channels=32 columns=4 rows=1 wide=2 high=4 stages=2",
                 {},
                 1});
  all.push_back({"tile3_f32",
                 op("stride=[1,2] pad_before=[0,1] pad_after=[0,1] dilation=[1,1] groups=64 "),
                 {last(F, "[2,64,6,9]"), dense(F, "[64,1,3,3]")},
                 {last(F, "[2,64,4,5]")},
                 "depthwise_tile channels=64 columns=4 rows=1 wide=2 high=2",
                 {}});
  all.push_back({"transposed",
                 op("stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=2 transposed=true output_padding=[1,0]"),
                 {dense(F, "[2,6,5,4]"), dense(F, "[6,4,3,3]")},
                 {dense(F, "[2,8,10,7]")},
                 "generic",
                 {}});
  const std::string doubled = "stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] transposed=true ";
  all.push_back({"phases_apart4",
                 op(doubled + "output_padding=[0,0] " + silu),
                 {last(H, "[2,24,5,4]"), last(H, "[24,16,4,4]"), dense(H, "[16,1,1]")},
                 {last(H, "[2,16,10,8]")},
                 "form=apart tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"phases_joined4",
                 op(doubled + "output_padding=[0,0] " + silu),
                 {last(H, "[2,24,5,4]"), last(H, "[24,16,4,4]"), dense(H, "[16,1,1]")},
                 {last(H, "[2,16,10,8]")},
                 "form=joined tile=64x32x64 stages=4 warps=2x2 splitk=1",
                 {}});
  all.push_back({"phases_apart3_split_residual",
                 op(doubled + "output_padding=[1,0] epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))}"),
                 {last(B, "[2,64,5,3]"), last(B, "[64,24,3,3]"), last(B, "[2,24,10,5]"), dense(B, "[24,1,1]")},
                 {last(B, "[2,24,10,5]")},
                 "form=apart tile=32x32x32 stages=4 warps=2x2 splitk=2",
                 {}});
  all.push_back({"phases_joined3_split",
                 op(doubled + "output_padding=[1,1] " + silu),
                 {last(B, "[1,40,3,4]"), last(B, "[40,12,3,3]"), dense(B, "[12,1,1]")},
                 {last(B, "[1,12,6,8]")},
                 "form=joined tile=32x32x32 stages=4 warps=2x2 splitk=2",
                 {}});
  all.push_back({"phases_joined_rgb",
                 op(doubled + "output_padding=[0,0] epilogue={tanh(add(i0:f32, i1:f32))}"),
                 {last(H, "[2,16,5,4]"), dense(H, "[16,3,4,4]"), dense(H, "[3,1,1]")},
                 {dense(H, "[2,3,10,8]")},
                 "form=joined tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"phases_joined_rgb_split",
                 op(doubled + "output_padding=[0,0] epilogue={tanh(add(i0:f32, i1:f32))}"),
                 {last(H, "[2,64,3,4]"), last(H, "[64,3,4,4]"), dense(H, "[3,1,1]")},
                 {last(H, "[2,3,6,8]")},
                 "form=joined tile=64x16x32 stages=5 warps=4x1 splitk=2",
                 {}});
  all.push_back({"phases_lines",
                 op("stride=[8] pad_before=[4] pad_after=[4] dilation=[1] transposed=true output_padding=[0] " + std::string(silu)),
                 {last(H, "[2,32,7]"), last(H, "[32,16,16]"), dense(H, "[16,1]")},
                 {last(H, "[2,16,56]")},
                 "form=joined tile=64x64x64 stages=3 warps=2x2 splitk=1",
                 {}});
  all.push_back({"phases_lines_row_major",
                 op("stride=[3] pad_before=[2] pad_after=[2] dilation=[1] transposed=true output_padding=[2]"),
                 {dense(H, "[2,20,7]"), dense(H, "[20,10,8]")},
                 {dense(H, "[2,10,24]")},
                 "form=apart tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"phases_groups_sparse",
                 op("stride=[3,1] pad_before=[0,1] pad_after=[0,1] dilation=[1,1] groups=2 transposed=true output_padding=[1,0] " + std::string(silu)),
                 {last(H, "[1,32,4,5]"), last(H, "[32,12,2,3]"), dense(F, "[24,1,1]")},
                 {last(H, "[1,24,12,5]")},
                 "form=apart tile=32x32x64 stages=4 warps=2x2 splitk=1",
                 {}});
  all.push_back({"phases_groups_joined",
                 op("stride=[2,3] pad_before=[3,0] pad_after=[2,1] dilation=[1,1] groups=2 transposed=true output_padding=[0,1] " + std::string(silu)),
                 {last(H, "[2,16,6,5]"), last(H, "[16,4,5,2]"), dense(F, "[8,1,1]")},
                 {last(H, "[2,8,10,14]")},
                 "form=joined tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"phases_volume",
                 op("stride=[2,1,2] pad_before=[1,1,0] pad_after=[1,1,0] dilation=[1,1,1] transposed=true output_padding=[1,0,0]"),
                 {last(H, "[1,16,3,4,3]"), last(H, "[16,8,3,3,2]")},
                 {last(H, "[1,8,6,4,6]")},
                 "form=apart tile=64x16x64 stages=5 warps=4x1 splitk=1",
                 {}});
  all.push_back({"phases_tf32",
                 op(doubled + "output_padding=[0,0] tf32=true"),
                 {last(F, "[1,12,5,7]"), last(F, "[12,20,4,4]")},
                 {last(F, "[1,20,10,14]")},
                 "form=joined tile=64x64x32 stages=3 warps=2x2 splitk=1",
                 {}});
  all.push_back({"phases_tf32_k_inner",
                 op(doubled + "output_padding=[0,0] tf32=true"),
                 {last(F, "[1,12,5,7]"), across(F, "[12,20,4,4]")},
                 {last(F, "[1,20,10,14]")},
                 "form=apart tile=64x64x32 stages=3 warps=2x2 splitk=1",
                 {}});
  all.push_back({"phases_simt",
                 op(doubled + "output_padding=[1,1]"),
                 {last(F, "[1,12,4,5]"), last(F, "[12,20,3,3]")},
                 {last(F, "[1,20,8,10]")},
                 "simt form=apart tile=64x32x16 stages=4 splitk=1",
                 {}});
  ConvCase phases{"phases_symbolic",
                  op(doubled + "output_padding=[0,0] " + silu),
                  {last(H, "[n,16,h,5]"), last(H, "[16,8,4,4]"), dense(H, "[8,1,1]")},
                  {last(H, "[n,8,2*h,10]")},
                  "form=joined tile=64x32x64 stages=4 warps=2x2 splitk=1",
                  {}};
  phases.hints.set("n", 2), phases.hints.set("h", 3);
  all.push_back(phases);
  all.push_back({"generic_f64", op(same), {dense(DType::F64, "[2,3,5,5]"), dense(DType::F64, "[4,3,3,3]")}, {last(DType::F64, "[2,4,5,5]")}, "generic", {}});
  return all;
}

Problem problem(const ConvCase& c) {
  Problem p;
  p.op = parse_op(c.op);
  std::get<Conv>(p.op).type = c.out[0].dtype;
  p.in = c.in, p.out = c.out, p.hints = c.hints;
  return p;
}

mma::KernelSource generate_plain(const ConvCase& c, const Problem& p) {
  const std::string config = c.config;
  if (config == "generic") return conv::generic_source(p, kHopper);
  Target target = kHopper;
  target.multiprocessors = c.multiprocessors;
  if (config.rfind("depthwise_tile", 0) == 0) return conv::depthwise_tile_source(p, target, conv::parse_depthwise_tile(config.substr(15)));
  if (config.rfind("depthwise", 0) == 0) return conv::depthwise_source(p, target, conv::parse_depthwise(config.substr(10)));
  if (config.rfind("stream", 0) == 0) return conv::stream_source(p, target, mma::parse_stream(config.substr(7)));
  const mma::Tile tile = mma::parse_tile(config, config.rfind("simt", 0) == 0);
  const std::string form = mma::config_value(config, "form");
  return form.empty() ? conv::implicit_gemm_source(p, kHopper, tile) : conv::phases_source(p, kHopper, tile, form == "joined");
}

/// As make() compiles it.
mma::KernelSource generate(const ConvCase& c, const Problem& p) {
  mma::KernelSource source = generate_plain(c, p);
  source.text.insert(0, codegen::rough_text(p));
  return source;
}

class ConvKernel : public ::testing::TestWithParam<ConvCase> {};

TEST_P(ConvKernel, MatchesReference) {
  const ConvCase& c = GetParam();
  const Problem p = problem(c);
  EXPECT_EQ(testing::check_conv(p, generate(c, p)), "");
}

INSTANTIATE_TEST_SUITE_P(Emulated, ConvKernel, ::testing::ValuesIn(testing::sample(conv_cases())), [](const auto& info) { return info.param.name; });

}  // namespace

std::vector<testing::NamedSource> testing::conv_sources() {
  std::vector<NamedSource> sources;
  for (const ConvCase& c : conv_cases()) sources.push_back({std::string("conv ") + c.name, generate(c, problem(c))});
  return sources;
}

}  // namespace tuyere
