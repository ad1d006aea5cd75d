// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/types.h"

#include <algorithm>

#include "common/error.h"
#include "kernels/codegen/kernel.h"

namespace tuyere::codegen {

std::string storage_ctype(DType type) {
  switch (type) {
    case DType::F32:
      return "float";
    case DType::F16:
      return "tg_half";
    case DType::BF16:
      return "tg_bf16";
    case DType::F64:
      return "double";
    case DType::I8:
      return "signed char";
    case DType::U8:
      return "unsigned char";
    case DType::I16:
      return "short";
    case DType::I32:
      return "int";
    case DType::I64:
      return "long long";
    case DType::Bool:
      return "bool";
    case DType::F8E4M3:
      return "tg_f8e4m3";
    case DType::F8E5M2:
      return "tg_f8e5m2";
    case DType::I4:
      break;
  }
  INTERNAL_CHECK(false, "no storage type for " << name(type));
  return "";
}

std::string compute_ctype(DType type) { return storage_ctype(compute_type(type)); }

std::string accumulator_ctype(DType type) {
  if (type == DType::F64) return "double";
  return is_float(type) ? "float" : "long long";
}

int size_of(DType type) {
  INTERNAL_CHECK(bits(type) % 8 == 0, "sub-byte type " << name(type));
  return bits(type) / 8;
}

Support whole_byte_types(const Problem& problem) {
  for (const auto* list : {&problem.in, &problem.out})
    for (const TensorDesc& t : *list) REQUIRE(bits(t.dtype) >= 8, "elements smaller than a byte");
  return Support::yes();
}

const char* rough_text(const Problem& problem) {
  const bool rough = std::all_of(problem.out.begin(), problem.out.end(), [](const TensorDesc& t) { return is_float(t.dtype) && bits(t.dtype) <= 16; });
  return rough ? "#define TG_ROUGH\n" : "";
}

const char* types_prelude() {
  return R"(
#define TGF static __device__ __forceinline__
#define TGF_U __device__ __forceinline__
struct tg_half { unsigned short x; };
struct tg_bf16 { unsigned short x; };
struct tg_f8e4m3 { unsigned char x; };
struct tg_f8e5m2 { unsigned char x; };
#ifndef TG_EMULATE
TGF float tg_value(tg_half h) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.x)); return f; }
TGF tg_half tg_to_half(float f) { tg_half h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.x) : "f"(f)); return h; }
TGF tg_bf16 tg_to_bf16(float f) { tg_bf16 h; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h.x) : "f"(f)); return h; }
// Lets the next kernel be scheduled, then waits for the kernels before: what follows may read and write.
TGF void tg_grid_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
#else  // given by the test's emulator
float tg_value(tg_half h);
tg_half tg_to_half(float f);
tg_bf16 tg_to_bf16(float f);
TGF void tg_grid_begin() {}
#endif
TGF float tg_value(tg_bf16 h) { return __uint_as_float((unsigned)h.x << 16); }
TGF float tg_f8_value(unsigned c, int m, int bias) {
  unsigned e = (c & 127u) >> m, f = c & ((1u << m) - 1u);
  float scale = __uint_as_float((unsigned)((e ? (int)e : 1) - bias - m + 127) << 23);
  float v = (float)(e ? f + (1u << m) : f) * scale;
  return (c & 128u) ? -v : v;
}
TGF float tg_value(tg_f8e4m3 h) { return (h.x & 127) == 127 ? __uint_as_float(0x7fffffffu) : tg_f8_value(h.x, 3, 7); }
TGF float tg_value(tg_f8e5m2 h) {
  unsigned c = h.x & 127u;
  if (c > 124u) return __uint_as_float(0x7fffffffu);
  if (c == 124u) return __uint_as_float((h.x & 128u) ? 0xff800000u : 0x7f800000u);
  return tg_f8_value(h.x, 2, 15);
}
TGF unsigned char tg_to_f8(float v, int m, int bias, unsigned largest, float limit) {
  unsigned b = __float_as_uint(v), s = (b >> 24) & 128u;
  float a = __uint_as_float(b & 0x7fffffffu);
  if (a != a) return (unsigned char)(s | 127u);
  if (a >= limit) return (unsigned char)(s | largest);
  int e = (int)((b >> 23) & 255u) - 127;
  if (e < 1 - bias) e = 1 - bias;
  float q = rintf(a * __uint_as_float((unsigned)(127 + m - e) << 23));
  return (unsigned char)(s | ((unsigned)((e + bias - 1) << m) + (unsigned)q));
}
template <class T> TGF T tg_value(T v) { return v; }
template <class To> struct tg_conv { template <class C> TGF To from(C v) { return (To)v; } };
template <class To> struct tg_conv_small {
  template <class C> TGF To from(C v) { return (To)(long long)v; }
};
template <> struct tg_conv<signed char> : tg_conv_small<signed char> {};
template <> struct tg_conv<unsigned char> : tg_conv_small<unsigned char> {};
template <> struct tg_conv<short> : tg_conv_small<short> {};
template <> struct tg_conv<bool> { template <class C> TGF bool from(C v) { return v != (C)0; } };
template <> struct tg_conv<tg_half> { template <class C> TGF tg_half from(C v) { return tg_to_half((float)v); } };
template <> struct tg_conv<tg_bf16> { template <class C> TGF tg_bf16 from(C v) { return tg_to_bf16((float)v); } };
template <> struct tg_conv<tg_f8e4m3> { template <class C> TGF tg_f8e4m3 from(C v) { tg_f8e4m3 h; h.x = tg_to_f8((float)v, 3, 7, 126u, 448.f); return h; } };
template <> struct tg_conv<tg_f8e5m2> { template <class C> TGF tg_f8e5m2 from(C v) { tg_f8e5m2 h; h.x = tg_to_f8((float)v, 2, 15, 123u, 57344.f); return h; } };
template <class To, class From> TGF To tg_cvt(From v) { return tg_conv<To>::from(tg_value(v)); }
template <class T> struct tg_same { typedef T type; };
template <class To, class From> struct tg_copy_ { TGF To go(From v) { return tg_cvt<To>(v); } };
template <class T> struct tg_copy_<T, T> { TGF T go(T v) { return v; } };
template <class To, class From> TGF To tg_copy(From v) { return tg_copy_<To, From>::go(v); }

