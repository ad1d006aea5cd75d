// SPDX-License-Identifier: Apache-2.0
// Gradients of attention on tensor cores, f16 and bf16; the equations are those of attention_gradient_gen.cpp. One function serves the kernel whose rows are
// keys (dk, dv) and the one whose rows are queries (dq): a warp owns 16 rows, scores and their slopes stay in its registers.
#include <algorithm>
#include <cstdio>

#include "kernels/api/other_operator.h"
#include "kernels/attention/attention_gradient.h"
#include "kernels/mma/device_text.h"
#include "kernels/mma/gemm.h"

namespace tuyere {
namespace {

constexpr int kWarps = 4;
constexpr int kRows = 16 * kWarps;
constexpr int64_t kDeepestFlash = 128;

constexpr const char* kText = R"CUDA(
constexpr int TGA_WARPS = $WARPS, TGA_R = 16 * TGA_WARPS, TGA_C = $COLUMNS, TGA_THREADS = 32 * TGA_WARPS;
constexpr int TGA_D = $DP, TGA_N = TGA_D / 8, TGA_SN = TGA_C / 8;
constexpr bool TGA_CAUSAL = $CAUSAL;
constexpr float TGA_LOG2E = 1.4426950408889634f, TGA_FACTOR = $FACTOR;
typedef tgm_tile<TGA_R, TGA_D, 2, true> TgaX;
typedef tgm_tile<TGA_C, TGA_D, 2, true> TgaY;
typedef tgm_matrix_loader<TgaX, TGA_THREADS, $VEC, false, true, $EDGE, TGM_IDX> TgaLoadX;
typedef tgm_matrix_loader<TgaY, TGA_THREADS, $VEC, false, true, $EDGE, TGM_IDX> TgaLoadY;

template <class LOADER> TGM_DEV void tga_load(LOADER& load, unsigned smem, int row0) {
  load.row0 = row0;
  load.begin(smem, 0);
  load.end(smem);
}
template <class LOADER> TGM_DEV void tga_start(LOADER& load, const void* base, TGM_IDX stride, int rows) {
  load.base = (const char*)base;
  load.stride_row = stride, load.stride_k = 1;
  load.rows = rows, load.k_end = $D;
}
/* Sums of 16 rows of x with every row of y. */
TGM_DEV void tga_scores(float (&s)[TGA_SN][4], unsigned x, unsigned y) {
  const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, j8 = lane >> 3;
#pragma unroll
  for (int n = 0; n < TGA_SN; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) s[n][e] = 0.f;
#pragma unroll
  for (int d = 0; d < TGA_D / 16; ++d) {
    unsigned a[4];
    tgm_ldsm(a, x + TgaX::offset(warp * 16 + (lane & 15), d * 2 + (lane >> 4)));
#pragma unroll
    for (int n = 0; n < TGA_SN; n += 2) {
      unsigned f[4];
      tgm_ldsm(f, y + TgaY::offset(n * 8 + (j8 >> 1) * 8 + (lane & 7), d * 2 + (j8 & 1)));
      $MMA(s[n], a, f);
      $MMA(s[n + 1], a, f + 2);
    }
  }
}
/* sums += s y */
TGM_DEV void tga_add(float (&sums)[TGA_N][4], const float (&s)[TGA_SN][4], unsigned y) {
  const int lane = (int)threadIdx.x & 31, j8 = lane >> 3;
#pragma unroll
  for (int c = 0; c < TGA_C / 16; ++c) {
    const unsigned a[4] = {$PACK16(s[2 * c][0], s[2 * c][1]), $PACK16(s[2 * c][2], s[2 * c][3]), $PACK16(s[2 * c + 1][0], s[2 * c + 1][1]),
                           $PACK16(s[2 * c + 1][2], s[2 * c + 1][3])};
#pragma unroll
    for (int n = 0; n < TGA_N; n += 2) {
      unsigned f[4];
      tgm_ldsm_t(f, y + TgaY::offset(c * 16 + (j8 & 1) * 8 + (lane & 7), n + (j8 >> 1)));
      $MMA(sums[n], a, f);
      $MMA(sums[n + 1], a, f + 2);
    }
  }
}
/* What a row needs besides its scores: a logsumexp in units of log 2 and delta. Where nothing is attended, or outside, all weights become zero. */
struct TgaRow { float total, delta; };
TGM_DEV TgaRow tga_row(const float* logsumexp, TGM_IDX step, const float* delta, int query, int queries) {
  const float none = __uint_as_float(0x7f800000u);
  TgaRow row = {none, 0.f};
  if (query < queries) {
    row.total = logsumexp[(TGM_IDX)query * step] * TGA_LOG2E;
    row.delta = delta[query];
    if (row.total == -none) row.total = none;
  }
  return row;
}

template <bool BY_KEY> TGM_DEV void tga_gradient(TG_PARAMS, unsigned smem) {
  const int size_q = $SQ, size_k = $SK, heads = $H, rows = BY_KEY ? size_k : size_q, columns = BY_KEY ? size_q : size_k;
  const int tiles = (rows + TGA_R - 1) / TGA_R;
  int id = (int)blockIdx.x, tile, h, b;
  if (TGA_CAUSAL) { /* the longest rows first */
    h = id % heads, id /= heads;
    b = id % $B, tile = id / $B;
    if (!BY_KEY) tile = tiles - 1 - tile;
  } else {
    tile = id % tiles, id /= tiles;
    h = id % heads, b = id / heads;
  }
  const int r0 = tile * TGA_R, lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, g = lane >> 2, t = lane & 3, w0 = r0 + warp * 16;
  const unsigned sxa = smem, sxb = sxa + TgaX::BYTES, sya = sxb + TgaX::BYTES, syb = sya + 2 * TgaY::BYTES;
  const void *q = $Q + (TGM_IDX)b * $QB + (TGM_IDX)h * $QH, *k = $K + (TGM_IDX)b * $KB + (TGM_IDX)h * $KH;
  const void *v = $V + (TGM_IDX)b * $VB + (TGM_IDX)h * $VH, *o = $O + (TGM_IDX)b * $OB + (TGM_IDX)h * $OH;
  TgaLoadX xa, xb;
  TgaLoadY ya, yb;
  tga_start(xa, BY_KEY ? k : q, BY_KEY ? $KS : $QS, rows);
  tga_start(xb, BY_KEY ? v : o, BY_KEY ? $VS : $OS, rows);
  tga_start(ya, BY_KEY ? q : k, BY_KEY ? $QS : $KS, columns);
  tga_start(yb, BY_KEY ? o : v, BY_KEY ? $OS : $VS, columns);
  const int end_column = TGA_CAUSAL && !BY_KEY && r0 + TGA_R < columns ? r0 + TGA_R : columns;
  const int first = TGA_CAUSAL && BY_KEY ? r0 / TGA_C : 0, last = (end_column + TGA_C - 1) / TGA_C;
  tgm_grid_wait();
  tga_load(xa, sxa, r0);
  tga_load(xb, sxb, r0);
  if (first < last) {
    tga_load(ya, sya, first * TGA_C);
    tga_load(yb, syb, first * TGA_C);
  }
  tgm_cp_commit();
  const float* logsumexp = $LSE + (TGM_IDX)b * $LB + (TGM_IDX)h * $LH;
  const float* delta = $DELTA + ((TGM_IDX)b * heads + h) * size_q;
  TgaRow of_row[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) of_row[r] = tga_row(logsumexp, $LS, delta, BY_KEY ? size_q : w0 + g + r * 8, size_q);
  float by_slope[TGA_N][4], by_weight[BY_KEY ? TGA_N : 1][4];
#pragma unroll
  for (int n = 0; n < TGA_N; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) by_slope[n][e] = by_weight[BY_KEY ? n : 0][e] = 0.f;

  for (int kt = first; kt < last; ++kt) {
    const int c0 = kt * TGA_C, stage = (kt - first) & 1;
    tgm_cp_wait<0>();
    __syncthreads();
    if (kt + 1 < last) {
      tga_load(ya, sya + (stage ^ 1) * TgaY::BYTES, c0 + TGA_C);
      tga_load(yb, syb + (stage ^ 1) * TgaY::BYTES, c0 + TGA_C);
    }
    tgm_cp_commit();
    float s[TGA_SN][4], slope[TGA_SN][4];
    tga_scores(s, sxa, sya + stage * TgaY::BYTES);
    tga_scores(slope, sxb, syb + stage * TgaY::BYTES);
#pragma unroll
    for (int n = 0; n < TGA_SN; ++n) {
      TgaRow of_column[2];
      if (BY_KEY)
#pragma unroll
        for (int e = 0; e < 2; ++e) of_column[e] = tga_row(logsumexp, $LS, delta, c0 + n * 8 + t * 2 + e, size_q);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = w0 + g + (e >> 1) * 8, column = c0 + n * 8 + t * 2 + (e & 1), query = BY_KEY ? column : row, key = BY_KEY ? row : column;
        const TgaRow of = BY_KEY ? of_column[e & 1] : of_row[e >> 1];
        float score = s[n][e] * TGA_FACTOR;
        bool attends = (BY_KEY || key < size_k) && !(TGA_CAUSAL && key > query);
$MASK        s[n][e] = attends ? tgm_exp2(score - of.total) : 0.f;
        slope[n][e] = attends ? s[n][e] * (slope[n][e] - of.delta) : 0.f;
      }
    }
    tga_add(by_slope, slope, sya + stage * TgaY::BYTES);
    if constexpr (BY_KEY) tga_add(by_weight, s, syb + stage * TgaY::BYTES);
  }
  tgm_cp_wait<0>();
#pragma unroll
  for (int n = 0; n < TGA_N; ++n)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = w0 + g + r * 8, column = n * 8 + t * 2, count = $D - column;
      if (row >= rows || count <= 0) continue;
      const float x[2] = {by_slope[n][r * 2] * $SCALE, by_slope[n][r * 2 + 1] * $SCALE};
      if constexpr (BY_KEY) {
        tga_store_dk(TG_ARGS, b, h, row, column, x, count);
        tga_store_dv(TG_ARGS, b, h, row, column, by_weight[n] + r * 2, count);
      } else {
        tga_store_dq(TG_ARGS, b, h, row, column, x, count);
      }
    }
}

