// SPDX-License-Identifier: Apache-2.0
// The functions of kernels/mma's Hopper primitives. Copies and products happen at once; waits let the other threads run.
// Part of tests/emulator/device.h, which comes before it.
#pragma once

struct alignas(64) tgh_map {
  void* base;
  int64_t dims[3], strides[3];
  int box[3];
};
struct emu_arrivals {  // in shared memory, as a barrier of eight bytes
  unsigned short expected, missing, phase, started;
};
inline int tgh_rank() { return emu::self->member; }
/// Runs `f` as a thread of block `rank` of the cluster would.
template <class F>
void emu_as_block(int rank, F f) {
  const int own = tgh_rank();
  emu::self->member = rank, emu::shared_base = emu::blocks[rank].shared;
  f();
  emu::self->member = own, emu::shared_base = emu::blocks[own].shared;
}
inline std::vector<int> emu_still_to_come;  // bytes, by block and address / 8
inline int& emu_bytes(unsigned bar) {
  const size_t words = emu::shared_size / 8 + 1;
  emu_still_to_come.resize(words * emu::blocks.size());
  return emu_still_to_come[tgh_rank() * words + bar / 8];
}
inline emu_arrivals* emu_at(unsigned bar) { return reinterpret_cast<emu_arrivals*>(emu::shared_at(bar, 8)); }
inline void emu_settle(unsigned bar) {
  emu_arrivals* b = emu_at(bar);
  if (b->missing == 0 && emu_bytes(bar) == 0) b->missing = b->expected, b->phase ^= 1;
}
inline void tgh_barrier_init(unsigned bar, int count) {
  *emu_at(bar) = {(unsigned short)count, (unsigned short)count, 0, 1};
  emu_bytes(bar) = 0;
}
inline void tgh_barriers_visible() {}
inline void emu_arrive(unsigned bar) {
  emu_arrivals* b = emu_at(bar);
  if (b->missing == 0) emu::fail("one arrival too many at a barrier");  // what a GPU answers with a launch failure
  --b->missing;
  emu_settle(bar);
}
inline void tgh_arrive(unsigned bar, int rank) {
  emu_as_block(rank, [&] { emu_arrive(bar); });
}
inline void tgh_expect(unsigned bar, int bytes) {
  emu_bytes(bar) += bytes;
  emu_arrive(bar);
}
inline void tgh_wait(unsigned bar, unsigned parity) {
  while (emu_at(bar)->phase == (parity & 1)) emu::yield();
}
inline unsigned emu_swizzled(unsigned address) { return address ^ ((address >> 7 & 7) << 4); }
inline void tgh_load(unsigned to, const tgh_map& map, unsigned bar, int c0, int c1, int c2) {
  if (to % 1024) emu::fail("a swizzled tile that is not aligned");
  for (int j = 0; j < map.box[1]; ++j)
    for (int i = 0; i < map.box[0]; ++i) {
      const bool inside = c0 + i < map.dims[0] && c1 + j < map.dims[1] && c2 < map.dims[2];
      unsigned char* at = emu::shared_at(emu_swizzled(to + j * 128 + i * 2), 2);
      if (inside)
        memcpy(at, (const char*)map.base + (c0 + i) * 2 + (c1 + j) * map.strides[1] + c2 * map.strides[2], 2);
      else
        memset(at, 0, 2);
    }
  emu_bytes(bar) -= map.box[0] * map.box[1] * 2;
  emu_settle(bar);
}
inline void tgh_load_all(unsigned to, const tgh_map& map, unsigned bar, int c0, int c1, int c2, int first, int count) {
  for (int rank = first; rank < first + count; ++rank) emu_as_block(rank, [&] { tgh_load(to, map, bar, c0, c1, c2); });
}
inline uint4 tgh_read_now(const void* p) { return *static_cast<const uint4*>(p); }
inline int tgh_anew(int value) { return value; }
inline void tgh_prefetch(const tgh_map&) {}
inline void tgh_publish() {}
inline void tgh_fence() {}
inline void tgh_commit() {}
template <int N>
void tgh_pending() {}
inline void tgh_few_registers() {}
inline void tgh_many_registers() {}
inline emu::Barrier emu_turns[8][2];  // by block
inline void tgh_await_turn(int consumer) { emu::wait(emu_turns[tgh_rank()][consumer], 256); }
inline void tgh_give_turn(int consumer) {
  emu::Barrier& b = emu_turns[tgh_rank()][consumer];
  if (++b.arrived >= 256) b.arrived = 0, ++b.generation;
}
inline void tgh_store_far(unsigned to, int rank, const float* x) {
  emu_as_block(rank, [&] { memcpy(emu::shared_at(to, 16), x, 16); });
}
inline void tgh_add_shared(unsigned from, float* sum) {
  float x[4];
  memcpy(x, emu::shared_at(from, 16), 16);
  for (int i = 0; i < 4; ++i) sum[i] += x[i];
}
inline void tgh_sync_cluster() { emu::wait(emu::cluster_barrier, emu::alive); }
/// Row (or column) r and value k of a tile that a descriptor describes.
inline unsigned emu_tile_bits(unsigned long long descriptor, bool kmajor, int r, int k) {
  const unsigned start = unsigned(descriptor & 0x3fff) << 4, next = unsigned(descriptor >> 16 & 0x3fff) << 4, eight = unsigned(descriptor >> 32 & 0x3fff) << 4;
  const unsigned at = kmajor ? start + r / 8 * eight + r % 8 * 128 + k * 2 : start + r / 64 * next + k / 8 * eight + k % 8 * 128 + r % 64 * 2;
  unsigned short bits;
  memcpy(&bits, emu::shared_at(emu_swizzled(at), 2), 2);
  return bits;
}
template <int COLUMNS, bool A_KMAJOR, bool B_KMAJOR, class GET>
void emu_wgmma(float* d, unsigned long long a, unsigned long long b, GET get) {
  const int warp = emu::self->warp & 3, lane = emu::self->lane;
  for (int e = 0; e < COLUMNS / 2; ++e) {
    const int row = warp * 16 + lane / 4 + e % 4 / 2 * 8, column = e / 4 * 8 + lane % 4 * 2 + e % 2;
    for (int k = 0; k < 16; ++k) d[e] += get(emu_tile_bits(a, A_KMAJOR, row, k)) * get(emu_tile_bits(b, B_KMAJOR, column, k));
  }
}
template <int COLUMNS, bool A_KMAJOR, bool B_KMAJOR>
void emu_wgmma_f16(float* d, unsigned long long a, unsigned long long b) {
  emu_wgmma<COLUMNS, A_KMAJOR, B_KMAJOR>(d, a, b, emu::f16_value);
}
template <int COLUMNS, bool A_KMAJOR, bool B_KMAJOR>
void emu_wgmma_bf16(float* d, unsigned long long a, unsigned long long b) {
  emu_wgmma<COLUMNS, A_KMAJOR, B_KMAJOR>(d, a, b, emu::bf16_value);
}
/// With the rows of a in the registers of mma.sync: eight columns at a time.
template <int COLUMNS, bool B_KMAJOR>
void emu_wgmma_rows(float* d, const unsigned* a, unsigned long long b, void (*mma)(float*, const unsigned*, const unsigned*)) {
  const int lane = emu::self->lane;
  for (int n = 0; n < COLUMNS; n += 8) {
    unsigned fragment[2];
    for (int half = 0; half < 2; ++half) {
      const int k = lane % 4 * 2 + half * 8, column = n + lane / 4;
      fragment[half] = emu_tile_bits(b, B_KMAJOR, column, k) | emu_tile_bits(b, B_KMAJOR, column, k + 1) << 16;
    }
    mma(d + n / 2, a, fragment);
  }
}
template <int COLUMNS, bool B_KMAJOR>
void emu_wgmma_rows_f16(float* d, const unsigned* a, unsigned long long b) {
  emu_wgmma_rows<COLUMNS, B_KMAJOR>(d, a, b, tgm_mma_f16);
}
template <int COLUMNS, bool B_KMAJOR>
void emu_wgmma_rows_bf16(float* d, const unsigned* a, unsigned long long b) {
  emu_wgmma_rows<COLUMNS, B_KMAJOR>(d, a, b, tgm_mma_bf16);
}
