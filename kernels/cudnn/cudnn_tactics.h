// SPDX-License-Identifier: Apache-2.0
// Convolutions and attention by cuDNN.
#pragma once
#include <optional>
#include <vector>

#include "kernels/api/tactic.h"
#include "kernels/run/cudnn_step.h"

namespace tuyere {

/// "cudnn.conv" and "cudnn.conv_weight_gradient".
void add_cudnn_conv_tactics(TacticList& list);
/// "cudnn.matmul": products whose epilogue cuBLASLt does not have, as convolutions.
void add_cudnn_matmul_tactics(TacticList& list);
/// "cudnn.attention".
void add_cudnn_attention_tactics(TacticList& list);

/// Alignments above this tell cuDNN nothing more, bytes.
constexpr int kMaxAlignment = 256;

/// How the epilogue is computed: in the convolution's graph, or by a kernel of our own afterwards.
enum class ConvForm { fused, split };
struct ConvForms {
  std::vector<ConvForm> forms;  // the most promising first
  bool precompiled = false;     // the fused form is one that cuDNN ships machine code for
};
/// The forms in which cuDNN can compute a Conv problem; no with the reason when there is none.
Support conv_forms(const Problem& problem, const Target& target, ConvForms* forms);
/// The step without a configuration and without `then`, for a form that conv_forms gave.
CudnnStep make_cudnn_step(const Problem& problem, ConvForm form);

/// Whether cuDNN may have a kernel for a ConvWeightGradient problem; no with the reason.
Support cudnn_weight_gradient_fits(const Problem& problem, const Target& target);
/// The step without a configuration, for a problem that fits.
CudnnStep make_cudnn_weight_gradient_step(const Problem& problem);

/// A MatMul problem with row-major weights as a convolution of single pixels, when it is one.
std::optional<Problem> as_conv(const Problem& problem);

/// Whether cuDNN may have a kernel for an Attention problem; no with the reason. Its heuristics have the last word.
Support cudnn_attention_fits(const Problem& problem);
/// The step without a configuration, for a problem that fits.
CudnnStep make_cudnn_attention_step(const Problem& problem);

}  // namespace tuyere
