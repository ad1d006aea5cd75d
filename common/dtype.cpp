// SPDX-License-Identifier: Apache-2.0
#include "common/dtype.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace tuyere {
namespace {

struct TypeInfo {
  const char* name;
  const char* safetensors;
  int bits;
  DType compute;
  int mantissa;  // explicit mantissa bits of a float type, 0 for the others
  bool integer;
};

/// In the order of DType.
constexpr TypeInfo kTypes[] = {
    {"f32", "F32", 32, DType::F32, 23, false},  {"f16", "F16", 16, DType::F32, 10, false},      {"bf16", "BF16", 16, DType::F32, 7, false},
    {"f64", "F64", 64, DType::F64, 52, false},  {"i8", "I8", 8, DType::I32, 0, true},           {"u8", "U8", 8, DType::I32, 0, true},
    {"i16", "I16", 16, DType::I32, 0, true},    {"i32", "I32", 32, DType::I32, 0, true},        {"i64", "I64", 64, DType::I64, 0, true},
    {"bool", "BOOL", 8, DType::Bool, 0, false}, {"f8e4m3", "F8_E4M3", 8, DType::F32, 3, false}, {"f8e5m2", "F8_E5M2", 8, DType::F32, 2, false},
    {"i4", "I4", 4, DType::I32, 0, true},
};
constexpr int kTypeCount = static_cast<int>(std::size(kTypes));

const TypeInfo& info(DType type) { return kTypes[static_cast<int>(type)]; }

uint32_t float_bits(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  return u;
}

float float_of(uint32_t u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}

/// A small float format with IEEE-like subnormals.
struct Format {
  int exponent_bits, mantissa_bits;
  bool ieee;  // has infinities; otherwise (e4m3fn) only the all-ones pattern is NaN and overflow saturates
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  uint32_t sign_bit() const { return 1u << (exponent_bits + mantissa_bits); }
  uint32_t infinity() const { return ((1u << exponent_bits) - 1) << mantissa_bits; }
  uint32_t largest() const { return ieee ? infinity() - 1 : sign_bit() - 2; }
  uint32_t nan() const { return ieee ? infinity() | (1u << (mantissa_bits - 1)) : sign_bit() - 1; }
};
constexpr Format kF16{5, 10, true}, kE5M2{5, 2, true}, kE4M3{4, 3, false};

/// Rounds a float to the format: to nearest even, by integer arithmetic on the bit pattern.
uint32_t encode(const Format& f, float value) {
  uint32_t u = float_bits(value), sign = (u >> 31) ? f.sign_bit() : 0;
  u &= 0x7fffffffu;
  if (u > 0x7f800000u) return sign | f.nan();
  uint32_t overflow = f.ieee ? f.infinity() : f.largest();
  if (u == 0x7f800000u) return sign | overflow;
  int shift = 23 - f.mantissa_bits, exponent = static_cast<int>(u >> 23) - 127 + f.bias();
  uint32_t mantissa = (u & 0x7fffffu) | (u >> 23 ? 0x800000u : 0);
  if (exponent <= 0) {
    shift += 1 - exponent;
    if (shift > 25) return sign;  // below half of the smallest subnormal
    exponent = 1;
  }
  uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
  kept += rest > half || (rest == half && (kept & 1));
  uint32_t result = kept + (static_cast<uint32_t>(exponent - 1) << f.mantissa_bits);  // a carry moves into the exponent
  return sign | (result > f.largest() ? overflow : result);
}

float decode(const Format& f, uint32_t v) {
  float sign = (v & f.sign_bit()) ? -1.f : 1.f;
  v &= f.sign_bit() - 1;
  if (f.ieee && v >= f.infinity()) return v == f.infinity() ? sign * std::numeric_limits<float>::infinity() : float_of(sign < 0 ? 0xffc00000u : 0x7fc00000u);
  if (!f.ieee && v == f.nan()) return float_of(sign < 0 ? 0xffc00000u : 0x7fc00000u);
  uint32_t exponent = v >> f.mantissa_bits, mantissa = v & ((1u << f.mantissa_bits) - 1);
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), 1 - f.bias() - f.mantissa_bits);
  return sign * float_of(((exponent + 127 - static_cast<uint32_t>(f.bias())) << 23) | (mantissa << (23 - f.mantissa_bits)));
}

/// `value` rounded to odd to float: rounding the result again to a shorter format equals rounding once.
float to_float_odd(double value) {
  float f = static_cast<float>(value);
  if (std::isnan(value) || std::isinf(f) || static_cast<double>(f) == value) return f;
  if (std::fabs(static_cast<double>(f)) > std::fabs(value)) f = std::nextafter(f, 0.f);
  return float_of(float_bits(f) | 1);
}

int64_t to_int64(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 9223372036854775808.0) return std::numeric_limits<int64_t>::max();
  if (value < -9223372036854775808.0) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(value);
}

