// SPDX-License-Identifier: Apache-2.0
// Compiles generated CUDA source on the host: a block's threads are fibers, barriers and warp instructions are exchanges between them.
// Included before the source of a kernel (tests/emulator/emulator.h); TG_EMULATE leaves out what needs inline assembly.
// Stricter than a GPU: shared memory starts as NaN, cp.async copies happen at the wait, addresses are checked for alignment and bounds.
#pragma once
#define TG_EMULATE 1
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__

struct uint3_ {
  unsigned x, y, z;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emu {

[[noreturn]] inline void fail(const char* what) {
  fprintf(stderr, "emulator: %s\n", what);
  abort();
}

struct Copy {
  unsigned dst;
  const void* src;
  int bytes, valid;
};
struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  uint3_ tid{};
  int warp = 0, lane = 0, member = 0;  // of the cluster's blocks
  bool done = false;
  unsigned exchanges = 0, cluster_generation = 0;
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open;
};
struct Barrier {
  int arrived = 0;
  unsigned generation = 0;
};
struct Warp {
  Barrier barrier;
  int alive = 0;
  alignas(16) unsigned char slot[2][32][64];
};

inline ucontext_t scheduler;
inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
struct Block {
  uint3_ id{};
  Barrier barrier;
  int alive = 0;
  unsigned char* shared = nullptr;
};
inline std::vector<Block> blocks;  // of one cluster
inline Barrier cluster_barrier;
inline int alive = 0;  // threads of the cluster
inline Fiber* self = nullptr;
inline uint3_ block_id, grid_size, block_size;
inline std::vector<unsigned char> memory;
inline unsigned char* shared_base = nullptr;
inline size_t shared_size = 0;
inline std::function<void()> body;

inline void yield() {
  Fiber* f = self;
  swapcontext(&f->context, &scheduler);
}
inline void wait(Barrier& b, const int& expected) {
  unsigned generation = b.generation;
  ++b.arrived;
  if (b.arrived >= expected) {
    b.arrived = 0;
    ++b.generation;
    return;
  }
  while (b.generation == generation) {
    if (b.arrived >= expected) {
      b.arrived = 0;
      ++b.generation;
      return;
    }
    yield();
  }
}
inline void sync_warp() { wait(warps[self->warp].barrier, warps[self->warp].alive); }

// Publishes `mine` and returns all lanes' values.
template <class T>
const T* exchange_begin(const T& mine) {
  static_assert(sizeof(T) <= 64);
  Warp& w = warps[self->warp];
  unsigned char(*slot)[64] = w.slot[self->exchanges++ & 1];
  memcpy(slot[self->lane], &mine, sizeof(T));
  sync_warp();
  return reinterpret_cast<const T*>(slot);
}
template <class T>
T lane_value(const T* base, int lane) {
  T v;
  memcpy(&v, reinterpret_cast<const unsigned char*>(base) + lane * 64, sizeof(T));
  return v;
}

inline unsigned char* shared_at(unsigned address, int bytes) {
  if (address % bytes || address + bytes > shared_size) fail("shared address out of bounds or unaligned");
  return shared_base + address;
}

inline void entry() {
  body();
  self->done = true;
  --alive;
  --blocks[self->member].alive;
  --warps[self->warp].alive;
  Fiber* f = self;
  swapcontext(&f->context, &scheduler);
}

/// The blocks of a cluster at a time. Only dynamic shared memory is their own.
inline void run_blocks(int threads) {
  const int count = int(blocks.size()), warps_each = (threads + 31) / 32;
  fibers.resize(threads * count);
  warps.assign(warps_each * count, {});
  alive = threads * count;
  cluster_barrier = {};
  for (int i = 0; i < threads * count; ++i) {
    Fiber& f = fibers[i];
    const int t = i % threads;
    if (f.stack.empty()) f.stack.resize(96 * 1024);
    f.member = i / threads;
    f.tid = {t % block_size.x, t / block_size.x % block_size.y, t / block_size.x / block_size.y};
    f.warp = f.member * warps_each + t / 32, f.lane = t % 32, f.done = false, f.exchanges = 0;
    f.groups.clear(), f.open.clear();
    ++warps[f.warp].alive;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = f.stack.size();
    f.context.uc_link = &scheduler;
    makecontext(&f.context, entry, 0);
  }
  for (Block& b : blocks) {
    b.barrier = {};
    b.alive = threads;
    for (size_t i = 0; i < shared_size; ++i) b.shared[i] = 0xff;
  }
  while (alive > 0)
    for (Fiber& f : fibers)
      if (!f.done) {
        self = &f;
        block_id = blocks[f.member].id;
        shared_base = blocks[f.member].shared;
        swapcontext(&scheduler, &f.context);
      }
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<A>*>(args[I])...);
}
template <class... A>
void launch(void (*kernel)(A...), void** args, const int* grid, const int* block, int shared, int cluster) {
  const size_t each = (shared + 511) / 256 * 256;
  memory.assign(each * cluster + 256, 0xff);
  unsigned char* const base = memory.data() + (256 - reinterpret_cast<uintptr_t>(memory.data()) % 256) % 256;
  shared_size = shared;
  grid_size = {unsigned(grid[0]), unsigned(grid[1]), unsigned(grid[2])};
  block_size = {unsigned(block[0]), unsigned(block[1]), unsigned(block[2])};
  body = [=] { call(kernel, args, std::index_sequence_for<A...>{}); };
  if (grid[0] % cluster) fail("a grid that is not whole clusters");
  blocks.assign(cluster, {});
  for (int z = 0; z < grid[2]; ++z)
    for (int y = 0; y < grid[1]; ++y)
      for (int x = 0; x < grid[0]; x += cluster) {
        for (int m = 0; m < cluster; ++m) blocks[m].id = {unsigned(x + m), unsigned(y), unsigned(z)}, blocks[m].shared = base + each * m;
        run_blocks(block[0] * block[1] * block[2]);
      }
}

