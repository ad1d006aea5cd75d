// SPDX-License-Identifier: Apache-2.0
// Gradients of attention in f32 arithmetic, for any sizes, strides and masks. With p = exp(scale * q k^T + mask - logsumexp) and ds = scale * p * (dout v^T -
// delta), delta = sum(dout * out) of a query: dv = p^T dout, dk = ds^T q, dq = ds k. One kernel computes delta; a second one, made twice, owns a tile of keys
// and reads all queries, or owns queries and reads keys: every result has one writer, which adds in a fixed order.
#include <algorithm>
#include <cstdio>

#include "kernels/api/other_operator.h"
#include "kernels/attention/attention_gradient.h"
#include "kernels/codegen/kernel.h"
#include "kernels/codegen/space.h"
#include "kernels/codegen/types.h"

namespace tuyere {
namespace {

using namespace codegen;

constexpr int kSharedBytes = 46 * 1024;
constexpr int64_t kDeepestTile = 1024;

// Rows are what the block owns, columns what it walks over: tiles of R each.
constexpr const char* kTileText = R"(  constexpr int R = $R, D = $D, DV = $DV, PD = D + 1, PV = DV + 1, PR = R + 1;
  constexpr int ND = (R * D + 255) / 256, NV = $BY_KEY ? (R * DV + 255) / 256 : 1, NS = (R * R + 255) / 256;
  __shared__ float xa[R * PD], xb[R * PV], ya[R * PD], yb[R * PV], ps[R * PR], ds[R * PR];
  const idx size_q = $SQ, size_k = $SK, rows = $BY_KEY ? size_k : size_q, columns = $BY_KEY ? size_q : size_k, heads = $H;
  const idx tiles = (rows + R - 1) / R;
  const int tid = threadIdx.x;
  idx id = blockIdx.x;
  const idx r0 = id % tiles * R;
  id /= tiles;
  const idx h = id % heads, b = id / heads;
  for (int i = tid; i < R * D; i += 256) {
    const int r = i / D, d = i % D;
    xa[r * PD + d] = r0 + r < rows ? tg_cvt<float>($XA) : 0.f;
  }
  for (int i = tid; i < R * DV; i += 256) {
    const int r = i / DV, d = i % DV;
    xb[r * PV + d] = r0 + r < rows ? tg_cvt<float>($XB) : 0.f;
  }
  float first[ND], second[NV];
#pragma unroll
  for (int e = 0; e < ND; ++e) first[e] = 0.f;
#pragma unroll
  for (int e = 0; e < NV; ++e) second[e] = 0.f;
  const idx begin = $CAUSAL && $BY_KEY ? r0 : 0, end = $CAUSAL && !$BY_KEY ? tg_lesser(columns, r0 + R) : columns;
  for (idx c0 = begin; c0 < end; c0 += R) {
    __syncthreads();
    for (int i = tid; i < R * D; i += 256) {
      const int c = i / D, d = i % D;
      ya[c * PD + d] = c0 + c < columns ? tg_cvt<float>($YA) : 0.f;
    }
    for (int i = tid; i < R * DV; i += 256) {
      const int c = i / DV, d = i % DV;
      yb[c * PV + d] = c0 + c < columns ? tg_cvt<float>($YB) : 0.f;
    }
    __syncthreads();
#pragma unroll
    for (int e = 0; e < NS; ++e) {
      const int at = e * 256 + tid, r = at / R, c = at % R;
      if (at >= R * R) break;
      float s = 0.f, g = 0.f;
      for (int d = 0; d < D; ++d) s += xa[r * PD + d] * ya[c * PD + d];
      for (int d = 0; d < DV; ++d) g += xb[r * PV + d] * yb[c * PV + d];
      const idx query = $BY_KEY ? c0 + c : r0 + r, key = $BY_KEY ? r0 + r : c0 + c;
      float p = 0.f, slope = 0.f;
      if (query < size_q && key < size_k && !($CAUSAL && key > query)) {
        const float total = $LSE, none = -__uint_as_float(0x7f800000u);
        s *= $SCALE;
$MASK        p = exp(s - (total == none ? 0.f : total));
        slope = $SCALE * p * (g - $DELTA);
      }
      ps[r * PR + c] = p;
      ds[r * PR + c] = slope;
    }
    __syncthreads();
#pragma unroll
    for (int e = 0; e < ND; ++e) {
      const int at = e * 256 + tid, r = at / D, d = at % D;
      if (at >= R * D) break;
#pragma unroll
      for (int c = 0; c < R; ++c) first[e] += ds[r * PR + c] * ya[c * PD + d];
    }
    if ($BY_KEY)
#pragma unroll
      for (int e = 0; e < NV; ++e) {
        const int at = e * 256 + tid, r = at / DV, d = at % DV;
        if (at >= R * DV) break;
#pragma unroll
        for (int c = 0; c < R; ++c) second[e] += ps[r * PR + c] * yb[c * PV + d];
      }
  }
)";

constexpr const char* kStoreText = R"(#pragma unroll
  for (int e = 0; e < $N; ++e) {
    const int at = e * 256 + tid, r = at / $D, d = at % $D;
    if (at >= R * $D || r0 + r >= rows) break;
    $AT = tg_cvt<$T>($values[e]);
  }
)";

