// SPDX-License-Identifier: Apache-2.0
// Parts of the sums of rows that products hand from one to the next, so that no kernel between them reads the rows for a norm (NormMatMul).
#pragma once
#include <optional>
#include <string>

#include "kernels/api/ops.h"
#include "kernels/mma/kernel_source.h"

namespace tuyere::mma {

/// Two f32 values per part, which are neighbours; strides per coordinate of the product (batch..., m, n; 0 along n).
struct NormParts {
  std::optional<EpilogueTensor> in, out;
  int64_t in_count = 0;  // parts of a row that is normalized
  NormKind kind = NormKind::layer;
  double eps = 0;
};
/// For `in`: `const float2* tgn_parts(TG_PARAMS, int c0, ...)` of a row, and the struct tgn_rows<ROWS, LANES>, with which LANES neighbouring threads of a warp
/// find 1 / deviation of ROWS rows: begin(const float2* const* parts) loads, finish(float* factors) sums up. For `out`: `void tgn_store(TG_PARAMS, int c0, ...,
/// float sum, float squares)` of the part that column c_n is in.
std::string norm_parts_text(const NormParts& parts, int coords, KernelParams& params);

}  // namespace tuyere::mma
