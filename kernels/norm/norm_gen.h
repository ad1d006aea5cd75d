// SPDX-License-Identifier: Apache-2.0
// Generators of layer, RMS and group normalization.
#pragma once
#include "kernels/codegen/panel.h"

namespace tuyere::codegen {

/// Tensors: the prologue's inputs, weight and bias when present, the epilogue's further inputs, output 0, the further outputs. Inner: what a row combines.
struct NormForm {
  Rows rows;
  int inputs = 1;              // of the prologue
  int weight = -1, bias = -1;  // tensor numbers
  int extra = 0, extras = 0;   // first of the epilogue's further inputs, and how many
  int out = 0, outputs = 1;    // first output, and how many that have x's shape
  int statistics = -1;         // tensor of the means, before that of 1 / sqrt(variance + eps)
  bool rms = false;
  double eps = 0;
  Program prologue, epilogue;
  bool real64 = false;
};
NormForm norm_form(const Problem& problem);
/// One kernel when plan.split is 1 (in registers when plan.keep > 0, else three passes); otherwise partial statistics, then the result.
Generated norm_kernels(const NormForm& form, const RowPlan& plan, int workspace_position);

/// The form of a group norm with the channels as neighbouring columns (vectors run along them).
NormForm channel_norm_form(const Problem& problem);
/// The form refers to `form`.
PanelForm norm_panel_form(const NormForm& form, int64_t group);
/// One kernel when plan.split is 1; otherwise partial statistics, those of the groups, the result.
Generated norm_panel_kernels(const NormForm& form, int64_t group, const PanelPlan& plan, int workspace_position);

}  // namespace tuyere::codegen
