// SPDX-License-Identifier: Apache-2.0
// What the kernels of softmax and log-softmax share. Each tactic stands in one file with its generator.
#pragma once
#include "kernels/api/other_operator.h"
#include "kernels/codegen/row_writer.h"

namespace tuyere::codegen {

/// Tensors: the prologue's inputs, then the output. Inner: the axis.
struct SoftmaxForm {
  Rows rows;
  int inputs = 1;
  bool log = false;
  Program prologue;
  bool real64 = false;  // statistics in double
};
SoftmaxForm softmax_form(const Problem& problem);

/// A kernel with the types of the statistics: T, Largest, Sum, and Online, the maximum and the sum of exponentials in one pass.
Kernel softmax_kernel(const SoftmaxForm& form, const char* name);
/// Appends code that computes T x from the elements of the prologue's inputs.
void emit_softmax_input(Kernel& kernel, const SoftmaxForm& form, const std::vector<std::string>& elements);
/// What softmax_result needs of the sum of exponentials.
std::string softmax_scale(const SoftmaxForm& form, const std::string& sum);
/// The expression of the result for `x`, with the maximum and the scale.
std::string softmax_result(const SoftmaxForm& form, const std::string& x, const std::string& largest, const std::string& scale);

}  // namespace tuyere::codegen

namespace tuyere {

class SoftmaxTactic : public codegen::CudaTactic {
 public:
  Support accepts(const Problem& problem, const Target& target) const override;

 protected:
  virtual Support restrictions(const codegen::SoftmaxForm&, const Problem&, const Target&) const { return Support::yes(); }
};

}  // namespace tuyere
