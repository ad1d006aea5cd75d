// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution's weight as a product of matrices: rows are output channels of a group, columns its (input channel, tap) pairs, and the sum
// runs over images and output positions. A block computes one tile of it over one share of the sum; its threads are micro tiles times lanes, which take turns
// in the sum where a group has few weights. Shares go through the workspace and are added in order, so that results do not vary.
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/codegen/kernel.h"
#include "kernels/codegen/space.h"
#include "kernels/codegen/types.h"

namespace tuyere {
namespace {

using namespace codegen;

constexpr int kThreads = 256;
constexpr int kLargestTile = 64;
constexpr int kMicro = 4;  // rows and columns of a thread
constexpr int kStep = 16;  // of the sum at a time

std::string number(int64_t v) { return std::to_string(v); }

struct TilePlan {
  int rows = 1, columns = 1, split = 1;

  int micro_rows() const { return std::min(rows, kMicro); }
  int micro_columns() const { return std::min(columns, kMicro); }
  int tiles() const { return rows / micro_rows() * (columns / micro_columns()); }  // micro tiles of a block
  int lanes() const { return kThreads / tiles(); }
  int step() const { return std::max(kStep, lanes()); }
};

int tile_for(int64_t size) {
  int tile = 1;
  while (tile < size && tile < kLargestTile) tile *= 2;
  return tile;
}

struct Sizes {
  int64_t rows, columns, groups;  // of a group; groups
  int64_t taps;
  Dim sum;
};

Sizes sizes_of(const Problem& p) {
  const auto& op = std::get<ConvWeightGradient>(p.op);
  Sizes s{p.in[0].shape[1].value() / op.groups, 0, op.groups, 1, p.in[0].shape[0]};
  for (int64_t k : op.kernel) s.taps *= k;
  s.columns = p.in[1].shape[1].value() / op.groups * s.taps;
  for (size_t d = 2; d < p.in[0].shape.size(); ++d) s.sum = s.sum * p.in[0].shape[d];
  return s;
}

TilePlan default_plan(const Problem& p, const Target& target) {
  const Sizes s = sizes_of(p);
  TilePlan plan{tile_for(s.rows), tile_for(s.columns), 1};
  const int64_t blocks = (s.rows + plan.rows - 1) / plan.rows * ((s.columns + plan.columns - 1) / plan.columns) * s.groups;
  const int64_t steps = std::max<int64_t>(hint(s.sum, p.hints) / plan.step(), 1);
  while (plan.split < 128 && blocks * plan.split < 3 * std::max(target.multiprocessors, 1) && steps / plan.split >= 8) plan.split *= 2;
  return plan;
}

class WeightGradientWriter {
 public:
  WeightGradientWriter(const Problem& p, const TilePlan& plan)
      : p_(p), op_(std::get<ConvWeightGradient>(p.op)), dy_(p.in[0]), x_(p.in[1]), dw_(p.out[0]), plan_(plan), sizes_(sizes_of(p)) {
    spatial_ = static_cast<int>(op_.kernel.size());
    channels_ = x_.shape[1].value() / op_.groups;
    channels_last_ = x_.strides[1].is_const(1) && channels_ > 1;
    for (const TensorDesc* t : {&dy_, &x_, &dw_}) wide_ = wide_ || is_wide(*t);
    accumulator_ = accumulator_ctype(dy_.dtype);
  }

  Generated write() {
    Generated out;
    out.kernels.push_back(product());
    if (plan_.split == 1) return out;
    out.kernels.push_back(sum());
    out.workspace = ceildiv(Dim(weights() * plan_.split * (dy_.dtype == DType::F64 ? 8 : 4)), 256) * 256;
    return out;
  }

 private:
  static bool is_wide(const TensorDesc& t) {
    const Space all = make_space(t.shape, {t.strides});
    return needs_wide({&all});
  }
  int64_t weights() const { return sizes_.rows * sizes_.columns * sizes_.groups; }
  int64_t tiles(int64_t size, int tile) const { return (size + tile - 1) / tile; }