extern "C" __global__ void __launch_bounds__(TGA_THREADS) tg_flash_keys(TG_PARAMS) {
  extern __shared__ __align__(128) unsigned char tg_smem[];
  tgm_grid_launch_next();
  tga_gradient<true>(TG_ARGS, tgm_smem(tg_smem));
}
extern "C" __global__ void __launch_bounds__(TGA_THREADS) tg_flash_queries(TG_PARAMS) {
  extern __shared__ __align__(128) unsigned char tg_smem[];
  tgm_grid_launch_next();
  tga_gradient<false>(TG_ARGS, tgm_smem(tg_smem));
}
/* A warp per query. */
extern "C" __global__ void __launch_bounds__(128) tg_flash_delta(TG_PARAMS) {
  tgm_grid_launch_next();
  const int size_q = $SQ, heads = $H, lane = (int)threadIdx.x & 31;
  const long long row = (long long)blockIdx.x * 4 + ((int)threadIdx.x >> 5);
  if (row >= (long long)$B * heads * size_q) return;
  const int i = (int)(row % size_q), h = (int)(row / size_q % heads), b = (int)(row / size_q / heads);
  tgm_grid_wait();
  const $T* dout = $O + (TGM_IDX)b * $OB + (TGM_IDX)h * $OH + (TGM_IDX)i * $OS;
  const $T* out = $R + (TGM_IDX)b * $RB + (TGM_IDX)h * $RH + (TGM_IDX)i * $RS;
  float sum = 0.f;
  for (int d = lane; d < $D; d += 32) sum += tg_cvt<float>(dout[d]) * tg_cvt<float>(out[(TGM_IDX)d * $RD]);
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, m);
  if (lane == 0) $DELTA[row] = sum;
}
)CUDA";

