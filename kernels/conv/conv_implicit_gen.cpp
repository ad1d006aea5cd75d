// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_view.h"

namespace tuyere::conv {
namespace {

// Rows are windows, k runs over (tap, channel) or (channel, tap).
constexpr const char* kLoader = R"CUDA(
/* The innermost of the coordinates that `rest` numbers, of T values, or of T - 1 if `fewer`. */
template <int T> TGM_DEV int tgc_take(int& rest, bool fewer) {
  constexpr int F = T > 1 ? T - 1 : 1;
  const int all = rest;
  rest = fewer ? all / F : all / T;
  return fewer ? all % F : all % T;
}
struct TgmLoadA {
  static constexpr int CG = $CG, KD = $KD, KH = $KH, KW = $KW, TAPS = KD * KH * KW;
  static constexpr int VEC = $VEC, EPV = VEC / TgmA::EB, N = (TgmA::CHUNKS + TGM_THREADS - 1) / TGM_THREADS;
  static constexpr bool INNER = $INNER, PADDED = $PADDED, K_EDGE = $EDGE, STAGED = VEC < 4;
  const char* base;
  TGM_IDX sd, sh, sw, sc, offset[N];
  int in_d, in_h, in_w, pad_d, pad_h, pad_w, size_k, d0[N], h0[N], w0[N];
  bool fewer_d, fewer_h, fewer_w;
  unsigned staged[STAGED ? N * TgmA::EPC : 1];

  /* A row past the end gets a place that no tap brings inside. */
  TGM_DEV_MEMBER void setup(int m0, int size_m, TGM_IDX sn, int out_d, int out_h, int out_w) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      int m = m0 + ((int)threadIdx.x + i * TGM_THREADS) / TgmA::CPR;
      bool ok = m < size_m;
      int w = m % out_w, q = m / out_w;
      int h = q % out_h;
      q /= out_h;
      int d = q % out_d, n = q / out_d;
      d0[i] = d * $SD - pad_d;
      h0[i] = ok ? h * $SH - pad_h : -(1 << 28);
      w0[i] = w * $SW - pad_w;
      offset[i] = ok ? (TGM_IDX)n * sn + (TGM_IDX)d0[i] * sd + (TGM_IDX)h0[i] * sh + (TGM_IDX)w0[i] * sw : 0;
    }
  }
  TGM_DEV_MEMBER void begin(unsigned smem, int k0) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      int id = (int)threadIdx.x + i * TGM_THREADS;
      if (TgmA::CHUNKS % TGM_THREADS != 0 && id >= TgmA::CHUNKS) break;
      int r = id / TgmA::CPR, c = id % TgmA::CPR;
      unsigned dst = smem + TgmA::offset(r, c);
#pragma unroll
      for (int p = 0; p < TgmA::EPC / EPV; ++p) {
        int k = k0 + c * TgmA::EPC + p * EPV;
        int tap = INNER ? (CG % TGM_BK == 0 ? k0 : k) / CG : k % TAPS, ch = INNER ? k - tap * CG : k / TAPS;
        const int kw = tgc_take<KW>(tap, fewer_w), kh = tgc_take<KH>(tap, fewer_h), kd = tap;
        bool ok = !K_EDGE || k < size_k;
        if (PADDED) {
          ok = ok && (unsigned)(h0[i] + kh * $DH) < (unsigned)in_h && (unsigned)(w0[i] + kw * $DW) < (unsigned)in_w;
          if ($DEEP) ok = ok && (unsigned)(d0[i] + kd * $DD) < (unsigned)in_d;
        } else {
          ok = ok && h0[i] >= 0;
        }
        const char* src = base + (offset[i] + (TGM_IDX)(kd * $DD) * sd + (TGM_IDX)(kh * $DH) * sh + (TGM_IDX)(kw * $DW) * sw + (TGM_IDX)ch * sc) * TgmA::EB;
        if constexpr (STAGED) staged[i * TgmA::EPC + p] = ok ? tgm_ldg_bits<TgmA::EB>(src) : 0u;
        else tgm_cp_async<VEC>(dst + p * VEC, src, ok ? VEC : 0);
      }
    }
  }
  TGM_DEV_MEMBER void end(unsigned smem) {
    if constexpr (STAGED) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        int id = (int)threadIdx.x + i * TGM_THREADS;
        if (TgmA::CHUNKS % TGM_THREADS != 0 && id >= TgmA::CHUNKS) break;
        unsigned dst = smem + TgmA::offset(id / TgmA::CPR, id % TgmA::CPR);
#pragma unroll
        for (int p = 0; p < TgmA::EPC; ++p) tgm_sts_bits<TgmA::EB>(dst + p * TgmA::EB, staged[i * TgmA::EPC + p]);
      }
    }
  }
};
)CUDA";

/// Bytes of x per access: within one tap's channels.
int x_access(const View& v, bool channels_inner) {
  const int element = mma::size_of(v.type);
  if (!channels_inner || !v.x_channel.is_const(1)) return element;
  for (int bytes = 16; bytes > element; bytes /= 2) {
    const int count = bytes / element;
    bool ok = v.x_alignment % bytes == 0 && v.in_group % count == 0 && mma::divisible(v.x_batch, count);
    for (const Dim& s : v.x_space) ok = ok && mma::divisible(s, count);
    if (ok) return bytes;
  }
  return element;
}

