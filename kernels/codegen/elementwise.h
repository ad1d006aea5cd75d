// SPDX-License-Identifier: Apache-2.0
// Code that computes every output element from input elements at affine, broadcast or indirect positions: pointwise programs, copies of every kind,
// concatenation, gathers and direct scatters.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/program.h"
#include "kernels/codegen/kernel.h"
#include "kernels/codegen/space.h"

namespace tuyere::codegen {

/// Adds wrap(index value, size) * stride to an operand's offset; negative indices count from the end.
struct Indirect {
  int index = 0;  // number of the input that holds the index
  Dim size, stride;
};

struct Access {
  Operand op;
  std::vector<Indirect> indirect;
};

/// out_k[...] = program(in...)_k over `space`, whose strides are those of the inputs and then of the outputs.
/// Inputs beyond the program's are index tensors. An empty program copies input 0 to output 0, converting the type.
struct Elementwise {
  Space space;
  std::vector<Access> in, out;
  Program program;
  int values() const { return program.empty() ? 1 : static_cast<int>(program.inputs.size()); }
};

struct ElementwiseShape {
  int vec = 1;     // elements per access
  int unroll = 1;  // accesses per thread
  int threads = 256;
};

/// The widest access that the outputs and at least one input (if any) allow.
int widest_vector(const Elementwise& e);
/// A good shape for the hint sizes.
ElementwiseShape default_shape(const Elementwise& e, const Target& target, const Symbols& hints);
ElementwiseShape parse_shape_config(const Config& config, const ElementwiseShape& fallback);
std::string str(const ElementwiseShape& shape);
/// Blocks that emit_elementwise needs.
Dim elementwise_blocks(const Elementwise& e, const ElementwiseShape& shape);
/// Appends the statements of block number `block` (an expression of idx) in braces.
void emit_elementwise(Kernel& kernel, const Elementwise& e, const ElementwiseShape& shape, const std::string& block);
bool needs_wide(const Elementwise& e);
/// One kernel.
Kernel elementwise_kernel(const std::string& name, const Elementwise& e, const ElementwiseShape& shape);

/// The elementwise form of a Pointwise problem and of copies: `in` has the shape of `out` or broadcasts to it.
Elementwise pointwise_elementwise(const Problem& problem);
Elementwise copy_elementwise(const TensorDesc& in, const Operand& in_op, const TensorDesc& out, const Operand& out_op, const Symbols& hints);

}  // namespace tuyere::codegen
