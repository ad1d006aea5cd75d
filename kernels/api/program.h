// SPDX-License-Identifier: Apache-2.0
// A pointwise program: a small SSA list of scalar functions. The one form in which pointwise math travels: as a layer of its own, as the
// prologue or epilogue of a heavy layer, through the generators, the vectorized CPU code, the library matchers and the plan.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/dtype.h"

namespace tuyere {

enum class Fn : uint8_t {
#define FN(name, arity, result, cuda, cpp) name,
#include "kernels/api/functions.def"
#undef FN
  constant,  // the immediate value
  cast,      // to the instruction's type; to a storage type (f16, bf16, i8, ...) it rounds or wraps as a store and a load would
};

struct FnInfo {
  const char* name;
  int arity;
  const char* result;  // "same", "real", "bool", "arg1"
  const char* cuda;    // "" for constant and cast
};
const FnInfo& info(Fn fn);
std::optional<Fn> parse_fn(std::string_view name);
/// True for functions of real numbers (sqrt, exp, sigmoid, ...): on integer types they are computed in f64 and truncated.
bool is_real(Fn fn);

/// Value numbers: 0 .. inputs-1 are the inputs, then one per instruction.
struct Inst {
  Fn fn = Fn::constant;
  std::array<int16_t, 3> args{-1, -1, -1};
  DType type = DType::F32;  // type of the result: a compute type (f32, f64, i32, i64, bool), or any type for cast
  double value = 0;         // immediate of constant (integers up to 2^53 are exact)
  bool operator==(const Inst&) const = default;
};

/// inputs[k] is the type input k is *computed* in after its load (compute_type of the tensor's dtype).
/// outputs are value numbers; a store converts to the output tensor's dtype.
/// An empty program (no outputs) means the identity; every consumer must accept it.
/// Text form: "i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = relu(v2); v3" with v<number> for instruction results; one-liners nest:
/// "relu(add(i0:f32, i1:f32))". parse(str()) gives an equal program.
struct Program {
  std::vector<DType> inputs;
  std::vector<Inst> body;
  std::vector<int16_t> outputs;

  bool empty() const { return outputs.empty(); }
  /// True when output k is input k and nothing else happens (or the program is empty).
  bool is_identity() const;
  DType type_of(int value) const;
  bool operator==(const Program&) const = default;

  /// Appends; returns the value number.
  int add(Fn fn, std::vector<int> args);
  int constant(double value, DType type);
  int cast(int value, DType type);
};
/// The type Program::add gives the result of `fn` (not constant, cast) over arguments of these types.
DType result_type(Fn fn, const std::vector<DType>& args);

std::string str(const Program& program);
Program parse_program(std::string_view text);
/// A program of one function over inputs of the given compute types, arguments converted to a common type by the caller.
Program single(Fn fn, const std::vector<DType>& inputs);
/// `outer` with its input `slot` computed by `inner`'s output `out` (inner's further outputs are dropped). Inputs of the result: outer's
/// inputs without `slot`, then inner's; duplicates are kept (see merge_inputs).
Program compose(const Program& outer, int slot, const Program& inner, int out = 0);
/// Makes input `b` the same as input `a` (< b) and removes b.
Program merge_inputs(const Program& program, int a, int b);
/// Removes unused instructions, shares equal ones, folds constants. Inputs keep their numbers.
Program simplify(const Program& program);
/// Number of uses of each input by the body and the outputs.
std::vector<int> input_uses(const Program& program);
/// Interprets the program in scalar reference arithmetic; `in` and `out` hold values as double (f32 results are rounded to float after each step).
void evaluate(const Program& program, const double* in, double* out);
/// CUDA statements that compute the program: `load(k)` yields the expression of input k; returns the expressions of the outputs.
/// Lines are appended to `code`, each ending in '\n'; names are prefixed so that several programs can share a scope.
std::vector<std::string> emit_cuda(const Program& program, const std::vector<std::string>& inputs, const std::string& prefix, std::string& code);
/// The device helper functions that emit_cuda relies on (tg_max, tg_gelu_erf, ...): CUDA source, no includes needed beyond the dtype headers.
const char* cuda_prelude();

/// The shapes of epilogue that libraries know: out = act(main [+ residual] [+ bias]) and act(main [+ bias]) + residual.
/// Input 0 is the main result. Empty when the program is anything else.
struct SimpleEpilogue {
  int bias = -1;                       // input number, or -1
  int residual = -1;                   // input number, or -1
  std::optional<Fn> act;               // relu, silu, gelu_erf, gelu_tanh, sigmoid, tanh, hardswish, hardsigmoid, clamp; where: a leaky relu
  double act_alpha = 0, act_beta = 0;  // bounds of clamp; the slope of a leaky relu below zero
  bool residual_last = false;          // added to what the activation returns
};
/// `is_bias(k)`: whether input k varies along the channel only.
std::optional<SimpleEpilogue> match_simple_epilogue(const Program& program, const std::vector<bool>& is_bias);

}  // namespace tuyere