std::string weight_setup(const View& v, const mma::Matrix& w, mma::KernelParams& params) {
  const std::string group = v.groups > 1 ? " + (TGM_IDX)b0 * (TGM_IDX)" + params.offset(v.w_out * Dim(v.out_group)) : "";
  return "  load.b.base = (const char*)(" + params.pointer(1, v.type, false) + group + ");\n  load.b.stride_row = " + params.offset(w.row) +
         ";\n  load.b.stride_k = 1;\n  load.b.row0 = n0;\n  load.b.rows = " + std::to_string(v.out_group) +
         ";\n  load.b.k_end = " + std::to_string(v.in_group * v.taps()) + ";\n";
}

}  // namespace

std::string image_loader(const View& v, const Window& window, bool channels_inner) {
  auto number = [](int64_t i) { return std::to_string(i); };
  auto flag = [](bool b) { return b ? "true" : "false"; };
  codegen::Vars vars = {
      {"CG", number(v.in_group)},      {"VEC", number(x_access(v, channels_inner))},
      {"INNER", flag(channels_inner)}, {"PADDED", flag(window.padded)},
      {"EDGE", flag(window.k_edge)},   {"DEEP", flag(window.taps[0] > 1 || !v.in[0].is_const(1) || !v.out[0].is_const(1) || window.pad[0] != "0")}};
  for (int d = 0; d < 3; ++d) {
    const std::string a(1, "DHW"[d]);
    vars.insert(vars.end(), {{"K" + a, number(window.taps[d])}, {"S" + a, number(window.stride[d])}, {"D" + a, number(window.dilation[d])}});
  }
  return codegen::fill(kLoader, vars);
}

std::string image_setup(const View& v, const Window& window, const std::string& m, const std::string& group, mma::KernelParams& params) {
  const std::string first = v.groups > 1 ? " + (TGM_IDX)" + group + " * (TGM_IDX)" + params.offset(v.x_channel * Dim(v.in_group)) : "";
  std::string text = "  load.a.base = (const char*)(" + params.pointer(0, v.type, false) + first + ");\n";
  for (int d = 0; d < 3; ++d) {
    const std::string a(1, "dhw"[d]);
    text += "  load.a.s" + a + " = " + params.offset(v.x_space[d]) + ";\n  load.a.in_" + a + " = " + params.size(v.in[d]) + ";\n  load.a.pad_" + a + " = " +
            window.pad[d] + ";\n  load.a.fewer_" + a + " = " + window.fewer[d] + ";\n";
  }
  text += "  load.a.size_k = size_k;\n  load.a.sc = " + params.offset(v.x_channel) + ";\n  load.a.setup(m0, " + m + ", " + params.offset(v.x_batch);
  for (const Dim& rows : window.rows) text += ", " + params.size(rows);
  return text + ");\n";
}

bool weight_order(const View& v, bool* channels_inner) {
  for (bool inner : {true, false}) {
    Dim expect = 1;
    bool ok = true;
    auto dim = [&](const Dim& stride, int64_t size) {
      ok = ok && (size == 1 || stride == expect);
      expect *= Dim(size);
    };
    if (inner) dim(v.w_in, v.in_group);
    for (int d = 2; d >= 0; --d) dim(v.w_space[d], v.kernel[d]);
    if (!inner) dim(v.w_in, v.in_group);
    *channels_inner = inner;
    if (ok) return true;
  }
  return false;
}

mma::GemmSize gemm_size(const Problem& p, const View& v) {
  mma::GemmSize size;
  size.m = mma::hint(v.pixel_count(), p.hints);
  size.n = v.out_group, size.k = v.in_group * v.taps(), size.batch = v.groups;
  size.element = mma::size_of(v.type);
  size.bytes = traffic(p);
  return size;
}

mma::KernelSource implicit_gemm_source(const Problem& problem, const Target& target, const mma::Tile& tile) {
  const View v = view(problem);
  bool inner = true;
  weight_order(v, &inner);
  mma::KernelParams params;
  mma::GemmText text;
  text.tile = tile;
  text.dtype = v.type;
  text.width = mma::epilogue_width(v.outs);
  text.epilogue = mma::emit_epilogue(epilogue(v, text.width), params);
  const mma::Matrix w{1, v.type, v.w_out, 1, {v.w_out * Dim(v.out_group)}, v.w_alignment};
  const Dim m = v.pixel_count(), k = v.in_group * v.taps();
  text.m = params.size(m), text.n = std::to_string(v.out_group), text.k = params.size(k);
  if (v.groups > 1) text.batch = {std::to_string(v.groups)};
  Window window{v.kernel, v.stride, v.dilation, {}, {"false", "false", "false"}, v.out, v.padded, k.value() % tile.bk != 0};
  for (size_t d = 0; d < 3; ++d) window.pad[d] = std::to_string(v.pad[d]);
  text.loader_types =
      image_loader(v, window, inner) + "typedef " + mma::matrix_loader("TgmB", tile, w, v.out_group % tile.bn != 0, window.k_edge, tile.simt) + " TgmLoadB;\n";
  text.setup = image_setup(v, window, text.m, "b0", params) + weight_setup(v, w, params);
  text.store_coords = coords(v, params, "m", v.groups > 1 ? "b0 * " + std::to_string(v.out_group) + " + n" : "n");
  text.workspace = v.workspace();
  return mma::gemm_source(text, params, mma::needs_wide(problem), target, m, v.out_group, v.groups);
}

}  // namespace tuyere::conv