  Kernel product() {
    Kernel k("conv_weight_gradient", wide_);
    k.threads = kThreads;
    k.grid = {tiles(sizes_.rows, plan_.rows) * tiles(sizes_.columns, plan_.columns) * sizes_.groups, plan_.split, 1};
    vars_ = variables(k);
    k.add(R"(  constexpr int TM = $TM, TN = $TN, RM = $RM, RN = $RN, KT = $KT, LANES = $LANES, T = TM / RM * (TN / RN);
  constexpr int PM = TM + 1, PN = TN + 1, NA = (TM * KT + 255) / 256, NB = (TN * KT + 255) / 256;
  typedef $A A;
  __shared__ A a[KT * PM], b[KT * PN];
  __shared__ idx at_dy[KT], at_x[KT];
  __shared__ int place[$S][KT];
  const int tid = threadIdx.x, lane = tid / T, mt = tid % T / (TN / RN), nt = tid % T % (TN / RN);
  int tile = blockIdx.x;
  const int n0 = tile % $NTILES * TN;
  tile /= $NTILES;
  const int m0 = tile % $MTILES * TM, group = tile / $MTILES;
  const idx dy_group = (idx)group * $OG * $dy_channel, x_group = (idx)group * $CG * $x_channel;
  const long long total = $total, share = ((total + KT - 1) / KT + $SPLIT - 1) / $SPLIT * KT, first = (long long)blockIdx.y * share;
  const long long last = tg_lesser(total, first + share);
  A acc[RM][RN];
#pragma unroll
  for (int i = 0; i < RM; ++i)
#pragma unroll
    for (int j = 0; j < RN; ++j) acc[i][j] = 0;
)",
          vars_);
    columns_of_thread(k);
    k.add("  for (long long k0 = first; k0 < last; k0 += KT) {\n    __syncthreads();\n");
    positions(k);
    loads(k);
    k.add(R"(    __syncthreads();
#pragma unroll
    for (int kk = lane; kk < KT; kk += LANES) {
      A u[RM], v[RN];
#pragma unroll
      for (int i = 0; i < RM; ++i) u[i] = a[kk * PM + mt + i * (TM / RM)];
#pragma unroll
      for (int j = 0; j < RN; ++j) v[j] = b[kk * PN + nt + j * (TN / RN)];
#pragma unroll
      for (int i = 0; i < RM; ++i)
#pragma unroll
        for (int j = 0; j < RN; ++j) acc[i][j] += u[i] * v[j];
    }
  }
)");
    join_lanes(k);
    store(k);
    return k;
  }

  Vars variables(Kernel& k) const {
    return {{"TM", number(plan_.rows)},
            {"TN", number(plan_.columns)},
            {"RM", number(plan_.micro_rows())},
            {"RN", number(plan_.micro_columns())},
            {"KT", number(plan_.step())},
            {"LANES", number(plan_.lanes())},
            {"SPLIT", number(plan_.split)},
            {"S", number(spatial_)},
            {"A", accumulator_},
            {"NTILES", number(tiles(sizes_.columns, plan_.columns))},
            {"MTILES", number(tiles(sizes_.rows, plan_.rows))},
            {"OG", number(sizes_.rows)},
            {"CG", number(channels_)},
            {"COLUMNS", number(sizes_.columns)},
            {"TAPS", number(sizes_.taps)},
            {"total", k.value(sizes_.sum)},
            {"dy", pointer(k, operand(dy_, 0), false)},
            {"x", pointer(k, operand(x_, 1), false)},
            {"dy_channel", k.value(dy_.strides[1])},
            {"x_channel", k.value(x_.strides[1])},
            {"j_fast", channels_last_ ? "true" : "false"},
            {"m_fast", dy_.strides[1].is_const(1) && sizes_.rows > 1 ? "true" : "false"}};
  }

  /// Declares, for `column`, its channel `c` and its taps `t<d>`.
  void split_column(Kernel& k, const std::string& column) const {
    const std::string fast = channels_last_ ? "$C % $CG" : "$C / $TAPS", taps = channels_last_ ? "$C / $CG" : "$C % $TAPS";
    Vars vars{{"C", column}, {"CG", number(channels_)}, {"TAPS", number(sizes_.taps)}};
    k.add("      const int c = " + fast + ";\n      int rest = " + taps + ";\n", vars);
    for (int d = spatial_ - 1; d >= 0; --d) k.add("      const int t$d = rest % $K;\n      rest /= $K;\n", {{"d", number(d)}, {"K", number(op_.kernel[d])}});
  }

