// SPDX-License-Identifier: Apache-2.0
// Element types, their sizes and the conversions between storage and arithmetic types.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace tuyere {

enum class DType : uint8_t { F32, F16, BF16, F64, I8, U8, I16, I32, I64, Bool, F8E4M3, F8E5M2, I4 };

/// Size in bits, so that sub-byte types have one.
int bits(DType type);
/// Bytes of `count` packed elements, rounded up.
int64_t bytes_of(DType type, int64_t count);
/// "f32", "f16", "bf16", "f64", "i8", "u8", "i16", "i32", "i64", "bool", "f8e4m3", "f8e5m2", "i4".
std::string_view name(DType type);
std::optional<DType> parse_dtype(std::string_view text);
/// The spelling of the safetensors format ("F32", "BF16", "BOOL", ...).
std::string_view safetensors_name(DType type);
std::optional<DType> parse_safetensors_dtype(std::string_view text);
bool is_float(DType type);
bool is_int(DType type);  // signed and unsigned integers, not bool
/// The type arithmetic on `type` is done in: f32 for the short floats, i32 for the short ints, otherwise itself.
DType compute_type(DType type);
/// Unit round-off spacing of a float type: 2^-23 for f32, 2^-10 for f16, ...
double epsilon(DType type);

float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);  // round to nearest even
inline float bf16_to_f32(uint16_t v) {
  uint32_t u = static_cast<uint32_t>(v) << 16;
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}
uint16_t f32_to_bf16(float value);  // round to nearest even
float f8e4m3_to_f32(uint8_t bits);
uint8_t f32_to_f8e4m3(float value);  // saturating, round to nearest even
float f8e5m2_to_f32(uint8_t bits);
uint8_t f32_to_f8e5m2(float value);

/// Reads element `i` of packed storage as double (exact for every type but large i64).
double load_as_double(DType type, const void* data, int64_t i);
/// Writes `value`, rounded to nearest even for floats and truncated for ints, to element `i`.
void store_from_double(DType type, void* data, int64_t i, double value);

}  // namespace tuyere
