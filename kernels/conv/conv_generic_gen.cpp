// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_view.h"

namespace tuyere::conv {
namespace {

constexpr const char* kDirectKernel = R"CUDA(
/* Where tap k of output coordinate `at` reads along one dim; false outside. */
template <int STRIDE, int PAD, int DILATION> TGM_DEV bool tgc_place(int at, int k, int size, int& place) {
  if ($TRANSPOSED) {
    int s = at + PAD - k * DILATION;
    place = s / STRIDE;
    return s >= 0 && s % STRIDE == 0 && place < size;
  }
  place = at * STRIDE - PAD + k * DILATION;
  return (unsigned)place < (unsigned)size;
}
extern "C" __global__ void __launch_bounds__(256) tg_conv_direct(TG_PARAMS) {
  tgm_grid_launch_next();
  const int outputs = $OUTPUTS, out_d = $OD, out_h = $OH, out_w = $OW;
  const long long pixels = (long long)$BATCH * out_d * out_h * out_w;
  long long id = (long long)blockIdx.x * 256 + threadIdx.x;
  if (id >= pixels * outputs) return;
  const int o = (int)($CHANNEL_FAST ? id % outputs : id / pixels);
  const int pixel = (int)($CHANNEL_FAST ? id / outputs : id % pixels);
  int q = pixel;
  const int ow = q % out_w;
  q /= out_w;
  const int oh = q % out_h;
  q /= out_h;
  const int od = q % out_d, n = q / out_d;
  const int group = o / $OG;
  tgm_grid_wait();
  const $T* x = $X + (TGM_IDX)n * $XN + (TGM_IDX)(group * $CG) * $XC;
  const $T* w = $W + $W_BASE;
  $ACC sum = 0;
  for (int kd = 0; kd < $KD; ++kd) {
    int id_;
    if (!tgc_place<$SD, $PD, $DD>(od, kd, $ID, id_)) continue;
    for (int kh = 0; kh < $KH; ++kh) {
      int ih;
      if (!tgc_place<$SH, $PH, $DH>(oh, kh, $IH, ih)) continue;
      for (int kw = 0; kw < $KW; ++kw) {
        int iw;
        if (!tgc_place<$SW, $PW, $DW>(ow, kw, $IW, iw)) continue;
        const $T* xp = x + (TGM_IDX)id_ * $XD + (TGM_IDX)ih * $XH + (TGM_IDX)iw * $XW;
        const $T* wp = w + (TGM_IDX)kd * $WD + (TGM_IDX)kh * $WH + (TGM_IDX)kw * $WW;
        for (int c = 0; c < $CG; ++c) sum += tg_cvt<$ACC>(xp[(TGM_IDX)c * $XC]) * tg_cvt<$ACC>(wp[(TGM_IDX)c * $WC]);
      }
    }
  }
  tgm_epilogue(TG_ARGS, $COORDS, &sum, 1);
}
)CUDA";

}  // namespace

mma::KernelSource generic_source(const Problem& problem, const Target& target) {
  const View v = view(problem);
  mma::KernelParams params;
  const std::string epilogue_text = mma::emit_epilogue(epilogue(v, 1), params);
  auto number = [](int64_t i) { return std::to_string(i); };
  // w [O, C/g, ...] or, transposed, [C, O/g, ...]
  const std::string w_base = v.transposed ? "(TGM_IDX)(group * " + number(v.in_group) + ") * " + params.offset(v.w_out) + " + (TGM_IDX)(o % " +
                                                number(v.out_group) + ") * " + params.offset(v.w_in)
                                          : "(TGM_IDX)o * " + params.offset(v.w_out);
  codegen::Vars vars = {{"TRANSPOSED", v.transposed ? "true" : "false"},
                        {"OUTPUTS", number(v.groups * v.out_group)},
                        {"BATCH", params.size(v.batch)},
                        {"CHANNEL_FAST", v.outs[0].strides.back().is_const(1) ? "true" : "false"},
                        {"OG", number(v.out_group)},
                        {"CG", number(v.in_group)},
                        {"T", mma::storage_ctype(v.type)},
                        {"ACC", mma::accumulator_ctype(v.type)},
                        {"X", params.pointer(0, v.type, false)},
                        {"W", params.pointer(1, v.type, false)},
                        {"XN", params.offset(v.x_batch)},
                        {"XC", params.offset(v.x_channel)},
                        {"WC", params.offset(v.transposed ? v.w_out : v.w_in)},
                        {"W_BASE", w_base},
                        {"COORDS", coords(v, params, "pixel", "o")}};
  add_spatial_vars(v, params, 0, vars);
  mma::KernelSource source = mma::one_launch("tg_conv_direct", ceildiv(v.pixel_count() * Dim(v.groups * v.out_group), 256), 256, params, target);
  source.text = mma::assemble(params, mma::needs_wide(problem), epilogue_text + codegen::fill(kDirectKernel, vars));
  return source;
}

}  // namespace tuyere::conv
