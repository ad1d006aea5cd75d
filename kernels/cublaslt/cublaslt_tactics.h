// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt.
#pragma once
#include <optional>

#include "kernels/api/tactic.h"
#include "kernels/run/cublaslt_step.h"

namespace tuyere {

/// "cublaslt.matmul".
void add_cublaslt_tactics(TacticList& list);
/// "cublaslt.conv": convolutions that only mix channels, where the product says the whole epilogue.
void add_cublaslt_conv_tactics(TacticList& list);

/// The product of a MatMul problem without an algorithm; `fused`: whether its whole epilogue is part of it, otherwise the step computes a @ b alone.
/// No: the reason why cuBLASLt cannot.
Support make_lt_step(const Problem& problem, LtStep* step, bool* fused);
/// A Conv problem as the MatMul problem of its pixels, when it is one.
std::optional<Problem> as_matmul(const Problem& problem);

}  // namespace tuyere
