// SPDX-License-Identifier: Apache-2.0
// Accumulators of a reduction over tiles of one compute type.
#pragma once
#include <cstdint>

#include "kernels/api/ops.h"

namespace tuyere::cpu {

/// One accumulator: real for floats (and any, all, mean, var), exact for the rest over integers.
union Cell {
  double real;
  int64_t exact;
};

/// How values are folded into cells. Sums of f32 are added in double; integers wrap in 64 bits; NaN wins in max and min.
class Fold {
 public:
  Fold(ReduceKind kind, DType type);
  ReduceKind kind() const { return kind_; }
  /// Whether cells hold integers.
  bool exact() const { return exact_; }
  /// Whether values, or their squared differences, are added up.
  bool sums() const { return !exact_ && (kind_ == ReduceKind::sum || kind_ == ReduceKind::mean || kind_ == ReduceKind::var); }
  Cell identity() const;
  /// Folds n values into one cell. `mean`: fold the squared differences to it instead.
  void row(const void* values, int64_t n, Cell* cell, const Cell* mean) const;
  /// Folds `rows` rows of n f32 values into n cells, value i of each into cell i.
  void column_rows(const float* values, int64_t row_stride, int64_t rows, int64_t n, Cell* cells, const Cell* means) const;
  /// The same with bf16 values, where sums().
  void short_column_rows(const uint16_t* values, int64_t row_stride, int64_t rows, int64_t n, Cell* cells, const Cell* means) const;
  /// Folds value i into cell i.
  void columns(const void* values, int64_t n, Cell* cells, const Cell* means) const;
  void join(Cell* cell, Cell part) const;

 private:
  ReduceKind kind_;
  DType type_;
  bool exact_;
};

}  // namespace tuyere::cpu
