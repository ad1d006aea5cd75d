// SPDX-License-Identifier: Apache-2.0
// The table of all CPU kernels.
#pragma once
#include "kernels/cpu/cpu_kernel.h"

namespace tuyere::cpu {
CpuKernelTable cpu_kernels();
/// Prepares the problem with another kernel: empty tensors, for example, are left to the references.
std::unique_ptr<Executable> prepare_kernel(std::string_view name, const CpuProblem& p);
/// What that kernel needs of workspace.
int64_t kernel_workspace(std::string_view name, const CpuProblem& p);
}  // namespace tuyere::cpu
