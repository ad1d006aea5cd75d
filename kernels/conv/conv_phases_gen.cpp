// SPDX-License-Identifier: Apache-2.0
// Transposed convolutions with steps. Per dim, output o takes x[i] * w[k] where o + pad = i * S + k. With o + pad = j * S + a these are the taps k = a + S * t
// of x[j - t]: all outputs of one phase a are an ordinary convolution of ceil((K - a) / S) taps, whose results lie S apart.
//   apart    phases are batch coordinates, those of the most taps first: nothing is multiplied in vain
//   joined   phases are columns (a, o) of one product over the rows j of all, so that windows are read once; rows outside of a phase, and taps
//            that a phase lacks, are lost
// The epilogue finishes results where they lie, so that no pass over the image is left.
#include <algorithm>
#include <memory>

#include "kernels/api/other_operator.h"
#include "kernels/conv/conv_tactics.h"
#include "kernels/conv/conv_view.h"

namespace tuyere::conv {
namespace {

constexpr const char* kPhaseWeights = R"CUDA(
/* Columns are output channels, after their phase if JOINED; w [C, O, D, H, W] with any strides. */
struct TgmLoadB {
  static constexpr int CG = $CG, OG = $OG, COLUMNS = $COLUMNS, TH = $TH, TW = $TW;
  static constexpr int VEC = $VEC, EPV = VEC / TgmB::EB, N = (TgmB::CHUNKS + TGM_THREADS - 1) / TGM_THREADS;
  static constexpr bool JOINED = $JOINED, STAGED = VEC < 4, ROWFAST = TgmB::KMAJOR && $COLUMN_FAST;
  const char* base;
  int n0, size_k, phase_d, phase_h, phase_w;
  bool fewer_h, fewer_w;
  unsigned staged[STAGED ? N * TgmB::EPC : 1];
  TGM_DEV_MEMBER static void chunk(int id, int& r, int& c) {
    r = ROWFAST ? id % TgmB::OUTER : id / TgmB::CPR;
    c = ROWFAST ? id / TgmB::OUTER : id % TgmB::CPR;
  }
  TGM_DEV_MEMBER const char* place(int k0, int k, int n, bool& ok) const {
    int tap = (CG % TGM_BK == 0 ? k0 : k) / CG, at_d = phase_d, at_h = phase_h, at_w = phase_w, o = n;  /* a tile of k in one tap is split once */
    const int ch = k - tap * CG, tw = tgc_take<TW>(tap, fewer_w), th = tgc_take<TH>(tap, fewer_h);
    if (JOINED) {
      int phase = n / OG;
      o = n - phase * OG;
      at_w = phase % $SW;
      phase /= $SW;
      at_h = phase % $SH;
      at_d = phase / $SH;
    }
    at_d += tap * $SD, at_h += th * $SH, at_w += tw * $SW;
    ok = n < COLUMNS && k < size_k && at_d < $KD && at_h < $KH && at_w < $KW;
    return base + ((TGM_IDX)ch * $WC + (TGM_IDX)o * $WO + (TGM_IDX)at_d * $WD + (TGM_IDX)at_h * $WH + (TGM_IDX)at_w * $WW) * TgmB::EB;
  }
  TGM_DEV_MEMBER void begin(unsigned smem, int k0) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      int id = (int)threadIdx.x + i * TGM_THREADS, r, c;
      if (TgmB::CHUNKS % TGM_THREADS != 0 && id >= TgmB::CHUNKS) break;
      chunk(id, r, c);
      unsigned dst = smem + TgmB::offset(r, c);
#pragma unroll
      for (int p = 0; p < TgmB::EPC / EPV; ++p) {
        const int inner = c * TgmB::EPC + p * EPV;
        bool ok;
        const char* src = place(k0, k0 + (TgmB::KMAJOR ? inner : r), n0 + (TgmB::KMAJOR ? r : inner), ok);
        if constexpr (STAGED) staged[i * TgmB::EPC + p] = ok ? tgm_ldg_bits<TgmB::EB>(src) : 0u;
        else tgm_cp_async<VEC>(dst + p * VEC, src, ok ? VEC : 0);
      }
    }
  }
  TGM_DEV_MEMBER void end(unsigned smem) {
    if constexpr (STAGED) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        int id = (int)threadIdx.x + i * TGM_THREADS, r, c;
        if (TgmB::CHUNKS % TGM_THREADS != 0 && id >= TgmB::CHUNKS) break;
        chunk(id, r, c);
        unsigned dst = smem + TgmB::offset(r, c);
#pragma unroll
        for (int p = 0; p < TgmB::EPC; ++p) tgm_sts_bits<TgmB::EB>(dst + p * TgmB::EB, staged[i * TgmB::EPC + p]);
      }
    }
  }
};
)CUDA";