constexpr const char* kDeltaText = R"(  const idx row = (idx)blockIdx.x * 4 + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (row >= $rows) return;
  const idx i = row % $SQ, h = row / $SQ % $H, b = row / $SQ / $H;
  float sum = 0.f;
  for (int d = lane; d < $DV; d += 32) sum += tg_cvt<float>($DOUT) * tg_cvt<float>($OUT);
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, m);
  if (lane == 0) $w[row] = sum;
)";

class GradientWriter {
 public:
  explicit GradientWriter(const Problem& p) : p_(p), op_(std::get<AttentionGradient>(p.op)), q_(p.in[kQuery]), k_(p.in[kKey]) {
    for (const auto* list : {&p.in, &p.out})
      for (const TensorDesc& t : *list) {
        const Space all = make_space(t.shape, {t.strides});
        wide_ = wide_ || needs_wide({&all});
      }
    depth_ = q_.shape[3].value(), value_depth_ = p.in[kValue].shape[3].value();
    workspace_ = static_cast<int>(p.in.size() + p.out.size());
    for (tile_ = 32; tile_ > 1 && shared_bytes() > kSharedBytes;) tile_ /= 2;
  }

  Generated write() const {
    Generated all;
    all.kernels.push_back(delta());
    all.kernels.push_back(tile(true));
    all.kernels.push_back(tile(false));
    all.workspace = ceildiv(rows() * 4, 256) * 256;
    return all;
  }

 private:
  Dim rows() const { return q_.shape[0] * q_.shape[1] * q_.shape[2]; }
  int64_t shared_bytes() const { return 4 * tile_ * (2 * (depth_ + 1) + 2 * (value_depth_ + 1) + 2 * (tile_ + 1)); }

  /// Element [b, h, row, d] of a tensor of the step.
  static std::string at(Kernel& k, const TensorDesc& t, int position, bool writes, const std::vector<std::string>& coordinates) {
    std::string text = pointer(k, operand(t, position), writes) + "[";
    for (size_t d = 0; d < coordinates.size(); ++d) text += (d ? " + (idx)" : "(idx)") + coordinates[d] + " * " + k.value(t.strides[d]);
    return text + "]";
  }
  std::string in(Kernel& k, GradientInput input, const std::string& row) const { return at(k, p_.in[input], input, false, {"b", "h", row, "d"}); }

  Kernel delta() const {
    Kernel k("attention_gradient_delta", wide_);
    k.threads = 128;
    k.grid[0] = ceildiv(rows(), 4);
    k.add(kDeltaText, {{"rows", k.value(rows())},
                       {"SQ", k.value(q_.shape[2])},
                       {"H", k.value(q_.shape[1])},
                       {"DV", std::to_string(value_depth_)},
                       {"DOUT", in(k, kDout, "i")},
                       {"OUT", in(k, kOut, "i")},
                       {"w", k.pointer(workspace_, "float", true)}});
    return k;
  }

