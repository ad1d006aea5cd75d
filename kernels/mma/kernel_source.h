// SPDX-License-Identifier: Apache-2.0
// What the generators of this family of kernels share: kernel parameters, the epilogue function, the finished source.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/cuda_step.h"
#include "kernels/api/problem.h"
#include "kernels/api/step.h"
#include "kernels/codegen/space.h"
#include "kernels/codegen/types.h"

namespace tuyere::mma {

using codegen::accumulator_ctype;
using codegen::compute_ctype;
using codegen::divisible;
using codegen::hint;
using codegen::size_of;
using codegen::storage_ctype;

/// The parameter list shared by all kernels of one source. Constants become literals, everything else an argument; equal ones are shared.
class KernelParams {
 public:
  std::string pointer(int position, DType type, bool written);
  std::string size(const Dim& dim);    // int
  std::string offset(const Dim& dim);  // int or long long
  std::string declaration() const;
  std::string names() const;
  const std::vector<KernelArg>& args() const { return args_; }

 private:
  std::string add(const std::string& type, const std::string& name, KernelArg arg);
  std::vector<std::string> types_, names_;
  std::vector<KernelArg> args_;
};

/// A tensor as an epilogue sees it: element strides per coordinate (0 where it broadcasts).
struct EpilogueTensor {
  int position = 0;
  DType dtype = DType::F32;
  std::vector<Dim> strides;
  int alignment = 256;
};

/// out_k[coords] = program(acc, extra...): `width` consecutive values along coordinate `vec` per call.
struct Epilogue {
  Program program;
  DType acc = DType::F32;
  int mains = 1;  // of the program's inputs: accumulators, `width` values of each one after the other
  std::vector<EpilogueTensor> extras, outs;
  int coords = 2;
  int vec = 1;
  int width = 8;
  bool aligned = true;  // the first value's coordinate is a multiple of width
};
/// Text of `void tgm_epilogue(TG_PARAMS, int c0, ..., const ACC* x, int count, bool keep = true)`; count <= width values are stored, or none if count is width
/// and `keep` false.
std::string emit_epilogue(const Epilogue& epilogue, KernelParams& params, const std::string& name = "tgm_epilogue");
/// Text of `template <class OUT> void tgm_pair_epilogue(TG_PARAMS, int c0, ..., const ACC* x, const unsigned* given, OUT* outs)`, where output k of two values
/// goes to outs[k].put(address, values) and the pairs of 16-bit values of the extras `given` are handed in, and of `unsigned short* tgm_result(TG_PARAMS, int
/// k, int c0, ...)` and `const unsigned short* tgm_given(...)`, the addresses of a value of output k, or of the k-th of those extras.
std::string emit_pair_epilogue(Epilogue epilogue, const std::vector<int>& given, KernelParams& params);
/// Width for 16-byte stores to every output.
int epilogue_width(const std::vector<EpilogueTensor>& outs);

/// Removes coordinate `outer` where outer and inner = outer + 1 are one dimension for every tensor: strides[outer] == size(inner) * strides[inner].
/// `sets`: the stride lists of all tensors, changed in place, like `sizes`.
bool merge_coordinates(std::vector<Dim>& sizes, const std::vector<std::vector<Dim>*>& sets, int outer);

/// A finished source with its launches.
struct KernelSource {
  std::string text;
  CudaStep step;
  Dim workspace;
};
/// A source without its text: one launch of `name` over `grid` blocks with the parameters, which must be complete; programmatic where the device can.
KernelSource one_launch(const std::string& name, const Dim& grid, int threads, const KernelParams& params, const Target& target);
/// "tgm_mma_f16" and its like: the instruction for operands of a type (tf32 for f32).
const char* mma_name(DType type);
/// Preludes + primitives + parameter macros (TG_PARAMS, TG_ARGS) + `body`. wide: offsets are 64-bit.
std::string assemble(const KernelParams& params, bool wide, const std::string& body);
/// Whether element offsets of the tensors may exceed 31 bits.
bool needs_wide(const Problem& problem);
/// Compiles and packs.
StepSpec compile_step(const KernelSource& source, const Target& target);
/// "1.000000000e-05f".
std::string float_literal(double value);
/// "tile=128x64 stages=3": the value of a key, or "".
std::string config_value(const std::string& config, const std::string& key);
std::vector<int> config_ints(const std::string& config, const std::string& key);

}  // namespace tuyere::mma
