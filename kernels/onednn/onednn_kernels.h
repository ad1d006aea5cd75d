// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cpu/cpu_kernel.h"

namespace tuyere::cpu {

/// Adds onednn.matmul, onednn.conv, onednn.conv_weight_gradient and onednn.pool; nothing in a build without oneDNN's headers.
void add_onednn_kernels(CpuKernelTable& table);
std::unique_ptr<Executable> prepare_onednn_matmul(const CpuProblem& p);
int64_t workspace_onednn_matmul(const CpuProblem& p);
std::unique_ptr<Executable> prepare_onednn_conv(const CpuProblem& p);
int64_t workspace_onednn_conv(const CpuProblem& p);
std::unique_ptr<Executable> prepare_onednn_weight_gradient(const CpuProblem& p);
int64_t workspace_onednn_weight_gradient(const CpuProblem& p);
std::unique_ptr<Executable> prepare_onednn_pool(const CpuProblem& p);
int64_t workspace_onednn_pool(const CpuProblem& p);

}  // namespace tuyere::cpu
