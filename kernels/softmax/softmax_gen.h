// SPDX-License-Identifier: Apache-2.0
// Generators of softmax and log-softmax.
#pragma once
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
/// Threads share a row; in registers when plan.keep > 0, otherwise read twice.
Kernel softmax_row_kernel(const SoftmaxForm& form, const RowPlan& plan);
/// tx neighbouring rows by ty parts of the axis per block: for an axis that is not innermost.
Kernel softmax_column_kernel(const SoftmaxForm& form, int tx, int ty);

}  // namespace tuyere::codegen
