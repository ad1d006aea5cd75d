// SPDX-License-Identifier: Apache-2.0
// Tensors seen as rows: an outer space of independent rows and an inner space of the elements that a row combines. Shared by reductions,
// softmax and normalization.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/program.h"
#include "kernels/codegen/kernel.h"
#include "kernels/codegen/space.h"

namespace tuyere::codegen {

/// Tensors 0.. of both spaces are `ops`. A vector runs along the last dim of `along`.
struct Rows {
  Space outer, inner;
  std::vector<Operand> ops;
};

/// Whether `vec` consecutive elements along the last dim of inner (or outer, when along_outer) are one aligned piece in tensor t.
bool vector_ok(const Rows& rows, int t, int vec, bool along_outer);
Mode mode_of(const Rows& rows, int t, int vec, bool along_outer);
/// Widest vec <= 16 bytes / element such that the dim is divisible and at least one of the first `count` tensors is read in vectors.
int row_vector(const Rows& rows, int count, bool along_outer);

/// Text that declares `<s> <name>[n]` and fills it from `address`; nothing is read unless `guard` (an expression, "" for always) holds.
std::string load_text(const Operand& op, Mode mode, int vec, const std::string& name, const std::string& address, const std::string& stride);
std::string declare_text(const Operand& op, Mode mode, int vec, const std::string& name, const std::string& prefix_dims = "");
/// The j-th element of an array that declare_text made.
std::string element(const std::string& name, Mode mode);
/// Values of the program's outputs for inputs named <prefix>k, arrays of modes[k]; an empty program is the identity of input 0.
std::vector<std::string> emit_program(const Program& program, const std::vector<Operand>& ops, const std::vector<std::string>& elements,
                                      const std::string& prefix, std::string& code);
/// The compute type of output k of a program over `ops` (the identity when empty).
DType program_type(const Program& program, DType identity, int k = 0);

}  // namespace tuyere::codegen