  /// The columns that this thread loads are the same in every step. One past the end gets a place that no position brings inside.
  void columns_of_thread(Kernel& k) const {
    k.add("  idx column_at[NB];\n  int tap[$S][NB];\n#pragma unroll\n  for (int e = 0; e < NB; ++e) {\n", vars_);
    k.add("    const int at = e * 256 + tid, column = n0 + ($j_fast ? at % TN : at / KT);\n    column_at[e] = 0;\n", vars_);
    for (int d = 0; d < spatial_; ++d) k.add("    tap[$d][e] = -(1 << 29);\n", {{"d", number(d)}});
    k.add("    if (column < $COLUMNS && at < TN * KT) {\n", vars_);
    split_column(k, "column");
    k.add("      column_at[e] = (idx)c * $x_channel", vars_);
    for (int d = 0; d < spatial_; ++d) k.add(" + (idx)t$d * $step", {{"d", number(d)}, {"step", k.value(x_.strides[2 + d] * op_.dilation[d])}});
    k.add(";\n");
    for (int d = 0; d < spatial_; ++d) k.add("      tap[$d][e] = t$d * $dil;\n", {{"d", number(d)}, {"dil", number(op_.dilation[d])}});
    k.add("    }\n  }\n");
  }

  /// Where the positions of this step lie: at_dy, and at_x with place[] of the window's first tap.
  void positions(Kernel& k) const {
    k.add("    for (int q = tid; q < KT; q += 256) {\n      const bool inside = k0 + q < last;\n      idx rest = inside ? (idx)(k0 + q) : 0;\n");
    for (int d = spatial_ - 1; d >= 0; --d)
      k.add("      const idx q$d = tg_quot(rest, (idx)$n), o$d = rest - q$d * $n;\n      rest = q$d;\n", {{"d", number(d)}, {"n", k.value(dy_.shape[2 + d])}});
    k.add("      idx from = rest * $dy_n, to = rest * $x_n;\n", {{"dy_n", k.value(dy_.strides[0])}, {"x_n", k.value(x_.strides[0])}});
    for (int d = 0; d < spatial_; ++d)
      k.add(
          "      const int p$d = (int)o$d * $stride - $pad;\n      place[$d][q] = inside ? p$d : -(1 << 29);\n      from += o$d * $dy_s;\n      to += (idx)p$d "
          "* "
          "$x_s;\n",
          {{"d", number(d)},
           {"stride", number(op_.stride[d])},
           {"pad", "(" + number(op_.pad_before[d]) + ")"},
           {"dy_s", k.value(dy_.strides[2 + d])},
           {"x_s", k.value(x_.strides[2 + d])}});
    k.add("      at_dy[q] = inside ? from : -1;\n      at_x[q] = to;\n    }\n    __syncthreads();\n");
  }

  void loads(Kernel& k) const {
    k.add(R"(#pragma unroll
    for (int e = 0; e < NA; ++e) {
      const int at = e * 256 + tid, m = $m_fast ? at % TM : at / KT, q = $m_fast ? at / TM : at % KT;
      if (at >= TM * KT) break;
      const idx from = at_dy[q];
      a[q * PM + m] = from >= 0 && m0 + m < $OG ? tg_cvt<A>($dy[dy_group + from + (idx)(m0 + m) * $dy_channel]) : (A)0;
    }
#pragma unroll
    for (int e = 0; e < NB; ++e) {
      const int at = e * 256 + tid, j = $j_fast ? at % TN : at / KT, q = $j_fast ? at / TN : at % KT;
      if (at >= TN * KT) break;
      bool inside = true;
)",
          vars_);
    for (int d = 0; d < spatial_; ++d)
      k.add("      inside = inside && (unsigned)(place[$d][q] + tap[$d][e]) < (unsigned)$n;\n", {{"d", number(d)}, {"n", k.value(x_.shape[2 + d])}});
    k.add("      b[q * PN + j] = inside ? tg_cvt<A>($x[x_group + at_x[q] + column_at[e]]) : (A)0;\n    }\n", vars_);
  }

  /// The sums of lanes 1.. are added to lane 0's in order.
  void join_lanes(Kernel& k) const {
    if (plan_.lanes() == 1) return;
    k.add(R"(  __shared__ A others[RM * RN * 256];
#pragma unroll
  for (int i = 0; i < RM; ++i)
#pragma unroll
    for (int j = 0; j < RN; ++j) others[(i * RN + j) * 256 + tid] = acc[i][j];
  __syncthreads();
  if (lane != 0) return;
  for (int l = 1; l < LANES; ++l)
#pragma unroll
    for (int i = 0; i < RM; ++i)
#pragma unroll
      for (int j = 0; j < RN; ++j) acc[i][j] += others[(i * RN + j) * 256 + tid + l * T];
)");
  }

