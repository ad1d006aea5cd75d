// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/error.h"
#include "kernels/attention/attention_gen.h"
#include "kernels/mma/device_text.h"

namespace tuyere::attention {
namespace {

constexpr double kLog2e = 1.4426950408889634;

std::string real(double v) { return mma::float_literal(v); }
std::string number(int64_t i) { return std::to_string(i); }
std::string boolean(bool b) { return b ? "true" : "false"; }

/// A mask in the scores' units is added before the maximum; a scale that keeps the order can wait until after it.
bool scales_late(const View& v) { return v.scale > 0 && (v.mask.empty() || v.mask_type == DType::Bool); }

bool reads_pairs(const View& v) {
  const int bytes = 2 * codegen::size_of(v.mask_type);
  return v.mask[3].is_const(1) && v.mask_alignment % bytes == 0 && codegen::divisible(v.keys, 2) && codegen::divisible(v.mask[0], 2) &&
         codegen::divisible(v.mask[1], 2) && codegen::divisible(v.mask[2], 2);
}

std::string flash_mask_text(const View& v, mma::KernelParams& params) {
  if (v.mask.empty()) {
    if (scales_late(v)) return "";
    return R"CUDA(#pragma unroll
    for (int m = 0; m < TGA_MT; ++m)
#pragma unroll
      for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) s[m][n][e] *= TGA_BEFORE;
)CUDA";
  }
  const bool one_row = v.mask[1].is_const(0) && v.mask[2].is_const(0);  // the same for all rows of a block
  return codegen::fill(R"CUDA(#pragma unroll
    for (int n = 0; n < TGA_SN; ++n) {
      const int key = k0 + n * 8 + t * 2;
      float add[2];
#pragma unroll
      for (int m = 0; m < TGA_MT; ++m)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int w = w0 + m * 16 + g + r * 8, row = w < rows ? w : rows - 1, query = row / TGA_PACK, head = h0 + row % TGA_PACK;
          if (!$ONE_ROW || m + r == 0) tga_mask_pair<$PAIRS>(add, $PTR + ($AT), (TGM_IDX)$STRIDE, key, size_k);
          s[m][n][r * 2] = s[m][n][r * 2] * TGA_BEFORE + add[0];
          s[m][n][r * 2 + 1] = s[m][n][r * 2 + 1] * TGA_BEFORE + add[1];
        }
    }
)CUDA",
                       {{"ONE_ROW", boolean(one_row)},
                        {"PAIRS", boolean(reads_pairs(v))},
                        {"PTR", params.pointer(3, v.mask_type, false)},
                        {"AT", mask_offset(v, params, {"b", "head", "query"})},
                        {"STRIDE", params.offset(v.mask[3])}});
}

codegen::Vars shape_vars(const View& v, const Target& target, const FlashShape& shape) {
  return {{"WARPS", number(shape.warps)},
          {"MT", number(shape.rows_per_warp() / 16)},
          {"KEYS", number(shape.keys)},
          {"STAGES", number(shape.stages)},
          {"SPLITS", number(shape.splits)},
          {"PACK", number(shape.pack ? v.share() : 1)},
          {"KEEP_Q", boolean(shape.keeps_queries(v))},
          {"RESIDENT", number(shape.resident(v, target))},
          {"DP", number((v.depth + 15) / 16 * 16)},
          {"DVP", number((v.value_depth + 15) / 16 * 16)}};
}

codegen::Vars type_vars(const View& v, const FlashShape& shape) {
  const int unit = shape.wgmma ? 64 : 16;  // columns that a tile has besides those of the operands are not read
  auto access = [&](const std::vector<Dim>& s) { return number(mma::access_bytes({0, v.type, s[2], 1, {s[0], s[1]}, v.alignment})); };
  const double scale = v.scale * kLog2e;
  return {{"D_EDGE", boolean(v.depth % unit != 0)},
          {"DV_EDGE", boolean(v.value_depth % unit != 0)},
          {"QVEC", access(v.q)},
          {"KVEC", access(v.k)},
          {"VVEC", access(v.v)},
          {"BEFORE", scales_late(v) ? "1.f" : real(scale)},
          {"FACTOR", scales_late(v) ? real(scale) : "1.f"},
          {"MMA", mma::mma_name(v.type)},
          {"PACK16", v.type == DType::F16 ? "tgm_pack_f16" : "tgm_pack_bf16"}};
}