template <class T>
T read(const void* data, int64_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <class T>
void write(void* data, int64_t i, T value) {
  std::memcpy(static_cast<char*>(data) + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

int read_i4(const void* data, int64_t i) {
  int nibble = (read<uint8_t>(data, i / 2) >> (i % 2 * 4)) & 15;
  return nibble >= 8 ? nibble - 16 : nibble;
}

void write_i4(void* data, int64_t i, int64_t value) {
  int shift = static_cast<int>(i % 2 * 4), old = read<uint8_t>(data, i / 2);
  write<uint8_t>(data, i / 2, static_cast<uint8_t>((old & ~(15 << shift)) | static_cast<int>(value & 15) << shift));
}

}  // namespace

int bits(DType type) { return info(type).bits; }
int64_t bytes_of(DType type, int64_t count) { return bits(type) >= 8 ? count * (bits(type) / 8) : (count * bits(type) + 7) / 8; }
std::string_view name(DType type) { return info(type).name; }
std::string_view safetensors_name(DType type) { return info(type).safetensors; }
bool is_float(DType type) { return info(type).mantissa > 0; }
bool is_int(DType type) { return info(type).integer; }
DType compute_type(DType type) { return info(type).compute; }
double epsilon(DType type) { return is_float(type) ? std::ldexp(1.0, -info(type).mantissa) : 0; }

std::optional<DType> parse_dtype(std::string_view text) {
  for (int i = 0; i < kTypeCount; ++i)
    if (text == kTypes[i].name) return static_cast<DType>(i);
  return std::nullopt;
}

std::optional<DType> parse_safetensors_dtype(std::string_view text) {
  for (int i = 0; i < kTypeCount; ++i)
    if (text == kTypes[i].safetensors) return static_cast<DType>(i);
  return std::nullopt;
}

float f16_to_f32(uint16_t v) { return decode(kF16, v); }
uint16_t f32_to_f16(float value) { return static_cast<uint16_t>(encode(kF16, value)); }
float f8e4m3_to_f32(uint8_t v) { return decode(kE4M3, v); }
uint8_t f32_to_f8e4m3(float value) { return static_cast<uint8_t>(encode(kE4M3, value)); }
float f8e5m2_to_f32(uint8_t v) { return decode(kE5M2, v); }
uint8_t f32_to_f8e5m2(float value) { return static_cast<uint8_t>(encode(kE5M2, value)); }

uint16_t f32_to_bf16(float value) {
  uint32_t u = float_bits(value);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40);  // stays a NaN
  return static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

double load_as_double(DType type, const void* data, int64_t i) {
  switch (type) {
    case DType::F32:
      return read<float>(data, i);
    case DType::F16:
      return f16_to_f32(read<uint16_t>(data, i));
    case DType::BF16:
      return bf16_to_f32(read<uint16_t>(data, i));
    case DType::F64:
      return read<double>(data, i);
    case DType::I8:
      return read<int8_t>(data, i);
    case DType::U8:
      return read<uint8_t>(data, i);
    case DType::I16:
      return read<int16_t>(data, i);
    case DType::I32:
      return read<int32_t>(data, i);
    case DType::I64:
      return static_cast<double>(read<int64_t>(data, i));
    case DType::Bool:
      return read<uint8_t>(data, i) != 0;
    case DType::F8E4M3:
      return f8e4m3_to_f32(read<uint8_t>(data, i));
    case DType::F8E5M2:
      return f8e5m2_to_f32(read<uint8_t>(data, i));
    case DType::I4:
      return read_i4(data, i);
  }
  return 0;
}

void store_from_double(DType type, void* data, int64_t i, double value) {
  switch (type) {
    case DType::F32:
      return write(data, i, static_cast<float>(value));
    case DType::F16:
      return write(data, i, f32_to_f16(to_float_odd(value)));
    case DType::BF16:
      return write(data, i, f32_to_bf16(to_float_odd(value)));
    case DType::F64:
      return write(data, i, value);
    case DType::I8:
      return write(data, i, static_cast<int8_t>(to_int64(value)));
    case DType::U8:
      return write(data, i, static_cast<uint8_t>(to_int64(value)));
    case DType::I16:
      return write(data, i, static_cast<int16_t>(to_int64(value)));
    case DType::I32:
      return write(data, i, static_cast<int32_t>(to_int64(value)));
    case DType::I64:
      return write(data, i, to_int64(value));
    case DType::Bool:
      return write<uint8_t>(data, i, value != 0);
    case DType::F8E4M3:
      return write(data, i, f32_to_f8e4m3(to_float_odd(value)));
    case DType::F8E5M2:
      return write(data, i, f32_to_f8e5m2(to_float_odd(value)));
    case DType::I4:
      return write_i4(data, i, to_int64(value));
  }
}

}  // namespace tuyere