template <int BYTES> struct tg_raw;
template <> struct tg_raw<1> { typedef unsigned char type; };
template <> struct tg_raw<2> { typedef unsigned short type; };
template <> struct tg_raw<4> { typedef unsigned int type; };
template <> struct tg_raw<8> { typedef uint2 type; };
template <> struct tg_raw<16> { typedef uint4 type; };
// V aligned consecutive elements, in accesses of at most 16 bytes.
template <int V, class S> TGF void tg_load(S (&out)[V], const S* p) {
  constexpr int B = (int)sizeof(S) * V < 16 ? (int)sizeof(S) * V : 16;
  constexpr int N = B / (int)sizeof(S);
  typedef typename tg_raw<B>::type R;
#pragma unroll
  for (int i = 0; i < V / N; ++i) {
    union U { R r; S s[N]; TGF_U U() {} } u;
    u.r = *(const R*)(p + i * N);
#pragma unroll
    for (int j = 0; j < N; ++j) out[i * N + j] = u.s[j];
  }
}
template <int V, class S> TGF void tg_store(S* p, const S (&in)[V]) {
  constexpr int B = (int)sizeof(S) * V < 16 ? (int)sizeof(S) * V : 16;
  constexpr int N = B / (int)sizeof(S);
  typedef typename tg_raw<B>::type R;
#pragma unroll
  for (int i = 0; i < V / N; ++i) {
    union U { R r; S s[N]; TGF_U U() {} } u;
#pragma unroll
    for (int j = 0; j < N; ++j) u.s[j] = in[i * N + j];
    *(R*)(p + i * N) = u.r;
  }
}
TGF int tg_quot(int a, int b) { return (int)((unsigned)a / (unsigned)b); }
TGF long long tg_quot(long long a, long long b) {
  if ((((unsigned long long)a | (unsigned long long)b) >> 32) == 0) return (long long)((unsigned)a / (unsigned)b);
  return (long long)((unsigned long long)a / (unsigned long long)b);
}
// Rounds towards minus infinity.
template <class I> TGF I tg_floordiv(I a, I b) { I q = a / b; return q - (a % b != 0 && ((a < 0) != (b < 0))); }
template <class I> TGF I tg_lesser(I a, I b) { return a < b ? a : b; }
template <class I> TGF I tg_greater(I a, I b) { return a < b ? b : a; }
)";
}