std::string number(int64_t i) { return std::to_string(i); }

std::string real(double v) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9ef", v);
  return text;
}

int columns_of(int64_t depth) { return depth <= 64 ? 64 : 32; }

/// Strides of [batch, head, row, column] with those of single batches and heads gone.
std::vector<Dim> strides_of(const TensorDesc& t) {
  std::vector<Dim> s = t.strides;
  for (size_t d = 0; d < 2; ++d)
    if (t.shape[d].is_const(1)) s[d] = 0;
  return s;
}

class FlashGradientWriter {
 public:
  explicit FlashGradientWriter(const Problem& p) : p_(p), op_(std::get<AttentionGradient>(p.op)), q_(p.in[kQuery]), k_(p.in[kKey]) {
    depth_ = q_.shape[3].value();
  }

  mma::KernelSource write(const Target& target) {
    const Dim heads = q_.shape[0] * q_.shape[1], rows = heads * q_.shape[2];
    std::string stores;
    const char* names[] = {"tga_store_dq", "tga_store_dk", "tga_store_dv"};
    for (size_t i = 0; i < 3; ++i) stores += mma::emit_epilogue(store(i), params_, names[i]);
    const codegen::Vars vars = variables();
    const std::string body = mma::tile_text() + stores + codegen::fill(kText, vars);
    mma::KernelSource source = mma::one_launch("tg_flash_delta", ceildiv(rows, 4), 128, params_, target);
    KernelLaunch launch = source.step.launches[0];
    launch.block = {32 * kWarps, 1, 1};
    const int64_t padded = (depth_ + 15) / 16 * 16;
    launch.shared_bytes = static_cast<int>((2 * kRows + 4 * columns_of(depth_)) * padded * 2);
    launch.kernel = "tg_flash_keys", launch.grid = {ceildiv(k_.shape[2], kRows) * heads, 1, 1};
    source.step.launches.push_back(launch);
    launch.kernel = "tg_flash_queries", launch.grid = {ceildiv(q_.shape[2], kRows) * heads, 1, 1};
    source.step.launches.push_back(launch);
    source.text = mma::assemble(params_, mma::needs_wide(p_), body);
    source.workspace = ceildiv(rows * 4, 256) * 256;
    return source;
  }