/// Where the result m, n lies: coordinates row_* of the phase at_*, `image` and then `pixel` of the output.
constexpr const char* kPlace = R"CUDA(
      int image = m;
      const int row_w = image % $RW; image /= $RW;
      const int row_h = image % $RH; image /= $RH;
      const int row_d = image % $RD; image /= $RD;
      $PHASE
      const int od = (row_d + $BD) * $SD + at_d - $PD, oh = (row_h + $BH) * $SH + at_h - $PH, ow = (row_w + $BW) * $SW + at_w - $PW;
      if ((unsigned)od >= (unsigned)$OD || (unsigned)oh >= (unsigned)$OH || (unsigned)ow >= (unsigned)$OW) return;
      const int pixel = ((image * $OD + od) * $OH + oh) * $OW + ow;
)CUDA";

std::string number(int64_t i) { return std::to_string(i); }

/// One form of one problem.
struct Phases {
  const View& v;
  bool joined;
  std::array<int64_t, 3> taps;  // the most of any phase
  std::array<Dim, 3> rows;
  int64_t count = 1;  // of phases

  Phases(const View& view, bool join) : v(view), joined(join) {
    for (size_t d = 0; d < 3; ++d) {
      taps[d] = mma::ceil_div(v.kernel[d], v.stride[d]);
      rows[d] = joined ? ceildiv(v.out[d] + Dim(v.pad[d]), v.stride[d]) - Dim(v.pad[d] / v.stride[d]) : ceildiv(v.out[d], v.stride[d]);
      count *= v.stride[d];
    }
  }
  Dim m() const { return v.batch * rows[0] * rows[1] * rows[2]; }
  int64_t columns() const { return v.out_group * (joined ? count : 1); }
  bool even(size_t d) const { return v.kernel[d] % v.stride[d] == 0; }
  bool even() const { return even(0) && even(1) && even(2); }
  int64_t most_taps() const { return taps[0] * taps[1] * taps[2]; }
  std::vector<std::string> batch() const {
    if (joined) return {number(v.groups)};
    return {number(v.stride[0]), number(v.stride[1]), number(v.stride[2]), number(v.groups)};
  }
  Dim batches() const { return v.groups * (joined ? 1 : count); }
  std::string group() const { return joined ? "b0" : "b3"; }
  /// The phase in dim d, an expression; of the first column only where phases are joined.
  std::string phase(size_t d) const { return joined ? "0" : "b" + number(static_cast<int64_t>(d)); }
  /// The phase has a tap less than others.
  std::string fewer(size_t d) const { return joined || even(d) ? "false" : "(" + phase(d) + " >= " + number(v.kernel[d] - v.stride[d] * (taps[d] - 1)) + ")"; }
  /// j of the first row.
  std::string base(size_t d) const {
    if (joined || v.stride[d] == 1) return number(v.pad[d] / v.stride[d]);
    return "((" + number(v.pad[d] + v.stride[d] - 1) + " - " + phase(d) + ") / " + number(v.stride[d]) + ")";
  }
  std::string depth() const {
    std::string text = number(v.in_group);
    for (size_t d = 0; d < 3; ++d) text += " * (" + number(taps[d]) + (joined || even(d) ? ")" : " - (int)" + fewer(d) + ")");
    return text;
  }
};

/// Whether a tile of weights has k, not output channels, innermost.
bool depth_innermost(const View& v, bool simt) { return simt || (v.w_out.is_const(1) && !v.w_in.is_const(1)); }

/// Bytes of w per access: within one tap's channels.
int w_access(const View& v, bool k_major) {
  const int element = mma::size_of(v.type);
  if (!(k_major ? v.w_out : v.w_in).is_const(1)) return element;
  for (int bytes = 16; bytes > element; bytes /= 2) {
    const int count = bytes / element;
    bool ok = v.w_alignment % bytes == 0 && (k_major ? v.in_group : v.out_group) % count == 0 && mma::divisible(k_major ? v.w_in : v.w_out, count);
    for (const Dim& s : v.w_space) ok = ok && mma::divisible(s, count);
    if (ok) return bytes;
  }
  return element;
}