  void store(Kernel& k) {
    k.add(R"(#pragma unroll
  for (int i = 0; i < RM; ++i)
#pragma unroll
    for (int j = 0; j < RN; ++j) {
      const int row = m0 + mt + i * (TM / RM), column = n0 + nt + j * (TN / RN);
      if (row >= $OG || column >= $COLUMNS) continue;
      const idx o = (idx)group * $OG + row;
)",
          vars_);
    if (plan_.split > 1) {
      const std::string w = k.pointer(3, accumulator_, true);
      k.add("      $w[((idx)blockIdx.y * $rows + o) * $COLUMNS + column] = acc[i][j];\n    }\n",
            {{"w", w}, {"rows", number(sizes_.rows * sizes_.groups)}, {"COLUMNS", number(sizes_.columns)}});
      return;
    }
    put(k, "acc[i][j]");
    k.add("    }\n");
  }

  /// Stores `value` as the weight of o and column.
  void put(Kernel& k, const std::string& value) const {
    split_column(k, "column");
    k.add("      $dw[o * $so + (idx)c * $sc", {{"dw", pointer(k, operand(dw_, 2), true)}, {"so", k.value(dw_.strides[0])}, {"sc", k.value(dw_.strides[1])}});
    for (int d = 0; d < spatial_; ++d) k.add(" + (idx)t$d * $s", {{"d", number(d)}, {"s", k.value(dw_.strides[2 + d])}});
    k.add("] = tg_cvt<$T>($v);\n", {{"T", storage_ctype(dw_.dtype)}, {"v", value}});
  }

  Kernel sum() const {
    Kernel k("conv_weight_gradient_sum", wide_);
    k.threads = kThreads;
    k.grid = {ceildiv(Dim(weights()), kThreads), 1, 1};
    k.add(R"(  const idx i = (idx)blockIdx.x * 256 + threadIdx.x;
  if (i >= $n) return;
  $A total = 0;
#pragma unroll 4
  for (int s = 0; s < $SPLIT; ++s) total += $w[(idx)s * $n + i];
  const idx o = i / $COLUMNS;
  const int column = (int)(i - o * $COLUMNS);
)",
          {{"n", number(weights())},
           {"A", accumulator_},
           {"SPLIT", number(plan_.split)},
           {"w", k.pointer(3, accumulator_, false)},
           {"COLUMNS", number(sizes_.columns)}});
    put(k, "total");
    return k;
  }

  const Problem& p_;
  const ConvWeightGradient& op_;
  const TensorDesc &dy_, &x_, &dw_;
  TilePlan plan_;
  Sizes sizes_;
  int spatial_ = 0;
  int64_t channels_ = 1;  // of a group of x
  bool channels_last_ = false, wide_ = false;
  std::string accumulator_;
  Vars vars_;
};

class TiledWeightGradient final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.conv_weight_gradient.tile"; }
  Support accepts(const Problem& p, const Target&) const override {
    REQUIRE(std::holds_alternative<ConvWeightGradient>(p.op), kOtherOperator);
    const size_t spatial = std::get<ConvWeightGradient>(p.op).kernel.size();
    REQUIRE(spatial >= 1 && spatial <= 3 && p.in[0].shape.size() == spatial + 2, "needs one to three spatial dims");
    REQUIRE(p.in[0].dtype == p.in[1].dtype && is_float(p.in[0].dtype), "operands of different types");
    REQUIRE(p.in[0].shape[1].is_const() && p.in[1].shape[1].is_const(), "symbolic channels");
    REQUIRE(is_empty(p) || sizes_of(p).columns < (1 << 24), "too many weights per output channel");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& p, const Target& target, int level) const override {
    if (is_empty(p)) return {""};
    const int best = default_plan(p, target).split;
    std::vector<Config> out{"split=" + number(best)};
    if (level < 3) return out;
    for (int split : {best / 2, best * 2})
      if (split >= 1 && split <= 256) out.push_back("split=" + number(split));
    return out;
  }
  double estimate(const Problem& p, const Target& target, const Config& config) const override {
    constexpr double kRate = 6e12, kLaunch = 5e-6;
    return std::max(Tactic::estimate(p, target, config), flops(p) / kRate) + kLaunch;
  }
  Generated generate(const Problem& p, const Target& target, const Config& config) const override {
    TilePlan plan = default_plan(p, target);
    plan.split = config_int(config, "split", plan.split);
    return WeightGradientWriter(p, plan).write();
  }
};

}  // namespace

DEFINE_TACTIC(TiledWeightGradient)

}  // namespace tuyere
