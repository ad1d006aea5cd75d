// SPDX-License-Identifier: Apache-2.0
// What follows the products of hidden states: gates and new states of recurrent cells, compiled for several instruction sets.
#pragma once
#include <cstdint>

#include "kernels/api/ops.h"

namespace tuyere::cpu {

/// Values in memory, f32 or bf16, in rows; strides in elements.
struct CellRows {
  void* data;
  int64_t stride;
  bool is_short;
};

/// The cells of some rows of the batch and some hidden units. Rows of `sums`, `bias`, `before`, `after` and `cells` hold `width` units, a multiple of 16, of
/// which the first `units` exist; `x` and `y` hold those only.
struct CellBlock {
  RecurrentKind kind;
  int64_t rows, units, width;
  const float *sums, *bias;  // [rows][gates][width]: products of the hidden states; [gates][width]
  CellRows x;                // products of the inputs,
  int64_t x_gate, x_next;    // so far from one gate to the next, and from here to what the next call reads
  CellRows before, after;    // the hidden states
  CellRows cells;            // f32; lstm's
  CellRows y;                // another copy of the new hidden states
};
void run_cells(const CellBlock& block);

}  // namespace tuyere::cpu