std::string weights_text(const Phases& p, bool k_major, mma::KernelParams& params) {
  const View& v = p.v;
  auto flag = [](bool b) { return b ? "true" : "false"; };
  codegen::Vars vars = {
      {"CG", number(v.in_group)},     {"OG", number(v.out_group)},           {"COLUMNS", number(p.columns())}, {"TH", number(p.taps[1])},
      {"TW", number(p.taps[2])},      {"VEC", number(w_access(v, k_major))}, {"JOINED", flag(p.joined)},       {"COLUMN_FAST", flag(v.w_in.is_const(1))},
      {"WC", params.offset(v.w_out)}, {"WO", params.offset(v.w_in)}};
  add_spatial_vars(v, params, 0, vars);
  return codegen::fill(kPhaseWeights, vars);
}

std::string weights_setup(const Phases& p, mma::KernelParams& params) {
  const View& v = p.v;
  const std::string first = v.groups > 1 ? " + (TGM_IDX)" + p.group() + " * (TGM_IDX)" + params.offset(v.w_out * Dim(v.in_group)) : "";
  return "  load.b.base = (const char*)(" + params.pointer(1, v.type, false) + first +
         ");\n  load.b.n0 = n0;\n  load.b.size_k = size_k;\n  load.b.phase_d = " + p.phase(0) + ";\n  load.b.phase_h = " + p.phase(1) +
         ";\n  load.b.phase_w = " + p.phase(2) + ";\n  load.b.fewer_h = " + p.fewer(1) + ";\n  load.b.fewer_w = " + p.fewer(2) + ";\n";
}

std::string place_text(const Phases& p, mma::KernelParams& params) {
  codegen::Vars vars;
  add_spatial_vars(p.v, params, 0, vars);
  std::string phase = "const int at_d = " + p.phase(0) + ", at_h = " + p.phase(1) + ", at_w = " + p.phase(2) + ", channel = n;";
  if (p.joined) {
    const std::string w = number(p.v.stride[2]), h = number(p.v.stride[1]), og = number(p.v.out_group);
    phase = "const int of = n / " + og + ", channel = n % " + og + ", at_w = of % " + w + ", at_h = of / " + w + " % " + h + ", at_d = of / (" + w + " * " + h +
            ");";
  }
  vars.push_back({"PHASE", phase});
  for (size_t d = 0; d < 3; ++d) {
    const std::string a(1, "DHW"[d]);
    vars.insert(vars.end(), {{"R" + a, params.size(p.rows[d])}, {"B" + a, p.base(d)}});
  }
  return codegen::fill(kPlace, vars);
}

/// Values per call of the epilogue: those of one phase only.
int width_of(const Phases& p) {
  int width = mma::epilogue_width(p.v.outs);
  while (p.joined && p.v.out_group % width != 0) width /= 2;
  return width;
}

}  // namespace

mma::GemmSize phases_size(const Problem& problem, const View& v, bool joined) {
  const Phases p(v, joined);
  mma::GemmSize size;
  size.m = mma::hint(p.m(), problem.hints);
  size.n = p.columns(), size.batch = p.batches().value();
  size.k = v.in_group * (joined ? p.most_taps() : mma::ceil_div(v.taps(), p.count));
  size.element = mma::size_of(v.type);
  size.bytes = traffic(problem);
  return size;
}

mma::KernelSource phases_source(const Problem& problem, const Target& target, const mma::Tile& tile, bool joined) {
  const View v = view(problem);
  const Phases p(v, joined);
  mma::KernelParams params;
  mma::GemmText text;
  text.tile = tile;
  text.dtype = v.type;
  text.b_kmajor = depth_innermost(v, tile.simt);
  text.width = width_of(p);
  text.epilogue = mma::emit_epilogue(epilogue(v, text.width), params);
  text.m = params.size(p.m()), text.n = number(p.columns()), text.k = p.depth();
  text.batch = p.batch();
  Window window{p.taps, {1, 1, 1}, {-1, -1, -1}, {}, {}, p.rows, true};
  for (size_t d = 0; d < 3; ++d) window.pad[d] = p.base(d) == "0" ? "0" : "-" + p.base(d), window.fewer[d] = p.fewer(d);
  window.k_edge = v.in_group % tile.bk != 0 && (!p.even() || v.in_group * p.most_taps() % tile.bk != 0);
  text.loader_types = image_loader(v, window, true) + weights_text(p, text.b_kmajor, params);
  text.setup = image_setup(v, window, text.m, p.group(), params) + weights_setup(p, params);
  text.place = place_text(p, params);
  text.store_coords = coords(v, params, "pixel", v.groups > 1 ? p.group() + " * " + number(v.out_group) + " + channel" : "channel");
  text.workspace = v.workspace();
  return mma::gemm_source(text, params, mma::needs_wide(problem), target, p.m(), p.columns(), p.batches());
}

}  // namespace tuyere::conv
