// SPDX-License-Identifier: Apache-2.0
// The forms of own.norm.tile.
#pragma once
#include <memory>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/row_source.h"

namespace tuyere::cpu {

struct NormProblem {
  View space;
  Operands first;       // further outputs (residual sums), then the prologue's inputs
  Operands second;      // output 0, then weight, bias, extras
  Operands statistics;  // means and scales, or none
  std::array<bool, kMaxRank> in_row{};
  int stores = 0;
};

/// How many of the step's inputs belong to the prologue.
inline int prologue_inputs(const Norm& op) { return op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size()); }

/// How many outputs the prologue gives beyond the normalized one.
inline int stored_outputs(const Norm& op, const CpuProblem& p) { return p.outputs() - 1 - (op.statistics ? 2 : 0); }

/// x [N, C, ...] as [N, G, C/G, ...]; a dim of size 1 (broadcast) splits into two of stride 0.
View split_channels(const View& v, int64_t groups);

/// Weight and bias as dense f32; missing ones stay null.
class NormWeights {
 public:
  NormWeights(const Norm& op, const CpuProblem& p);
  /// Whether their memory is dense.
  bool dense() const { return dense_; }
  /// Converts what is not f32; once per run.
  void load(void* const* ptr);
  const float* weight() const { return weight_.data; }
  const float* bias() const { return bias_.data; }
  /// Step inputs behind weight and bias.
  int next() const { return next_; }

 private:
  struct Entry {
    int slot = -1;
    DType type = DType::F32;
    std::vector<float> buffer;
    const float* data = nullptr;
  };
  void add(Entry& entry, const CpuProblem& p);
  static void load(Entry& entry, void* const* ptr);

  Entry weight_, bias_;
  bool dense_ = true;
  int next_;
};

/// Rows along one dim of memory: layer and RMS norms, groups of a row-major tensor. Null when the strides do not fit.
std::unique_ptr<Executable> prepare_flat_norm(const Norm& op, const CpuProblem& p);
/// Groups of a channels-last tensor: all channels of a position at once. Null when the strides do not fit.
std::unique_ptr<Executable> prepare_channel_norm(const Norm& op, const CpuProblem& p);

/// The gradients of layer norms.
void add_norm_gradient_kernels(CpuKernelTable& table);
void add_norm_gradient_references(CpuKernelTable& table);

}  // namespace tuyere::cpu
