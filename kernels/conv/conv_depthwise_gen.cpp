// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_view.h"

#include <algorithm>

namespace tuyere::conv {
namespace {

// A thread makes ROWS x COLS outputs of VEC channels, row of input by row: every input vector is read once per thread and used for all windows that hold it.
// Outside vectors are zeros by predicate, not by branch, so that the loads of several rows are in flight together. The threads of a block that share channels
// go down the image in strips, so that the rows that their windows share are read from L1.
// Weights lie in shared memory as [tap][quarter of a vector][thread][4] floats: neighbouring threads read neighbouring 16 bytes, and rows of an odd number of
// 16 bytes let eight taps of four channels be written at a time.
constexpr const char* kDepthwiseKernel = R"CUDA(
typedef $T TGD_T;
template <int VEC> TGM_DEV void tgd_load(float (&out)[VEC], const TGD_T* p, bool inside, int left) {
  if ($FULL) {
    TGD_T raw[VEC] = {};
    if (inside) tg_load<VEC>(raw, p);
#pragma unroll
    for (int e = 0; e < VEC; ++e) out[e] = tg_cvt<float>(raw[e]);
  } else {
#pragma unroll
    for (int e = 0; e < VEC; ++e) out[e] = inside && e < left ? tg_cvt<float>(p[e]) : 0.f;
  }
}
template <int VEC> TGM_DEV void tgd_weights(float (&w)[VEC], const float* p) {
#pragma unroll
  for (int e = 0; e < VEC; e += 4) {
    const float4 q = *reinterpret_cast<const float4*>(p + e * $CT);
    w[e] = q.x, w[e + 1] = q.y, w[e + 2] = q.z, w[e + 3] = q.w;
  }
}
template <int VEC> TGM_DEV void tgd_add(float (&acc)[VEC], const float (&v)[VEC], const float (&w)[VEC]) {
#pragma unroll
  for (int e = 0; e < VEC; ++e) acc[e] = fmaf(v[e], w[e], acc[e]);
}
extern "C" __global__ void __launch_bounds__(256, $BLOCKS) tg_depthwise(TG_PARAMS) {
  constexpr int VEC = $VEC, CT = $CT, PT = 256 / CT, ROWS = $ROWS, COLS = $COLS, KH = $KH, KW = $KW, CB = CT * VEC, C = $C;
  constexpr int TAPS = KH * KW, TAP_BLOCKS = (TAPS + 7) / 8, STRIDE = CB % 8 == 0 ? CB + 4 : CB;
  constexpr int IN_ROWS = (ROWS - 1) * $SH + (KH - 1) * $DH + 1, IN_COLS = (COLS - 1) * $SW + (KW - 1) * $DW + 1;
  __shared__ __align__(16) float weights[TAPS * STRIDE];
  tgm_grid_launch_next();
  const int in_h = $IH, in_w = $IW, out_h = $OH, out_w = $OW;
  const int chunk = (int)blockIdx.x % ((C + CB - 1) / CB);
  const int blocks_h = (out_h + ROWS - 1) / ROWS, blocks_w = (out_w + COLS - 1) / COLS;
  const int groups = $BATCH * blocks_h * blocks_w;
  if (!$W_CONSTANT) tgm_grid_wait();
#pragma unroll 4
  for (int i = (int)threadIdx.x; i < TAP_BLOCKS * CB * 8; i += 256) {
    const int lane = i % 32, q = i / 32;
    const int tap = q % TAP_BLOCKS * 8 + lane / 4, local = q / TAP_BLOCKS * 4 + lane % 4, c = chunk * CB + local;
    if (tap >= TAPS) continue;
    const float w = c < C ? tg_cvt<float>($W[(TGM_IDX)c * $WO + (TGM_IDX)(tap / KW) * $WH + (TGM_IDX)(tap % KW) * $WW]) : 0.f;
    weights[tap * STRIDE + local % VEC / 4 * (CT * 4) + local / VEC * 4 + local % 4] = w;
  }
  if ($W_CONSTANT) tgm_grid_wait();
  __syncthreads();
  const int ct = (int)threadIdx.x % CT, c = chunk * CB + ct * VEC;
  if (c >= C || (int)threadIdx.x >= PT * CT) return;
  for (int repeat = 0; repeat < $REPEAT; ++repeat) {
    int group = ((int)blockIdx.x / ((C + CB - 1) / CB) * $REPEAT + repeat) * PT + (int)threadIdx.x / CT;
    if (group >= groups) return;
    const int in_strip = group % $STRIP;
    group /= $STRIP;
    const int h0 = group % blocks_h * ROWS;
    group /= blocks_h;
    const int w0 = (group % (blocks_w / $STRIP) * $STRIP + in_strip) * COLS, n = group / (blocks_w / $STRIP);
    const TGD_T* x = $X + (TGM_IDX)n * $XN + c;
    float acc[ROWS][COLS][VEC];
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int t = 0; t < COLS; ++t)
#pragma unroll
        for (int e = 0; e < VEC; ++e) acc[r][t][e] = 0.f;
$UNROLL_ROWS
    for (int ir = 0; ir < IN_ROWS; ++ir) {
      const int ih = h0 * $SH - $PH + ir;
      bool used = false;
#pragma unroll
      for (int r = 0; r < ROWS; ++r) used = used || (ir >= r * $SH && (ir - r * $SH) % $DH == 0 && (ir - r * $SH) / $DH < KH);
      if (!used) continue;
      const bool row_inside = (unsigned)ih < (unsigned)in_h;
      const TGD_T* row = x + (TGM_IDX)ih * $XH;
      // Wide windows do not fit the registers: their vectors come and go one by one.
      constexpr int HELD = IN_COLS * VEC <= 96 ? IN_COLS : 1;
      float v[HELD][VEC];
      if (HELD > 1) {
#pragma unroll
        for (int ic = 0; ic < HELD; ++ic) {
          const int iw = w0 * $SW - $PW + ic;
          tgd_load<VEC>(v[ic], row + (TGM_IDX)iw * $XW, row_inside && (unsigned)iw < (unsigned)in_w, C - c);
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
          const int kh = (ir - r * $SH) / $DH;
          if (ir < r * $SH || (ir - r * $SH) % $DH != 0 || kh >= KH) continue;
#pragma unroll
          for (int kw = 0; kw < KW; ++kw) {
            float w[VEC];
            tgd_weights<VEC>(w, weights + (kh * KW + kw) * STRIDE + ct * 4);
#pragma unroll
            for (int t = 0; t < COLS; ++t) tgd_add<VEC>(acc[r][t], v[(t * $SW + kw * $DW) % HELD], w);
          }
        }
        continue;
      }
      for (int ic = 0; ic < IN_COLS; ++ic) {
        const int iw = w0 * $SW - $PW + ic;
        tgd_load<VEC>(v[0], row + (TGM_IDX)iw * $XW, row_inside && (unsigned)iw < (unsigned)in_w, C - c);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
          const int kh = (ir - r * $SH) / $DH;
          if (ir < r * $SH || (ir - r * $SH) % $DH != 0 || kh >= KH) continue;
#pragma unroll
          for (int t = 0; t < COLS; ++t) {
            const int k = ic - t * $SW;
            if (k < 0 || k % $DW != 0 || k / $DW >= KW) continue;
            float w[VEC];
            tgd_weights<VEC>(w, weights + (kh * KW + k / $DW) * STRIDE + ct * 4);
            tgd_add<VEC>(acc[r][t], v[0], w);
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int t = 0; t < COLS; ++t) {
        const int oh = h0 + r, ow = w0 + t;
        if (oh >= out_h || ow >= out_w) continue;
        const int pixel = (n * out_h + oh) * out_w + ow;
        tgm_epilogue(TG_ARGS, $COORDS, acc[r][t], $FULL ? VEC : C - c);
      }
  }
}
)CUDA";

constexpr int kThreads = 256;

/// Threads along the channels: few idle ones, in as few pieces of the channels as the shared memory allows.
int channel_threads(int64_t vectors, int vec, int64_t taps) {
  constexpr int64_t kShared = 40 * 1024, kMost = 64;
  const int64_t fit = std::clamp<int64_t>((kShared / (taps * 4) - 4) / vec, 1, kMost);
  const int64_t fewest = (vectors + fit - 1) / fit;
  int64_t best = 1;
  double best_share = 0;
  for (int64_t pieces = fewest; pieces < fewest + 4; ++pieces) {
    const int64_t threads = (vectors + pieces - 1) / pieces;
    const double share = static_cast<double>(vectors) / static_cast<double>(pieces * threads) * static_cast<double>(kThreads / threads * threads) / kThreads;
    if (share > best_share + 0.03) best = threads, best_share = share;
  }
  return static_cast<int>(best);
}

/// Blocks of outputs across a strip: the divisor of those across the image that makes the strip's part in one block the squarest.
int64_t strip_width(const View& v, const DepthwiseShape& shape, int groups) {
  const Dim across = ceildiv(v.out[2], shape.columns);
  if (!across.is_const()) return 1;
  int64_t best = 1;
  double best_reads = 0;
  for (int64_t strip = 1; strip <= std::min<int64_t>(across.value(), groups); ++strip) {
    if (across.value() % strip) continue;
    const double down = static_cast<double>(groups) / static_cast<double>(strip);
    const double rows = down * shape.rows * static_cast<double>(v.stride[1]) + static_cast<double>((v.kernel[1] - 1) * v.dilation[1]);
    const double columns = static_cast<double>(strip * shape.columns * v.stride[2] + (v.kernel[2] - 1) * v.dilation[2]);
    if (best_reads == 0 || rows * columns < best_reads) best = strip, best_reads = rows * columns;
  }
  return best;
}

/// Whether rows unrolled fit the registers: compilers then load all of a thread's input and weights ahead, and spill what does not fit.
bool registers_hold(const View& v, const DepthwiseShape& shape, int vec) {
  constexpr int64_t kRegisters = 65536 / kThreads;
  constexpr double kReused = 1.4;  // not everything lives at the same time
  const int64_t rows = (shape.rows - 1) * v.stride[1] + (v.kernel[1] - 1) * v.dilation[1] + 1;
  const int64_t columns = (shape.columns - 1) * v.stride[2] + (v.kernel[2] - 1) * v.dilation[2] + 1;
  const int64_t live = rows * columns * vec * mma::size_of(v.type) / 4 + (shape.rows * shape.columns + v.taps()) * vec;
  return static_cast<double>(live) <= kReused * static_cast<double>(kRegisters / shape.blocks);
}

/// Times that a block does its work with the weights it has staged: as often as enough blocks are left.
int64_t repeats(const View& v, const DepthwiseShape& shape, int groups, const Problem& problem, const Target& target) {
  constexpr int64_t kBlocksPerProcessor = 16, kMost = 8;
  const Dim blocks = v.batch * ceildiv(v.out[1], shape.rows) * ceildiv(v.out[2], shape.columns);
  return std::clamp<int64_t>(mma::hint(blocks, problem.hints) / groups / (kBlocksPerProcessor * std::max(1, target.multiprocessors)), 1, kMost);
}

}  // namespace

DepthwiseShape parse_depthwise(const Config& config) {
  const auto optional = [&](const char* key, int missing) { return mma::config_value(config, key).empty() ? missing : mma::config_ints(config, key)[0]; };
  return {mma::config_ints(config, "columns")[0], mma::config_ints(config, "rows")[0], optional("blocks", 1), optional("vec", 8)};
}

mma::KernelSource depthwise_source(const Problem& problem, const Target& target, const DepthwiseShape& shape) {
  const View v = view(problem);
  const int element = mma::size_of(v.type), vec = std::min(shape.vec, 16 / element);
  bool aligned = v.x_alignment % (vec * element) == 0 && mma::divisible(v.x_batch, vec);
  for (const Dim& s : v.x_space) aligned = aligned && mma::divisible(s, vec);
  const int64_t taps = v.taps(), vectors = (v.groups + vec - 1) / vec;
  const int threads_c = channel_threads(vectors, vec, taps), groups = kThreads / threads_c;
  const int64_t repeat = repeats(v, shape, groups, problem, target);
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, vec), params);
  auto number = [](int64_t i) { return std::to_string(i); };
  codegen::Vars vars = {{"T", mma::storage_ctype(v.type)},
                        {"FULL", aligned && v.groups % vec == 0 ? "true" : "false"},
                        {"W_CONSTANT", problem.in[1].constant ? "true" : "false"},
                        {"BLOCKS", number(shape.blocks)},
                        {"VEC", number(vec)},
                        {"CT", number(threads_c)},
                        {"ROWS", number(shape.rows)},
                        {"COLS", number(shape.columns)},
                        {"STRIP", number(strip_width(v, shape, groups))},
                        {"REPEAT", number(repeat)},
                        {"C", number(v.groups)},
                        {"BATCH", params.size(v.batch)},
                        {"X", params.pointer(0, v.type, false)},
                        {"W", params.pointer(1, v.type, false)},
                        {"XN", params.offset(v.x_batch)},
                        {"WO", params.offset(v.w_out)},
                        {"COORDS", coords(v, params, "pixel", "c")},
                        {"UNROLL_ROWS", registers_hold(v, shape, vec) ? "#pragma unroll" : "#pragma unroll 1"}};
  add_spatial_vars(v, params, 1, vars);
  const Dim blocks = v.batch * ceildiv(v.out[1], shape.rows) * ceildiv(v.out[2], shape.columns);
  mma::KernelSource source =
      mma::one_launch("tg_depthwise", ceildiv(blocks, groups * repeat) * Dim((vectors + threads_c - 1) / threads_c), kThreads, params, target);
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + codegen::fill(kDepthwiseKernel, vars));
  return source;
}

}  // namespace tuyere::conv