 private:
  mma::Epilogue store(size_t output) const {
    const TensorDesc& t = p_.out[output];
    mma::Epilogue e;
    e.outs = {{static_cast<int>(p_.in.size() + output), t.dtype, t.strides, t.alignment}};
    e.coords = 4, e.vec = 3, e.width = 2;
    return e;
  }

  codegen::Vars variables() {
    const DType type = q_.dtype;
    int vec = 16;
    for (const GradientInput input : {kQuery, kKey, kValue, kDout}) {
      const std::vector<Dim> s = strides_of(p_.in[input]);
      vec = std::min(vec, mma::access_bytes({0, type, s[2], 1, {s[0], s[1]}, p_.in[input].alignment}));
    }
    codegen::Vars vars = {{"WARPS", number(kWarps)},
                          {"COLUMNS", number(columns_of(depth_))},
                          {"D", number(depth_)},
                          {"DP", number((depth_ + 15) / 16 * 16)},
                          {"EDGE", depth_ % 16 ? "true" : "false"},
                          {"VEC", number(vec)},
                          {"CAUSAL", op_.causal ? "true" : "false"},
                          {"FACTOR", real(op_.scale * 1.4426950408889634)},
                          {"SCALE", real(op_.scale)},
                          {"T", mma::storage_ctype(type)},
                          {"MMA", mma::mma_name(type)},
                          {"PACK16", type == DType::F16 ? "tgm_pack_f16" : "tgm_pack_bf16"},
                          {"SQ", params_.size(q_.shape[2])},
                          {"SK", params_.size(k_.shape[2])},
                          {"H", params_.size(q_.shape[1])},
                          {"B", params_.size(q_.shape[0])},
                          {"DELTA", params_.pointer(static_cast<int>(p_.in.size() + p_.out.size()), DType::F32, true)},
                          {"LSE", params_.pointer(kLogsumexp, DType::F32, false)}};
    const std::pair<const char*, GradientInput> operands[] = {{"Q", kQuery}, {"K", kKey}, {"V", kValue}, {"O", kDout}, {"R", kOut}, {"L", kLogsumexp}};
    for (const auto& [name, input] : operands) {
      const std::string n = name;
      const std::vector<Dim> s = strides_of(p_.in[input]);
      const char* dims[] = {"B", "H", "S", "D"};
      for (size_t d = 0; d < s.size(); ++d) vars.push_back({n + dims[d], params_.offset(s[d])});
      if (input != kLogsumexp) vars.push_back({n, params_.pointer(input, type, false)});
    }
    vars.push_back({"MASK", mask()});
    return vars;
  }

