// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>

#include "kernels/api/ops.h"

namespace tuyere {

/// A MatMul (but for its trans_a and tf32), GatedMatMul or NormMatMul as the operator that can be all of them.
inline std::optional<NormMatMul> as_norm_product(const Op& op) {
  NormMatMul result;
  if (const auto* norm = std::get_if<NormMatMul>(&op)) return *norm;
  if (const auto* gated = std::get_if<GatedMatMul>(&op)) {
    result.gated = true, result.trans_b = gated->trans_b, result.type = gated->type, result.epilogue = gated->epilogue;
    return result;
  }
  const auto* plain = std::get_if<MatMul>(&op);
  if (!plain) return std::nullopt;
  result.trans_b = plain->trans_b, result.type = plain->type, result.epilogue = plain->epilogue;
  return result;
}

}  // namespace tuyere
