// SPDX-License-Identifier: Apache-2.0
#include "common/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace tuyere {
namespace {

/// The nearest value of a format with `mantissa` bits and smallest normal exponent `emin`, in double arithmetic.
double nearest(double v, int mantissa, int emin) {
  if (v == 0 || !std::isfinite(v)) return v;
  int e;
  std::frexp(v, &e);
  double quantum = std::ldexp(1.0, std::max(e - 1, emin) - mantissa);
  return std::nearbyint(v / quantum) * quantum;
}

TEST(DType, Names) {
  for (int i = 0; i <= static_cast<int>(DType::I4); ++i) {
    DType type = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(name(type)), type);
    EXPECT_EQ(parse_safetensors_dtype(safetensors_name(type)), type);
  }
  EXPECT_FALSE(parse_dtype("float"));
  EXPECT_EQ(bytes_of(DType::I4, 3), 2);
  EXPECT_EQ(bytes_of(DType::I64, 3), 24);
  EXPECT_EQ(compute_type(DType::BF16), DType::F32);
  EXPECT_EQ(compute_type(DType::U8), DType::I32);
  EXPECT_EQ(epsilon(DType::F16), std::ldexp(1.0, -10));
}

TEST(DType, EveryHalfPatternRoundTrips) {
  for (uint32_t v = 0; v < 65536; ++v) {
    uint16_t bits = static_cast<uint16_t>(v);
    float h = f16_to_f32(bits), b = bf16_to_f32(bits);
    ASSERT_TRUE(std::isnan(h) ? std::isnan(f16_to_f32(f32_to_f16(h))) : f32_to_f16(h) == bits);
    ASSERT_TRUE(std::isnan(b) ? std::isnan(bf16_to_f32(f32_to_bf16(b))) : f32_to_bf16(b) == bits);
    if ((v & 0x7fff) < 0x7bff) {  // between neighbours: the nearer one, ties to even
      float next = f16_to_f32(static_cast<uint16_t>(bits + 1)), middle = h / 2 + next / 2;
      ASSERT_EQ(f32_to_f16(middle), (bits & 1) ? bits + 1 : bits);
      ASSERT_EQ(f32_to_f16(std::nextafter(middle, h)), bits);
      ASSERT_EQ(f32_to_f16(std::nextafter(middle, next)), bits + 1);
    }
  }
}

TEST(DType, EveryF8PatternRoundTrips) {
  for (int v = 0; v < 256; ++v) {
    uint8_t bits = static_cast<uint8_t>(v);
    for (auto [down, up] : {std::pair{&f32_to_f8e4m3, &f8e4m3_to_f32}, std::pair{&f32_to_f8e5m2, &f8e5m2_to_f32}}) {
      float f = up(bits);
      if (std::isfinite(f)) {
        EXPECT_EQ(down(f), bits);
      }
      EXPECT_EQ(std::isnan(up(down(f))), std::isnan(f));
    }
  }
  EXPECT_EQ(f8e4m3_to_f32(f32_to_f8e4m3(1e9f)), 448.f);
  EXPECT_EQ(f8e4m3_to_f32(f32_to_f8e4m3(-INFINITY)), -448.f);
  EXPECT_EQ(f8e4m3_to_f32(f32_to_f8e4m3(464.f)), 448.f);
}

TEST(DType, RandomFloatsRoundToNearest) {
  std::mt19937 rng(3);
  for (int i = 0; i < 20000; ++i) {
    double v = std::ldexp(static_cast<double>(rng()) / 4294967296.0 - 0.5, static_cast<int>(rng() % 40) - 28);
    float f = static_cast<float>(v);
    uint64_t cell = 0;
    if (std::fabs(v) < 60000) {
      store_from_double(DType::F16, &cell, 0, v);
      ASSERT_EQ(load_as_double(DType::F16, &cell, 0), nearest(v, 10, -14));
      ASSERT_EQ(f16_to_f32(f32_to_f16(f)), nearest(f, 10, -14));
    }
    store_from_double(DType::BF16, &cell, 0, v);
    ASSERT_EQ(load_as_double(DType::BF16, &cell, 0), nearest(v, 7, -126));
    ASSERT_EQ(bf16_to_f32(f32_to_bf16(f)), nearest(f, 7, -126));
    if (std::fabs(v) < 448) {
      ASSERT_EQ(f8e4m3_to_f32(f32_to_f8e4m3(f)), nearest(f, 3, -6));
      ASSERT_EQ(f8e5m2_to_f32(f32_to_f8e5m2(f)), nearest(f, 2, -14));
    }
  }
  EXPECT_TRUE(std::isinf(f16_to_f32(f32_to_f16(65520.f))));
  EXPECT_EQ(f16_to_f32(f32_to_f16(65519.f)), 65504.f);
}

TEST(DType, Storage) {
  uint64_t cell[2] = {0, 0};
  store_from_double(DType::U8, cell, 3, 300);
  EXPECT_EQ(load_as_double(DType::U8, cell, 3), 44);
  store_from_double(DType::I8, cell, 1, -1.9);
  EXPECT_EQ(load_as_double(DType::I8, cell, 1), -1);
  for (int i = 0; i < 16; ++i) store_from_double(DType::I4, cell, i, i - 8);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(load_as_double(DType::I4, cell, i), i - 8);
  store_from_double(DType::Bool, cell, 0, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(load_as_double(DType::Bool, cell, 0), 1);
  store_from_double(DType::I64, cell, 0, 1e300);
  EXPECT_EQ(reinterpret_cast<int64_t*>(cell)[0], INT64_MAX);
}

}  // namespace
}  // namespace tuyere
