// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/rows.h"

#include <algorithm>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {

bool vector_ok(const Rows& rows, int t, int vec, bool along_outer) {
  const Space& along = along_outer ? rows.outer : rows.inner;
  const Space& other = along_outer ? rows.inner : rows.outer;
  if (along.rank() == 0 || !along.strides[t].back().is_const(1)) return false;
  if (rows.ops[t].alignment % std::min(16, vec * size_of(rows.ops[t].dtype)) != 0) return false;
  auto multiple = [&](const Dim& d) { return divisible(d, vec); };
  return std::all_of(along.strides[t].begin(), along.strides[t].end() - 1, multiple) && std::all_of(other.strides[t].begin(), other.strides[t].end(), multiple);
}

Mode mode_of(const Rows& rows, int t, int vec, bool along_outer) {
  if (vec > 1 && vector_ok(rows, t, vec, along_outer)) return Mode::vector;
  const Space& along = along_outer ? rows.outer : rows.inner;
  return along.rank() == 0 || along.strides[t].back().is_const(0) ? Mode::broadcast : Mode::strided;
}

int row_vector(const Rows& rows, int count, bool along_outer) {
  const Space& along = along_outer ? rows.outer : rows.inner;
  if (along.rank() == 0) return 1;
  int smallest = 16;
  for (int t = 0; t < count; ++t) smallest = std::min(smallest, size_of(rows.ops[t].dtype));
  for (int vec = std::min(16 / smallest, 8); vec > 1; vec /= 2) {
    bool any = false;
    for (int t = 0; t < count; ++t) any = any || vector_ok(rows, t, vec, along_outer);
    if (any && divisible(along.size.back(), vec)) return vec;
  }
  return 1;
}

std::string declare_text(const Operand& op, Mode mode, int vec, const std::string& name, const std::string& prefix_dims) {
  return "    " + storage_ctype(op.dtype) + " " + name + prefix_dims + "[" + std::to_string(mode == Mode::broadcast ? 1 : vec) + "];\n";
}

std::string load_text(const Operand&, Mode mode, int vec, const std::string& name, const std::string& address, const std::string& stride) {
  const Vars vars = {{"n", name}, {"at", address}, {"V", std::to_string(vec)}, {"stride", stride}};
  if (mode == Mode::broadcast) return fill("    $n[0] = *($at);\n", vars);
  if (mode == Mode::vector) return fill("    tg_load<$V>($n, $at);\n", vars);
  return fill("#pragma unroll\n    for (int j = 0; j < $V; ++j) $n[j] = ($at)[(idx)j * $stride];\n", vars);
}

std::string element(const std::string& name, Mode mode) { return name + (mode == Mode::broadcast ? "[0]" : "[j]"); }

DType program_type(const Program& program, DType identity, int k) { return compute_type(program.empty() ? identity : program.type_of(program.outputs[k])); }

std::vector<std::string> emit_program(const Program& program, const std::vector<Operand>& ops, const std::vector<std::string>& elements,
                                      const std::string& prefix, std::string& code) {
  if (program.empty()) return {"tg_cvt<" + compute_ctype(ops[0].dtype) + ">(" + elements[0] + ")"};
  std::vector<std::string> inputs;
  for (size_t k = 0; k < program.inputs.size(); ++k) inputs.push_back("tg_cvt<" + storage_ctype(program.inputs[k]) + ">(" + elements[k] + ")");
  return emit_cuda(program, inputs, prefix, code);
}

}  // namespace tuyere::codegen