  std::string mask() {
    if (!op_.has_mask) return "";
    const TensorDesc& m = p_.in[kMask];
    const std::vector<Dim> strides = codegen::broadcast_strides(m, {q_.shape[0], q_.shape[1], q_.shape[2], k_.shape[2]});
    const char* at[] = {"b", "h", "query", "key"};
    std::string place;
    for (size_t d = 0; d < 4; ++d) place += std::string(d ? " + (TGM_IDX)" : "(TGM_IDX)") + at[d] + " * " + params_.offset(strides[d]);
    const std::string value = params_.pointer(kMask, m.dtype, false) + "[" + place + "]";
    const std::string inside = "        if (query < size_q && key < size_k) ";
    return inside + (m.dtype == DType::Bool ? "attends = attends && " + value + ";\n" : "score += tg_cvt<float>(" + value + ") * TGA_LOG2E;\n");
  }

  const Problem& p_;
  const AttentionGradient& op_;
  const TensorDesc &q_, &k_;
  int64_t depth_ = 0;
  mma::KernelParams params_;
};

class FlashAttentionGradient final : public mma::KernelTactic {
 public:
  std::string_view name() const override { return "own.attention_gradient.flash"; }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    constexpr double kReached = 0.25, kAgain = 1.4, kLaunches = 8e-6;  // scores are computed twice
    return std::max(Tactic::estimate(p, target, config), flops(p) * kAgain / (kReached * mma::tensor_rate(target))) + kLaunches;
  }
  mma::KernelSource generate(const Problem& p, const Target& target, const Config&) const override { return FlashGradientWriter(p).write(target); }

 protected:
  Support accepts(const Problem& p, const Target&) const override {
    REQUIRE(std::holds_alternative<AttentionGradient>(p.op), kOtherOperator);
    const TensorDesc& q = p.in[kQuery];
    REQUIRE(q.dtype == DType::F16 || q.dtype == DType::BF16, "not f16 or bf16");
    REQUIRE(q.shape[3].is_const() && q.shape[3].value() % 8 == 0 && q.shape[3].value() <= kDeepestFlash, "head size is not a multiple of 8 up to 128");
    REQUIRE(p.in[kValue].shape[3] == q.shape[3], "values of another size");
    REQUIRE(q.shape[1] == p.in[kKey].shape[1], "heads share their keys");
    for (const GradientInput input : {kDout, kQuery, kKey, kValue}) {
      REQUIRE(p.in[input].dtype == q.dtype, "operands of different types");
      REQUIRE(p.in[input].strides[3].is_const(1), "head elements are not contiguous");
    }
    return Support::yes();
  }
};

}  // namespace

DEFINE_TACTIC(FlashAttentionGradient)

}  // namespace tuyere
