// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/norm_parts.h"

#include "kernels/codegen/kernel.h"

namespace tuyere::mma {
namespace {

std::string coordinates(int count) {
  std::string text;
  for (int c = 0; c < count; ++c) text += ", int c" + std::to_string(c);
  return text;
}

/// Loads come long before the sums where registers can hold them, so that nobody waits for memory. Sums are of what is left when the first part's mean is taken
/// away: then nothing cancels where the mean is large.
constexpr const char* kPartsToFactors = R"CUDA(
TGM_DEV const float2* tgn_parts(TG_PARAMS$COORDS) { return (const float2*)($POINTER + ($OFFSET)); }
template <int ROWS, int LANES> struct tgn_rows {
  static constexpr bool CENTERED = $CENTERED;
  static constexpr int COUNT = $COUNT, STEPS = (COUNT + LANES - 1) / LANES, CHUNK = STEPS * ROWS <= 32 ? STEPS : 32 / ROWS;
  float2 part[ROWS][CHUNK];
  float shift[ROWS], sum[ROWS], squares[ROWS];

  TGM_DEV_MEMBER int place(int step) const { return step * LANES + ((int)threadIdx.x & (LANES - 1)); }
  TGM_DEV_MEMBER void load(const float2* const* parts, int from) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
#pragma unroll
      for (int i = 0; i < CHUNK; ++i) part[r][i] = parts[r][place(from + i) < COUNT ? place(from + i) : 0];
  }
  TGM_DEV_MEMBER void add(int from) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      if (from == 0) {
        shift[r] = CENTERED ? __shfl_sync(0xffffffffu, part[r][0].x, (int)threadIdx.x & 31 & ~(LANES - 1)) * (1.f / $PART) : 0.f;
        sum[r] = squares[r] = 0.f;
      }
#pragma unroll
      for (int i = 0; i < CHUNK; ++i) {
        const float moved = part[r][i].x - $PART.f * shift[r];
        const bool inside = place(from + i) < COUNT;
        sum[r] += inside ? moved : 0.f;
        squares[r] += inside ? part[r][i].y + moved * moved * (1.f / $PART) : 0.f;
      }
    }
  }
  TGM_DEV_MEMBER void begin(const float2* const* parts) {
    load(parts, 0);
    if constexpr (CHUNK < STEPS) {
      add(0);
#pragma unroll 1
      for (int from = CHUNK; from < STEPS; from += CHUNK) load(parts, from), add(from);
    }
  }
  /* 1 / deviation of each row. */
  TGM_DEV_MEMBER void finish(float* factors) {
    if constexpr (CHUNK == STEPS) add(0);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
#pragma unroll
      for (int other = 1; other < LANES; other *= 2) {
        sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], other);
        squares[r] += __shfl_xor_sync(0xffffffffu, squares[r], other);
      }
      const float scale = 1.f / ($PART.f * COUNT), mean = CENTERED ? sum[r] * scale : 0.f, variance = squares[r] * scale - mean * mean;
      factors[r] = rsqrtf((variance < 0.f ? 0.f : variance) + $EPS);
    }
  }
};
)CUDA";

constexpr const char* kPartToMemory = R"CUDA(
TGM_DEV void tgn_store(TG_PARAMS$COORDS, float sum, float squares) { *(float2*)($POINTER + ($OFFSET) + $COLUMN / $PART * 2) = make_float2(sum, squares); }
)CUDA";

}  // namespace

std::string norm_parts_text(const NormParts& parts, int coords, KernelParams& params) {
  const codegen::Vars common = {{"COORDS", coordinates(coords)},
                                {"COLUMN", "c" + std::to_string(coords - 1)},
                                {"PART", std::to_string(kNormPart)},
                                {"CENTERED", parts.kind == NormKind::layer ? "true" : "false"},
                                {"EPS", float_literal(parts.eps)}};
  const auto text = [&](const char* form, const EpilogueTensor& tensor, bool written) {
    codegen::Vars vars = common;
    vars.insert(vars.end(), {{"POINTER", params.pointer(tensor.position, tensor.dtype, written)}, {"OFFSET", offset_text(tensor, params)}});
    if (!written) vars.push_back({"COUNT", std::to_string(parts.in_count)});
    return codegen::fill(form, vars);
  };
  return (parts.in ? text(kPartsToFactors, *parts.in, false) : "") + (parts.out ? text(kPartToMemory, *parts.out, true) : "");
}

}  // namespace tuyere::mma
