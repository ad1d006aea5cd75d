// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_view.h"

namespace tuyere::conv {
namespace {

// Rows are output pixels, k runs over (tap, channel) or (channel, tap).
constexpr const char* kLoader = R"CUDA(
struct TgmLoadA {
  static constexpr int CG = $CG, KD = $KD, KH = $KH, KW = $KW, TAPS = KD * KH * KW, SIZE_K = CG * TAPS;
  static constexpr int VEC = $VEC, EPV = VEC / TgmA::EB, N = (TgmA::CHUNKS + TGM_THREADS - 1) / TGM_THREADS;
  static constexpr bool INNER = $INNER, PADDED = $PADDED, STAGED = VEC < 4;
  const char* base;
  TGM_IDX sd, sh, sw, sc, offset[N];
  int in_d, in_h, in_w, d0[N], h0[N], w0[N];
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
      d0[i] = d * $SD - $PD;
      h0[i] = ok ? h * $SH - $PH : -(1 << 28);
      w0[i] = w * $SW - $PW;
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
        int tap = INNER ? k / CG : k % TAPS, ch = INNER ? k - tap * CG : k / TAPS;
        int kw = tap % KW, kh = tap / KW % KH, kd = tap / (KW * KH);
        bool ok = SIZE_K % TGM_BK == 0 || k < SIZE_K;
        if (PADDED) {
          ok = ok && (unsigned)(h0[i] + kh * $DH) < (unsigned)in_h && (unsigned)(w0[i] + kw * $DW) < (unsigned)in_w;
          if (KD > 1 || $PD > 0) ok = ok && (unsigned)(d0[i] + kd * $DD) < (unsigned)in_d;
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

std::string setup_text(const View& v, const mma::Matrix& w, const std::string& m, mma::KernelParams& params) {
  const std::string group = v.groups > 1 ? " + (TGM_IDX)b0 * " : "";
  auto times = [&](const Dim& stride, int64_t count) { return group.empty() ? "" : group + "(TGM_IDX)" + params.offset(stride * Dim(count)); };
  std::string text = "  load.a.base = (const char*)(" + params.pointer(0, v.type, false) + times(v.x_channel, v.in_group) + ");\n";
  const char* strides[] = {"sd", "sh", "sw"};
  const char* sizes[] = {"in_d", "in_h", "in_w"};
  for (int d = 0; d < 3; ++d)
    text += std::string("  load.a.") + strides[d] + " = " + params.offset(v.x_space[d]) + ";\n  load.a." + sizes[d] + " = " + params.size(v.in[d]) + ";\n";
  text += "  load.a.sc = " + params.offset(v.x_channel) + ";\n  load.a.setup(m0, " + m + ", " + params.offset(v.x_batch);
  for (int d = 0; d < 3; ++d) text += ", " + params.size(v.out[d]);
  text += ");\n  load.b.base = (const char*)(" + params.pointer(1, v.type, false) + times(v.w_out, v.out_group) + ");\n";
  text += "  load.b.stride_row = " + params.offset(w.row) + ";\n  load.b.stride_k = 1;\n  load.b.row0 = n0;\n  load.b.rows = " + std::to_string(v.out_group) +
          ";\n  load.b.k_end = " + std::to_string(v.in_group * v.taps()) + ";\n";
  return text;
}

}  // namespace

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
  auto number = [](int64_t i) { return std::to_string(i); };
  auto flag = [](bool b) { return b ? "true" : "false"; };
  const codegen::Vars vars = {{"CG", number(v.in_group)},
                              {"KD", number(v.kernel[0])},
                              {"KH", number(v.kernel[1])},
                              {"KW", number(v.kernel[2])},
                              {"VEC", number(x_access(v, inner))},
                              {"INNER", flag(inner)},
                              {"PADDED", flag(v.padded)},
                              {"SD", number(v.stride[0])},
                              {"SH", number(v.stride[1])},
                              {"SW", number(v.stride[2])},
                              {"PD", number(v.pad[0])},
                              {"PH", number(v.pad[1])},
                              {"PW", number(v.pad[2])},
                              {"DD", number(v.dilation[0])},
                              {"DH", number(v.dilation[1])},
                              {"DW", number(v.dilation[2])}};
  text.loader_types = codegen::fill(kLoader, vars) + "typedef " +
                      mma::matrix_loader("TgmB", tile, w, v.out_group % tile.bn != 0, k.value() % tile.bk != 0, tile.simt) + " TgmLoadB;\n";
  text.setup = setup_text(v, w, text.m, params);
  text.store_coords = coords(v, params, "m", v.groups > 1 ? "b0 * " + number(v.out_group) + " + n" : "n");
  text.workspace = v.workspace();
  return mma::gemm_source(text, params, mma::needs_wide(problem), target, m, v.out_group, v.groups);
}

}  // namespace tuyere::conv
