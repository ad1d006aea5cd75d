// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cpu/cpu_kernel.h"

namespace tuyere::cpu {

/// Adds own.conv.direct, own.conv.winograd, the gradients of weights and the kernels of ExpandedDepthwise.
void add_conv_kernels(CpuKernelTable& table);
void add_winograd_kernels(CpuKernelTable& table);
void add_conv_weight_gradient_kernels(CpuKernelTable& table);
void add_expanded_lines_kernels(CpuKernelTable& table);
void add_expanded_apart_kernels(CpuKernelTable& table);
void add_expanded_depthwise_references(CpuKernelTable& table);

/// Kernels that pack the weight leave the rest to the reference: weights that are not known, nothing to compute.
inline bool conv_runs_reference(const CpuProblem& p) {
  const bool packed = p.args.constants.size() > 1 && p.args.constants[1] != nullptr;
  return !packed || p.args.out[0].numel() == 0 || p.args.in[0].numel() == 0 || p.args.in[1].numel() == 0;
}

}  // namespace tuyere::cpu