/// tga_scores(s, queries, keys) and tga_values(o, weights, values).
std::string instructions(const View& v, const FlashShape& shape) {
  const std::string type = v.type == DType::F16 ? "f16" : "bf16";
  mma::WgmmaText values{"tga_values", static_cast<int>((v.value_depth + 15) / 16 * 16), type};
  values.b_kmajor = false, values.a_in_registers = true;
  return std::string("#define TGH_CLUSTER 1\n#define TGH_SPLIT 1\n#define TGH_GROUPS 2\n") + mma::hopper_primitives_text() +
         mma::wgmma_text({"tga_scores", shape.keys, type}) + mma::wgmma_text(values);
}

Dim flash_grid(const View& v, const FlashShape& shape) {
  if (!shape.pack) return ceildiv(v.queries, shape.queries) * v.heads * v.batch * shape.splits;
  return ceildiv(v.queries * v.share(), shape.queries) * v.kv_heads * v.batch * shape.splits;
}

}  // namespace

mma::KernelSource flash_source(const Problem& problem, const Target& target, const FlashShape& shape) {
  const View v = view(problem);
  INTERNAL_CHECK(!shape.pack || v.share() > 0, "packed rows need constant head counts");
  mma::KernelParams params;
  mma::Epilogue store;
  store.outs = {v.out};
  store.coords = 4, store.vec = 3;
  store.width = mma::epilogue_width(store.outs);
  const std::string epilogue_text = mma::emit_epilogue(store, params);
  codegen::Vars vars = operand_vars(v, params);
  for (const codegen::Vars& more : {shape_vars(v, target, shape), type_vars(v, shape)}) vars.insert(vars.end(), more.begin(), more.end());
  const FlashProducts products = shape.wgmma ? flash_wgmma() : flash_mma();
  const std::string scores = codegen::fill(products.scores, vars), values = codegen::fill(products.values, vars);
  for (const auto& [name, text] : {std::pair("TILES", &products.tiles), std::pair("QUERIES_AT", &products.queries_at), std::pair("PUBLISH", &products.publish),
                                   std::pair("SCORES", &scores), std::pair("VALUES", &values)})
    vars.push_back({name, *text});
  vars.push_back({"MASK", flash_mask_text(v, params)});
  vars.push_back({"LSE", logsumexp_text(v, params, "t == 0 && here < rows", {"b", "h0 + here % TGA_PACK", "here / TGA_PACK"},
                                        "sum == 0.f ? NEG : (top[m][r] * TGA_FACTOR + log2f(sum)) * 0.6931471805599453f")});
  vars.push_back({"LSE_MERGED", logsumexp_text(v, params, "column == 0", {"b", "h", "query"}, "sum == 0.f ? NEG : (most + log2f(sum)) * 0.6931471805599453f")});
  const int workspace = v.out.position + (v.logsumexp.empty() ? 1 : 2);
  if (shape.splits > 1) vars.push_back({"WORKSPACE", params.pointer(workspace, DType::F32, true)});
  vars.push_back({"STORE", codegen::fill(shape.splits > 1 ? flash_partial_text() : flash_store_text(), vars)});
  std::string body = epilogue_text + mma::tile_text() + (shape.wgmma ? instructions(v, shape) : "") + codegen::fill(flash_text(), vars);
  if (shape.splits > 1) body += codegen::fill(flash_merge_text(), vars);
  mma::KernelSource source = mma::one_launch("tg_flash", flash_grid(v, shape), shape.threads(), params, target);
  source.step.launches[0].shared_bytes = shape.shared_bytes(v);
  source.text = mma::assemble(params, mma::needs_wide(problem), body);
  if (shape.splits == 1) return source;
  const int64_t columns = (v.value_depth + 15) / 16 * 16;
  const Dim rows = v.batch * v.heads * v.queries;
  KernelLaunch launch = source.step.launches[0];
  launch.kernel = "tg_flash_merge";
  launch.grid = {ceildiv(rows * ((columns + store.width - 1) / store.width), 128), 1, 1};
  launch.block = {128, 1, 1};
  launch.shared_bytes = 0;
  source.step.launches.push_back(launch);
  source.workspace = ceildiv(rows * (shape.splits * (columns + 2) * 4), 256) * 256;
  return source;
}

}  // namespace tuyere::attention
