// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/views.h"

namespace tuyere::cpu {

/// Operand [..., R, C] of a matmul after the optional transpose, its batch dims broadcast to the output's.
View matmul_operand(const TensorView& t, bool transpose, const View& out);
/// Adds own.matmul.blocked.
void add_matmul_kernels(CpuKernelTable& table);
/// What own.matmul.blocked needs.
int64_t workspace_blocked_matmul(const CpuProblem& p);
/// Adds own.matmul.rows.
void add_matmul_rows(CpuKernelTable& table);

}  // namespace tuyere::cpu