std::string pair_maximum(DType type, bool keeps_nan) {
  const bool half = type == DType::F16;
  return fill(R"(
#define tg_pair_least $least
#ifdef TG_EMULATE
TGF unsigned tg_pair_max(unsigned a, unsigned b) {
  unsigned r = 0;
  for (int i = 0; i < 32; i += 16) {
    $s x, y;
    x.x = (unsigned short)(a >> i);
    y.x = (unsigned short)(b >> i);
    r |= (unsigned)tg_cvt<$s>($max(tg_value(x), tg_value(y))).x << i;
  }
  return r;
}
#else
TGF unsigned tg_pair_max(unsigned a, unsigned b) { unsigned r; asm("max$nan.$type %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
#endif
)",
              {{"least", half ? "0xfc00fc00u" : "0xff80ff80u"},
               {"s", storage_ctype(type)},
               {"max", keeps_nan ? "tg_max" : "fmaxf"},
               {"nan", keeps_nan ? ".NaN" : ""},
               {"type", half ? "f16x2" : "bf16x2"}});
}

const char* warp_prelude() {
  return R"(
template <class A> union tg_words { A a; unsigned w[(sizeof(A) + 3) / 4]; TGF_U tg_words() {} };
// A value whose words went through `f`.
template <class A, class F> TGF A tg_by_words(const A& a, F f) {
  tg_words<A> u;
  u.a = a;
#pragma unroll
  for (int i = 0; i < (int)(sizeof(A) + 3) / 4; ++i) u.w[i] = f(u.w[i]);
  return u.a;
}
// The value of lane (lane ^ mask).
template <class A> TGF A tg_shfl_xor(const A& a, int mask) { return tg_by_words(a, [=](unsigned w) { return __shfl_xor_sync(0xffffffffu, w, mask); }); }
// The value of a lane.
template <class A> TGF A tg_shfl(const A& a, int lane) { return tg_by_words(a, [=](unsigned w) { return __shfl_sync(0xffffffffu, w, lane); }); }
// The value of lane - delta, own value for the lowest lanes.
template <class A> TGF A tg_shfl_up(const A& a, int delta) { return tg_by_words(a, [=](unsigned w) { return __shfl_up_sync(0xffffffffu, w, delta); }); }
// Merges the accumulators of each group of T consecutive threads (T a power of two up to 32, or a multiple of 32 that is the block's x size);
// every thread of the group gets the result. The order is fixed. `shared`: T / 32 accumulators, used when T > 32; the block is synchronized then.
template <int T, class A> TGF A tg_group_merge(A a, A* shared) {
#pragma unroll
  for (int m = (T < 32 ? T : 32) / 2; m > 0; m >>= 1) {
    const A other = tg_shfl_xor(a, m);
    const bool upper = threadIdx.x & m;
    A first = upper ? other : a;
    first.merge(upper ? a : other);
    a = first;
  }
  if (T > 32) {
    __syncthreads();
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = a;
    __syncthreads();
    a = shared[0];
#pragma unroll
    for (int i = 1; i < T / 32; ++i) a.merge(shared[i]);
  }
  return a;
}
)";
}

}  // namespace tuyere::codegen
