// SPDX-License-Identifier: Apache-2.0
// CUDA attention: softmax(scale q k^T + mask) v for any strides, grouped heads, masks by broadcast strides. A row without any key gives 0.
#pragma once
#include <string>
#include <vector>

#include "kernels/mma/gemm.h"

namespace tuyere::attention {

/// What both kernels need of a problem.
struct View {
  Dim batch, heads, queries, keys;
  Dim kv_heads;
  int64_t depth = 0, value_depth = 0;
  std::vector<Dim> q, k, v;  // element strides [b, h, s, d]
  std::vector<Dim> mask;     // over [b, h, query, key]; empty without one
  Dim mask_batches;          // it repeats for more
  DType type = DType::F32, mask_type = DType::F32;
  int alignment = 256;  // the least of q, k, v
  int mask_alignment = 256;
  double scale = 1;
  bool causal = false;
  mma::EpilogueTensor out;     // over [b, h, query, d]
  std::vector<Dim> logsumexp;  // over [b, h, query], of the tensor behind `out`; empty without one
  /// Query heads per key head; 0 when that is not known before the kernel runs.
  int64_t share() const { return heads.is_const() && kv_heads.is_const() ? heads.value() / kv_heads.value() : 0; }
};
/// Whether a problem is attention that view() can describe.
Support attention_shape(const Problem& problem);
View view(const Problem& problem);
/// The variables that both kernels' texts name: sizes SQ SK H HKV B D DV, CAUSAL, and for each of Q K V the pointer and its strides, e.g. Q QB QH QS QD.
codegen::Vars operand_vars(const View& view, mma::KernelParams& params);
/// A statement that stores `value` (of natural logarithms, f32) as the logsumexp of a row where `condition` holds; nothing without one.
std::string logsumexp_text(const View& view, mma::KernelParams& params, const std::string& condition, const std::vector<std::string>& row,
                           const std::string& value);
/// Offset of the mask over the leading of its coordinates [b, h, query, key], as an expression of type TGM_IDX.
std::string mask_offset(const View& view, mma::KernelParams& params, const std::vector<std::string>& coordinates);

/// A variant of the tensor-core kernel: a block of `warps` warps has `queries` rows (a multiple of 16 * warps) and reads `keys` keys at a time.
struct FlashShape {
  int queries = 64, keys = 64, warps = 4, stages = 2;
  int splits = 1;      // blocks that share the keys of a row; a second kernel merges their results
  bool pack = false;   // a row is a (query, head) of the heads that share their keys
  bool wgmma = false;  // products by Hopper's warpgroup instructions; 16 rows per warp, warps in fours
  int rows_per_warp() const { return queries / warps; }
  int threads() const { return 32 * warps; }
  int shared_bytes(const View& view) const;
  /// Registers per thread for scores, sums and queries, and whether the queries stay in them.
  int registers(const View& view) const;
  bool keeps_queries(const View& view) const;
  /// Blocks that one multiprocessor holds.
  int resident(const View& view, const Target& target) const;
};
/// "queries=128 keys=64 warps=4 stages=2 splits=1 pack=0"
Config str(const FlashShape& shape);
FlashShape parse_flash_shape(const Config& config);
/// All sensible variants.
std::vector<FlashShape> flash_shapes(const View& view, const Symbols& hints, const Target& target, bool wgmma);
/// What every kernel for 16-bit floats asks of the operands.
Support accepts_flash(const Problem& problem);
/// The cheapest variants first, as many as the optimization level times.
std::vector<Config> flash_configs(const Problem& problem, const Target& target, int level, bool wgmma);
/// Estimated seconds.
double flash_seconds(const View& view, const Symbols& hints, const Target& target, const FlashShape& shape);

/// f16 and bf16, depth up to 256 in multiples of 8: online softmax in f32 registers, probabilities never leave them.
mma::KernelSource flash_source(const Problem& problem, const Target& target, const FlashShape& shape);
/// The parts of its text that depend on the instructions: types of the tiles, where the queries are, what makes copies visible, both products.
struct FlashProducts {
  std::string tiles, queries_at, publish, scores, values;
};
FlashProducts flash_mma();
FlashProducts flash_wgmma();
/// Text of its kernels "tg_flash" and "tg_flash_merge", and of what the first does with its results: the finished ones, or the sums of a split.
const char* flash_text();
const char* flash_store_text();
const char* flash_partial_text();
const char* flash_merge_text();
/// Every float type and size: four queries per block.
mma::KernelSource generic_source(const Problem& problem, const Target& target);

}  // namespace tuyere::attention