inline float f16_value(unsigned h) {
  _Float16 v;
  unsigned short bits = (unsigned short)h;
  memcpy(&v, &bits, 2);
  return (float)v;
}
inline unsigned short f16_bits(float f) {
  _Float16 v = (_Float16)f;
  unsigned short bits;
  memcpy(&bits, &v, 2);
  return bits;
}
inline unsigned short bf16_bits(float f) {
  unsigned u;
  memcpy(&u, &f, 4);
  if (f != f) return 0x7fff;
  return (unsigned short)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
inline float bf16_value(unsigned h) {
  unsigned u = h << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}

}  // namespace emu

#define threadIdx (emu::self->tid)
#define blockIdx (emu::block_id)
#define blockDim (emu::block_size)
#define gridDim (emu::grid_size)

inline void __syncthreads() {
  emu::Block& b = emu::blocks[emu::self->member];
  emu::wait(b.barrier, b.alive);
}
inline void __syncwarp(unsigned = ~0u) { emu::sync_warp(); }
inline void __threadfence() {}
inline float __uint_as_float(unsigned u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
inline unsigned __float_as_uint(float f) {
  unsigned u;
  memcpy(&u, &f, 4);
  return u;
}
inline float __int_as_float(int u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
inline int __float_as_int(float f) {
  int u;
  memcpy(&u, &f, 4);
  return u;
}
inline long long __double_as_longlong(double d) {
  long long u;
  memcpy(&u, &d, 8);
  return u;
}
inline double __longlong_as_double(long long u) {
  double d;
  memcpy(&d, &u, 8);
  return d;
}
inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.f / a; }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
using std::max;
using std::min;

template <class T>
T __shfl_sync(unsigned, T v, int lane, int width = 32) {
  const T* all = emu::exchange_begin(v);
  return emu::lane_value(all, (emu::self->lane & ~(width - 1)) | (lane & (width - 1)));
}
template <class T>
T __shfl_xor_sync(unsigned, T v, int mask, int = 32) {
  const T* all = emu::exchange_begin(v);
  return emu::lane_value(all, emu::self->lane ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T v, unsigned delta, int width = 32) {
  const T* all = emu::exchange_begin(v);
  int in = emu::self->lane & (width - 1);
  return emu::lane_value(all, in >= (int)delta ? emu::self->lane - (int)delta : emu::self->lane);
}
template <class T>
T __shfl_down_sync(unsigned, T v, unsigned delta, int width = 32) {
  const T* all = emu::exchange_begin(v);
  int in = emu::self->lane & (width - 1);
  return emu::lane_value(all, in + (int)delta < width ? emu::self->lane + (int)delta : emu::self->lane);
}
inline unsigned __ballot_sync(unsigned, bool p) {
  const int* all = emu::exchange_begin(int(p));
  unsigned r = 0;
  for (int l = 0; l < 32; ++l) r |= unsigned(emu::lane_value(all, l) != 0) << l;
  return r;
}
inline bool __any_sync(unsigned m, bool p) { return __ballot_sync(m, p) != 0; }
inline bool __all_sync(unsigned m, bool p) { return __ballot_sync(m, p) == 0xffffffffu; }

// The functions of kernels/codegen's prelude that are inline assembly on a GPU.
struct tg_half;
struct tg_bf16;
float tg_value(tg_half h);
tg_half tg_to_half(float f);
tg_bf16 tg_to_bf16(float f);

// The functions of clusters in kernels/codegen/panel_gen.cpp.
inline int tgc_rank() { return emu::self->member; }
inline void tgc_arrive() {
  emu::Barrier& b = emu::cluster_barrier;
  emu::self->cluster_generation = b.generation;
  if (++b.arrived >= emu::alive) b.arrived = 0, ++b.generation;
}
inline void tgc_wait() {
  while (emu::cluster_barrier.generation == emu::self->cluster_generation) emu::yield();
}
inline unsigned tgc_word(const unsigned* mine, int rank) {
  const unsigned char* at = reinterpret_cast<const unsigned char*>(mine) - emu::shared_base + emu::blocks[rank].shared;
  unsigned word;
  memcpy(&word, at, 4);
  return word;
}

// The functions of kernels/mma's primitives.
inline unsigned tgm_smem(const void* p) { return unsigned(static_cast<const unsigned char*>(p) - emu::shared_base); }
template <int BYTES>
void tgm_cp_async(unsigned dst, const void* src, int valid) {
  if (valid > 0 && reinterpret_cast<uintptr_t>(src) % BYTES) emu::fail("cp.async source unaligned");
  if (valid < 0 || valid > BYTES) emu::fail("cp.async size");
  emu::shared_at(dst, BYTES);
  emu::self->open.push_back({dst, src, BYTES, valid});
}
inline void tgm_cp_commit() {
  emu::self->groups.push_back(std::move(emu::self->open));
  emu::self->open.clear();
}
/// What tests put around tensors, and into gaps of strided ones.
inline bool emu_is_guard(const unsigned char* at, int bytes) {
  return std::all_of(at, at + bytes, [](unsigned char byte) { return byte == 0xff; });
}
template <int N>
void tgm_cp_wait() {
  auto& groups = emu::self->groups;
  while ((int)groups.size() > N) {
    for (const emu::Copy& c : groups.front()) {
      unsigned char* to = emu::shared_at(c.dst, c.bytes);
      memset(to, 0, c.bytes);
      if (c.valid) memcpy(to, c.src, c.valid);
      if (c.valid >= 4 && emu_is_guard(to, c.valid)) emu::fail("cp.async reads outside of a tensor");
    }
    groups.erase(groups.begin());
  }
}
inline void emu_ldsm(unsigned* r, unsigned addr, bool trans) {
  const unsigned* all = emu::exchange_begin(addr);
  int l = emu::self->lane;
  for (int j = 0; j < 4; ++j) {
    unsigned short e[2];
    for (int h = 0; h < 2; ++h) {
      int row = trans ? 2 * (l % 4) + h : l / 4, col = trans ? l / 4 : 2 * (l % 4) + h;
      memcpy(&e[h], emu::shared_at(emu::lane_value(all, j * 8 + row), 16) + col * 2, 2);
    }
    r[j] = e[0] | unsigned(e[1]) << 16;
  }
}
inline void tgm_ldsm(unsigned* r, unsigned addr) { emu_ldsm(r, addr, false); }
inline void tgm_ldsm_t(unsigned* r, unsigned addr) { emu_ldsm(r, addr, true); }
inline void tgm_stsm(unsigned addr, const unsigned* r) {
  struct Words {
    unsigned w[4];
  };
  const Words* all = emu::exchange_begin(Words{{r[0], r[1], r[2], r[3]}});
  const int matrix = emu::self->lane / 8, row = emu::self->lane % 8;
  for (int pair = 0; pair < 4; ++pair) {
    const Words words = emu::lane_value(all, row * 4 + pair);
    memcpy(emu::shared_at(addr, 16) + pair * 4, &words.w[matrix], 4);
  }
}
struct emu_fragments {
  unsigned a[4], b[2];
};
template <class GET>
void emu_mma16(float* d, const unsigned* a, const unsigned* b, GET get) {
  emu_fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const emu_fragments* all = emu::exchange_begin(mine);
  int l = emu::self->lane;
  for (int q = 0; q < 4; ++q) {
    int row = l / 4 + (q / 2) * 8, col = (l % 4) * 2 + q % 2;
    float sum = d[q];
    for (int k = 0; k < 16; ++k) {
      unsigned ra = emu::lane_value(all, (row % 8) * 4 + (k % 8) / 2).a[(row / 8) + (k / 8) * 2];
      unsigned rb = emu::lane_value(all, col * 4 + (k % 8) / 2).b[k / 8];
      sum += get(k % 2 ? ra >> 16 : ra & 0xffff) * get(k % 2 ? rb >> 16 : rb & 0xffff);
    }
    d[q] = sum;
  }
}
inline void tgm_mma_f16(float* d, const unsigned* a, const unsigned* b) { emu_mma16(d, a, b, emu::f16_value); }
inline void tgm_mma_bf16(float* d, const unsigned* a, const unsigned* b) { emu_mma16(d, a, b, emu::bf16_value); }
inline void tgm_mma_tf32(float* d, const unsigned* a, const unsigned* b) {
  emu_fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const emu_fragments* all = emu::exchange_begin(mine);
  int l = emu::self->lane;
  for (int q = 0; q < 4; ++q) {
    int row = l / 4 + (q / 2) * 8, col = (l % 4) * 2 + q % 2;
    for (int k = 0; k < 8; ++k) {
      unsigned ra = emu::lane_value(all, (row % 8) * 4 + k % 4).a[(row / 8) + (k / 4) * 2], rb = emu::lane_value(all, col * 4 + k % 4).b[k / 4];
      d[q] += __uint_as_float(ra & ~0x1fffu) * __uint_as_float(rb & ~0x1fffu);
    }
  }
}
inline unsigned tgm_to_tf32(unsigned v) { return (v + 0x1000u) & ~0x1fffu; }
inline unsigned tgm_lds32(unsigned a) {
  unsigned v;
  memcpy(&v, emu::shared_at(a, 4), 4);
  return v;
}
inline float4 tgm_lds128(unsigned a) {
  float4 v;
  memcpy(&v, emu::shared_at(a, 16), 16);
  return v;
}
inline void tgm_sts16(unsigned a, unsigned short v) { memcpy(emu::shared_at(a, 2), &v, 2); }
inline void tgm_sts32(unsigned a, unsigned v) { memcpy(emu::shared_at(a, 4), &v, 4); }
inline unsigned tgm_pack_f16(float lo, float hi) { return emu::f16_bits(lo) | unsigned(emu::f16_bits(hi)) << 16; }
inline unsigned tgm_pack_bf16(float lo, float hi) { return emu::bf16_bits(lo) | unsigned(emu::bf16_bits(hi)) << 16; }
inline float tgm_exp2(float x) { return exp2f(x); }
inline void tgm_grid_wait() {}
inline void tgm_grid_launch_next() {}

#include "tests/emulator/hopper.h"
