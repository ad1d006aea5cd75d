// SPDX-License-Identifier: Apache-2.0
// Programs as CUDA source, and the device functions that the source calls.
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "common/error.h"
#include "kernels/api/program.h"

namespace tuyere {
namespace {

/// Helpers for T = float, double, int, long long, bool. No header is needed: the short floats are converted by PTX and integer arithmetic.
constexpr const char* kHelpers = R"(
#ifndef TUYERE_PRELUDE
#define TUYERE_PRELUDE
#define TG_FN template <class T> static __device__ __forceinline__
template <class T> struct tg_type { static constexpr bool real = false, boolean = false; };
template <> struct tg_type<float> { static constexpr bool real = true, boolean = false; };
template <> struct tg_type<double> { static constexpr bool real = true, boolean = false; };
template <> struct tg_type<bool> { static constexpr bool real = false, boolean = true; };

TG_FN bool tg_isnan(T a) { return a != a; }
TG_FN bool tg_isinf(T a) { return a == a && !(a - a == a - a); }
TG_FN T tg_min(T a, T b) { return tg_isnan(a) || a < b ? a : b; }
TG_FN T tg_max(T a, T b) { return tg_isnan(a) || a > b ? a : b; }
#ifndef TG_EMULATE  // the same in one instruction
static __device__ __forceinline__ float tg_min(float a, float b) { float r; asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
static __device__ __forceinline__ float tg_max(float a, float b) { float r; asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
#endif
TG_FN T tg_clamp(T a, T low, T high) { return tg_min(tg_max(a, low), high); }
TG_FN T tg_abs(T a) {
  if constexpr (tg_type<T>::real) return fabs(a);
  else if constexpr (tg_type<T>::boolean) return a;
  else return a < T(0) ? -a : a;
}
TG_FN T tg_sign(T a) { return T((T(0) < a) - (a < T(0))); }
TG_FN T tg_ceil(T a) { if constexpr (tg_type<T>::real) return ceil(a); else return a; }
TG_FN T tg_floor(T a) { if constexpr (tg_type<T>::real) return floor(a); else return a; }
TG_FN T tg_trunc(T a) { if constexpr (tg_type<T>::real) return trunc(a); else return a; }
TG_FN T tg_round(T a) { if constexpr (tg_type<T>::real) return rint(a); else return a; }
TG_FN T tg_trunc_div(T a, T b) {
  if constexpr (tg_type<T>::real) return trunc(a / b);
  else if constexpr (tg_type<T>::boolean) return a && b;
  else return b == 0 ? T(0) : T(a / b);
}
TG_FN T tg_fmod(T a, T b) {
  if constexpr (tg_type<T>::real) return fmod(a, b);
  else if constexpr (tg_type<T>::boolean) return false;
  else return b == 0 || b == T(-1) ? T(0) : T(a % b);
}
TG_FN T tg_remainder(T a, T b) {
  T r = tg_fmod(a, b);
  if constexpr (!tg_type<T>::boolean)
    if (r != T(0) && (r < T(0)) != (b < T(0))) r += b;
  return r;
}
TG_FN T tg_floor_div(T a, T b) {
  if constexpr (tg_type<T>::real) {
    if (b == T(0)) return a / b;
    T r = fmod(a, b), q = (a - r) / b;
    if (r != T(0) && (b < T(0)) != (r < T(0))) q -= T(1);
    if (q == T(0)) return copysign(T(0), a / b);
    T whole = floor(q);
    return q - whole > T(0.5) ? whole + T(1) : whole;
  } else if constexpr (tg_type<T>::boolean) {
    return a && b;
  } else {
    T r = tg_fmod(a, b), q = tg_trunc_div(a, b);
    return r != T(0) && (r < T(0)) != (b < T(0)) ? q - T(1) : q;
  }
}
TG_FN T tg_pow(T a, T b) {
  if constexpr (tg_type<T>::real) return pow(a, b);
  else if constexpr (tg_type<T>::boolean) return a || !b;
  else {
    if (b < T(0)) return a == T(1) ? T(1) : a == T(-1) ? (b % 2 ? T(-1) : T(1)) : T(0);
    T result = 1;
    for (; b; b /= 2, a *= a)
      if (b & 1) result *= a;
    return result;
  }
}
TG_FN T tg_bitwise_not(T a) { if constexpr (tg_type<T>::boolean) return !a; else return ~a; }
TG_FN T tg_left_shift(T a, T b) {
  if constexpr (tg_type<T>::boolean) return a && !b;
  else return b < 0 || b >= T(8 * sizeof(T)) ? T(0) : T(static_cast<unsigned long long>(a) << b);
}
TG_FN T tg_right_shift(T a, T b) {
  if constexpr (tg_type<T>::boolean) return a && !b;
  else return a >> (b < 0 || b >= T(8 * sizeof(T)) ? T(8 * sizeof(T) - 1) : b);
}
static __device__ __forceinline__ float tg_rsqrt(float a) { return 1.0f / sqrtf(a); }
static __device__ __forceinline__ double tg_rsqrt(double a) { return 1.0 / sqrt(a); }
TG_FN T tg_sigmoid(T a) { return T(1) / (T(1) + exp(-a)); }
TG_FN T tg_softplus(T a) { return a > T(20) ? a : log1p(exp(a)); }
TG_FN T tg_gelu_erf(T a) { return T(0.5) * a * (T(1) + erf(a * T(0.70710678118654752440))); }
TG_FN T tg_gelu_tanh(T a) { return T(0.5) * a * (T(1) + tanh(T(0.79788456080286535588) * (a + T(0.044715) * a * a * a))); }
#ifdef TG_ROUGH  // for results that are rounded to 16 bits: within 1e-5, with one or two special-function instructions and no branches
#ifdef TG_EMULATE
static inline float tg_exp2_rough(float a) { return exp2f(a); }
static inline float tg_inverse_rough(float a) { return 1.0f / a; }
#else
static __device__ __forceinline__ float tg_exp2_rough(float a) { float r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
static __device__ __forceinline__ float tg_inverse_rough(float a) { float r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
#endif
static __device__ __forceinline__ float tg_sigmoid(float a) { return tg_inverse_rough(1.0f + tg_exp2_rough(-1.4426950408889634f * a)); }
static __device__ __forceinline__ float tg_gelu_tanh(float a) { return a * tg_sigmoid(1.5957691216057308f * (a + 0.044715f * a * a * a)); }
// max(a, 0) - |a| Phi(-|a|), where log2 Phi(-z) is a minimax polynomial on [0, 6.5]; the rest of the tail is below 3e-10.
static __device__ __forceinline__ float tg_gelu_erf(float a) {
  const float z = fminf(fabsf(a), 6.5f);
  float p = -1.7577917e-06f * z + 5.9937312e-05f;
  p = p * z - 9.1637322e-04f;
  p = p * z + 8.4474497e-03f;
  p = p * z - 5.3824704e-02f;
  p = p * z - 4.5861539e-01f;
  p = p * z - 1.1511804f;
  p = p * z - 1.0000038f;
  return (a < 0.0f ? 0.0f : a) - z * tg_exp2_rough(p);
}
#endif

TG_FN float tg_cast_f32(T a) { return static_cast<float>(a); }
TG_FN double tg_cast_f64(T a) { return static_cast<double>(a); }
TG_FN int tg_cast_i32(T a) { return static_cast<int>(a); }
TG_FN long long tg_cast_i64(T a) { return static_cast<long long>(a); }
TG_FN bool tg_cast_bool(T a) { return a != T(0); }
TG_FN int tg_cast_i8(T a) { return static_cast<signed char>(static_cast<long long>(a)); }
TG_FN int tg_cast_u8(T a) { return static_cast<unsigned char>(static_cast<long long>(a)); }
TG_FN int tg_cast_i16(T a) { return static_cast<short>(static_cast<long long>(a)); }
TG_FN int tg_cast_i4(T a) { return static_cast<int>(static_cast<unsigned>(static_cast<long long>(a)) << 28) >> 28; }
TG_FN float tg_cast_f16(T a) {
  float r;
  asm("{ .reg .b16 h; cvt.rn.f16.f32 h, %1; cvt.f32.f16 %0, h; }" : "=f"(r) : "f"(static_cast<float>(a)));
  return r;
}
TG_FN float tg_cast_bf16(T a) {
  float f = static_cast<float>(a);
  unsigned u = __float_as_uint(f);
  return f != f ? f : __uint_as_float((u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u);
}
// Rounds to nearest even to a format with the least normal exponent `low`, `mantissa` bits and largest value `top`.
static __device__ __forceinline__ float tg_round_f8(float a, int low, int mantissa, float top, float beyond) {
  if (a != a || a == 0.0f) return a;
  if (isinf(a)) return copysignf(beyond, a);
  int e = ilogbf(a);
  e = (e < low ? low : e) - mantissa;
  float r = ldexpf(rintf(ldexpf(a, -e)), e);
  return fabsf(r) > top ? copysignf(beyond, a) : r;
}
TG_FN float tg_cast_f8e4m3(T a) { return tg_round_f8(static_cast<float>(a), -6, 3, 448.0f, 448.0f); }
TG_FN float tg_cast_f8e5m2(T a) { return tg_round_f8(static_cast<float>(a), -14, 2, 57344.0f, __uint_as_float(0x7f800000u)); }

// One function per row of functions.def.
)";

const char* cuda_type(DType type) {
  switch (compute_type(type)) {
    case DType::F32:
      return "float";
    case DType::F64:
      return "double";
    case DType::I32:
      return "int";
    case DType::I64:
      return "long long";
    default:
      return "bool";
  }
}

std::string wrapper(const FnInfo& fn) {
  std::string text = std::string("TG_FN ") + (fn.result == std::string_view("bool") ? "bool" : "T") + " tg_fn_" + fn.name + "(";
  for (int k = 0; k < fn.arity; ++k) text += std::string(k ? ", " : "") + "T " + "abc"[k];
  return text + ") { return " + fn.cuda + "; }\n";
}

std::string make_prelude() {
  std::string text = kHelpers;
  for (int fn = 0; fn < static_cast<int>(Fn::constant); ++fn) text += wrapper(info(static_cast<Fn>(fn)));
  return text + "#undef TG_FN\n#endif\n";
}

template <class T>
std::string real_literal(T value) {
  bool single = sizeof(T) == 4;
  std::string bits = single ? "__uint_as_float(" : "__longlong_as_double(";
  if (std::isnan(value)) return bits + (single ? "0x7fc00000u)" : "0x7ff8000000000000ll)");
  if (std::isinf(value)) return std::string(value < 0 ? "(-" : "(") + bits + (single ? "0x7f800000u))" : "0x7ff0000000000000ll))");
  char buffer[40];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  if (single) text += "f";
  return text[0] == '-' ? "(" + text + ")" : text;
}

std::string literal(double value, DType type) {
  switch (compute_type(type)) {
    case DType::F32:
      return real_literal(static_cast<float>(value));
    case DType::F64:
      return real_literal(value);
    case DType::Bool:
      return value != 0 ? "true" : "false";
    default:
      break;
  }
  Program constant;
  constant.outputs = {static_cast<int16_t>(constant.constant(value, type))};
  evaluate(constant, nullptr, &value);  // into the range of the type
  bool wide = compute_type(type) == DType::I64;
  if (value >= 9223372036854775807.0) return "9223372036854775807ll";
  if (value <= -9223372036854775808.0) return "(-9223372036854775807ll - 1)";
  if (!wide && value == std::numeric_limits<int32_t>::min()) return "(-2147483647 - 1)";
  std::string text = std::to_string(static_cast<int64_t>(value)) + (wide ? "ll" : "");
  return text[0] == '-' ? "(" + text + ")" : text;
}

/// Prints one program; names are <prefix><value number>.
class Emitter {
 public:
  Emitter(const Program& program, const std::string& prefix, std::string& code) : program_(program), prefix_(prefix), code_(code) {}

  std::vector<std::string> run(const std::vector<std::string>& inputs) {
    std::vector<int> uses = input_uses(program_);
    for (size_t k = 0; k < program_.inputs.size(); ++k) names_.push_back(uses[k] ? bind(cuda_type(program_.inputs[k]), inputs[k]) : "");
    for (const Inst& inst : program_.body) {
      if (inst.fn == Fn::constant)
        names_.push_back(literal(inst.value, inst.type));
      else
        names_.push_back(bind(cuda_type(inst.type), inst.fn == Fn::cast ? cast(inst) : call(inst)));
    }
    std::vector<std::string> outputs;
    for (int output : program_.outputs) outputs.push_back(names_[static_cast<size_t>(output)]);
    return outputs;
  }

 private:
  std::string bind(const char* type, const std::string& expression) {
    std::string name = prefix_ + std::to_string(names_.size());
    code_ += std::string("const ") + type + " " + name + " = " + expression + ";\n";
    return name;
  }

  std::string cast(const Inst& inst) const {
    const char* from = cuda_type(program_.type_of(inst.args[0]));
    return "tg_cast_" + std::string(name(inst.type)) + "<" + from + ">(" + names_[static_cast<size_t>(inst.args[0])] + ")";
  }

  std::string call(const Inst& inst) const {
    bool predicate = info(inst.fn).result == std::string_view("bool");
    DType result = compute_type(inst.type), type = predicate ? compute_type(program_.type_of(inst.args[0])) : result;
    bool widened = is_real(inst.fn) && !is_float(type);  // integers through double
    std::string text = "tg_fn_" + std::string(info(inst.fn).name) + "<" + cuda_type(widened ? DType::F64 : type) + ">(";
    for (int k = 0; k < info(inst.fn).arity; ++k) text += (k ? ", " : "") + argument(inst, k, widened ? DType::F64 : type);
    text += ")";
    return widened && !predicate ? std::string("static_cast<") + cuda_type(result) + ">(" + text + ")" : text;
  }

  std::string argument(const Inst& inst, int k, DType wanted) const {
    int value = inst.args[static_cast<size_t>(k)];
    const std::string& text = names_[static_cast<size_t>(value)];
    DType has = compute_type(program_.type_of(value));
    if (inst.fn == Fn::where && k == 0) return has == DType::Bool ? text : "(" + text + " != 0)";
    return has == wanted ? text : std::string("static_cast<") + cuda_type(wanted) + ">(" + text + ")";
  }

  const Program& program_;
  const std::string& prefix_;
  std::string& code_;
  std::vector<std::string> names_;  // per value number
};

}  // namespace

std::vector<std::string> emit_cuda(const Program& program, const std::vector<std::string>& inputs, const std::string& prefix, std::string& code) {
  if (program.empty()) return inputs;
  INTERNAL_CHECK(inputs.size() >= program.inputs.size(), "program " << str(program) << " has more than " << inputs.size() << " inputs");
  return Emitter(program, prefix, code).run(inputs);
}

const char* cuda_prelude() {
  static const std::string text = make_prelude();
  return text.c_str();
}

}  // namespace tuyere
