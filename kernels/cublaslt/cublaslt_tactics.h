// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt.
#pragma once
#include "kernels/api/tactic.h"
#include "kernels/run/cublaslt_step.h"

namespace tuyere {

/// "cublaslt.matmul".
void add_cublaslt_tactics(TacticList& list);

/// The product of a MatMul problem without an algorithm; `fused`: whether its whole epilogue is part of it, otherwise the step computes a @ b alone.
/// No: the reason why cuBLASLt cannot.
Support make_lt_step(const Problem& problem, LtStep* step, bool* fused);

}  // namespace tuyere
