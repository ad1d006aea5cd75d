// SPDX-License-Identifier: Apache-2.0
// A MatMul or GatedMatMul problem with its dims joined where memory allows: batch coordinates, m, n.
#pragma once
#include <optional>
#include <vector>

#include "kernels/mma/gemm.h"

namespace tuyere::matmul {

struct View {
  std::vector<Dim> batch;  // sizes
  Dim m, n, k;
  mma::Matrix a, b;                               // rows of b are the columns of the product
  std::optional<mma::Matrix> b2;                  // of a GatedMatMul's second product
  std::vector<mma::EpilogueTensor> extras, outs;  // strides per coordinate: batch..., m, n
  DType accumulator = DType::F32;
  Program epilogue;
  int coords() const { return static_cast<int>(batch.size()) + 2; }
  Dim batch_count() const;
  int workspace() const;  // position of the workspace pointer
};

/// Joins batch dims with each other, and with m when b does not depend on them.
View view(const Problem& problem);
mma::Epilogue epilogue(const View& view, int vec, int width);
/// Names b0, b1, ... of the batch coordinates, each followed by ", ".
std::string batch_names(const View& view);
/// "p0 + b0 * 4096 + b1 * 64" in elements.
std::string base(const View& view, const mma::Matrix& matrix, mma::KernelParams& params);
/// Of both products together where there are two.
mma::GemmSize gemm_size(const Problem& problem, const View& view);

}  // namespace tuyere::matmul