  std::string mask(Kernel& k) const {
    if (!op_.has_mask) return "";
    TensorDesc m = p_.in[kMask];
    m.strides = broadcast_strides(m, {q_.shape[0], q_.shape[1], q_.shape[2], k_.shape[2]});
    const std::string value = at(k, m, kMask, false, {"b", "h", "query", "key"});
    return m.dtype == DType::Bool ? "        if (!" + value + ") s = none;\n" : "        s += tg_cvt<float>(" + value + ");\n";
  }

  /// The kernel whose rows are keys, or queries.
  Kernel tile(bool by_key) const {
    Kernel k(by_key ? "attention_gradient_keys" : "attention_gradient_queries", wide_);
    k.threads = 256;
    const Dim& owned = by_key ? k_.shape[2] : q_.shape[2];
    k.grid[0] = ceildiv(owned, tile_) * q_.shape[1] * q_.shape[0];
    char scale[40];
    std::snprintf(scale, sizeof scale, "%.9ef", op_.scale);
    k.add(kTileText, {{"R", std::to_string(tile_)},
                      {"D", std::to_string(depth_)},
                      {"DV", std::to_string(value_depth_)},
                      {"BY_KEY", by_key ? "true" : "false"},
                      {"CAUSAL", op_.causal ? "true" : "false"},
                      {"SQ", k.value(q_.shape[2])},
                      {"SK", k.value(k_.shape[2])},
                      {"H", k.value(q_.shape[1])},
                      {"XA", in(k, by_key ? kKey : kQuery, "(r0 + r)")},
                      {"XB", in(k, by_key ? kValue : kDout, "(r0 + r)")},
                      {"YA", in(k, by_key ? kQuery : kKey, "(c0 + c)")},
                      {"YB", in(k, by_key ? kDout : kValue, "(c0 + c)")},
                      {"LSE", at(k, p_.in[kLogsumexp], kLogsumexp, false, {"b", "h", "query"})},
                      {"DELTA", k.pointer(workspace_, "float", false) + "[(b * heads + h) * size_q + query]"},
                      {"SCALE", scale},
                      {"MASK", mask(k)}});
    store(k, by_key ? 1 : 0, "ND", "first");
    if (by_key) store(k, 2, "NV", "second");
    return k;
  }

  void store(Kernel& k, int output, const char* count, const char* values) const {
    const TensorDesc& t = p_.out[static_cast<size_t>(output)];
    k.add(kStoreText, {{"N", count},
                       {"D", t.shape[3].str()},
                       {"T", storage_ctype(t.dtype)},
                       {"values", values},
                       {"AT", at(k, t, static_cast<int>(p_.in.size()) + output, true, {"b", "h", "(r0 + r)", "d"})}});
  }

  const Problem& p_;
  const AttentionGradient& op_;
  const TensorDesc &q_, &k_;
  int64_t depth_ = 0, value_depth_ = 0, tile_ = 32;
  int workspace_ = 0;
  bool wide_ = false;
};

class TiledAttentionGradient final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.attention_gradient.tile"; }
  Support accepts(const Problem& p, const Target&) const override {
    REQUIRE(std::holds_alternative<AttentionGradient>(p.op), kOtherOperator);
    for (const auto* tensors : {&p.in, &p.out})
      for (const TensorDesc& t : *tensors)
        REQUIRE(t.dtype == DType::Bool || (is_float(t.dtype) && compute_type(t.dtype) == DType::F32), "sums are kept in f32");
    for (const GradientInput input : {kQuery, kValue})
      REQUIRE(p.in[input].shape[3].is_const() && p.in[input].shape[3].value() <= kDeepestTile, "head size is symbolic or above 1024");
    REQUIRE(p.in[kQuery].shape[1] == p.in[kKey].shape[1], "heads share their keys");
    return Support::yes();
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    constexpr double kRate = 3e12, kLaunches = 8e-6;
    return std::max(Tactic::estimate(p, target, config), flops(p) * 1.4 / kRate) + kLaunches;
  }
  Generated generate(const Problem& p, const Target&, const Config&) const override { return GradientWriter(p).write(); }
};

}  // namespace

DEFINE_TACTIC(TiledAttentionGradient)

}  // namespace tuyere
