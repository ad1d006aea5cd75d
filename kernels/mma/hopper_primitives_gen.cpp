// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "kernels/codegen/kernel.h"
#include "kernels/mma/device_text.h"

namespace tuyere::mma {

const char* hopper_primitives_text() {
  return R"CUDA(
#ifndef TG_EMULATE
struct alignas(64) tgh_map { unsigned long long words[16]; };
TGM_DEV void tgh_barrier_init(unsigned bar, int count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory"); }
TGM_DEV void tgh_barriers_visible() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
TGM_DEV void tgh_expect(unsigned bar, int bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory"); }
TGM_DEV void tgh_wait(unsigned bar, unsigned parity) {
  asm volatile("{\n.reg .pred p;\nTGH_AGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra TGH_DONE;\nbra TGH_AGAIN;\nTGH_DONE:\n}" ::"r"(bar), "r"(parity) : "memory");
}
/* At the barrier of block `rank` of the cluster. */
TGM_DEV void tgh_arrive(unsigned bar, int rank) {
  if constexpr (TGH_CLUSTER == 1) asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
  else asm volatile("{\n.reg .b32 far;\nmapa.shared::cluster.u32 far, %0, %1;\nmbarrier.arrive.shared::cluster.b64 _, [far];\n}" ::"r"(bar), "r"(rank) : "memory");
}
TGM_DEV void tgh_load(unsigned to, const tgh_map& map, unsigned bar, int c0, int c1, int c2) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
      ::"r"(to), "l"((unsigned long long)&map), "r"(bar), "r"(c0), "r"(c1), "r"(c2) : "memory");
}
/* Into the same place of `count` blocks of the cluster from `first`. */
TGM_DEV void tgh_load_all(unsigned to, const tgh_map& map, unsigned bar, int c0, int c1, int c2, int first, int count) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;"
      ::"r"(to), "l"((unsigned long long)&map), "r"(bar), "r"(c0), "r"(c1), "r"(c2), "h"((unsigned short)(((1 << count) - 1) << first)) : "memory");
}
/* Four matrices of 8 x 8 16-bit values, as products leave them: lanes 8 i to 8 i + 7 have the addresses of the rows of matrix i, each 16 bytes. */
TGM_DEV void tgm_stsm(unsigned addr, const unsigned* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(addr), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}
/* Sixteen bytes that are read once: where this stands among waits and products, so that they are on their way while others are worked on. */
TGM_DEV uint4 tgh_read_now(const void* p) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}
/* The same value; what is computed with it is not kept for where that is computed without. */
TGM_DEV int tgh_anew(int value) {
  asm volatile("" : "+r"(value));
  return value;
}
TGM_DEV void tgh_prefetch(const tgh_map& map) { asm volatile("prefetch.tensormap [%0];" ::"l"((unsigned long long)&map) : "memory"); }
/* What this thread wrote to shared memory is seen by warpgroup instructions after the next barrier. */
TGM_DEV void tgh_publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
TGM_DEV void tgh_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
TGM_DEV void tgh_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> TGM_DEV void tgh_pending() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
/* A block has what it was launched with, and waits forever for more: a warpgroup that loads leaves its registers to the TGH_GROUPS that multiply. */
TGM_DEV void tgh_few_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(TGH_GROUPS == 2 ? 40 : 32)); }
TGM_DEV void tgh_many_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(TGH_GROUPS == 2 ? 232 : 160)); }
/* The two warpgroups that multiply take turns: one waits until the other has given it the turn. */
TGM_DEV void tgh_await_turn(int consumer) { asm volatile("barrier.cta.sync %0, 256;" ::"r"(1 + consumer) : "memory"); }
TGM_DEV void tgh_give_turn(int consumer) { asm volatile("barrier.cta.arrive %0, 256;" ::"r"(1 + consumer) : "memory"); }
TGM_DEV int tgh_rank() {
  if constexpr (TGH_CLUSTER * TGH_SPLIT == 1) return 0;
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
/* Four values to the shared memory of block `rank` of the cluster. */
TGM_DEV void tgh_store_far(unsigned to, int rank, const float* x) {
  asm volatile("{\n.reg .b32 far;\nmapa.shared::cluster.u32 far, %0, %1;\nst.shared::cluster.v4.f32 [far], {%2, %3, %4, %5};\n}"
      ::"r"(to), "r"(rank), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
}
TGM_DEV void tgh_add_shared(unsigned from, float* sum) {
  float x[4];
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3]) : "r"(from) : "memory");
#pragma unroll
  for (int i = 0; i < 4; ++i) sum[i] += x[i];
}
TGM_DEV void tgh_sync_cluster() {
  if constexpr (TGH_CLUSTER * TGH_SPLIT == 1) __syncthreads();
  else asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
#endif
/* Of a tile in rows of 128 bytes that the accelerator has swizzled: eight rows are 1024 bytes; `next` bytes between columns of 64 values where rows are along k. */
TGM_DEV unsigned long long tgh_descriptor(unsigned at, unsigned next) {
  return (unsigned long long)((at & 0x3ffffu) >> 4) | (unsigned long long)(next >> 4) << 16 | (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}
/* `bytes` further, within shared memory. */
TGM_DEV unsigned long long tgh_ahead(unsigned long long descriptor, int bytes) {
  return (descriptor & ~0xffffffffull) | ((unsigned)descriptor + ((unsigned)bytes >> 4));
}
)CUDA";
}

std::string wgmma_text(const WgmmaText& w) {
  const int values = w.columns / 2;
  std::string d, operands;
  for (int i = 0; i < values; ++i) {
    d += (i ? ", %" : "%") + std::to_string(i);
    operands += std::string(i ? ", " : "") + "\"+f\"(d[" + std::to_string(i) + "])";
  }
  auto operand = [&](int k) { return "%" + std::to_string(values + k); };
  auto major = [](bool kmajor) { return kmajor ? "0" : "1"; };
  const bool held = w.a_in_registers;
  const codegen::Vars vars = {{"name", w.name},
                              {"columns", std::to_string(w.columns)},
                              {"shape", "m64n" + std::to_string(w.columns) + "k16"},
                              {"type", w.type},
                              {"d", d},
                              {"A", held ? "const unsigned* a" : "unsigned long long a"},
                              {"a", held ? "{" + operand(0) + ", " + operand(1) + ", " + operand(2) + ", " + operand(3) + "}" : operand(0)},
                              {"b", operand(held ? 4 : 1)},
                              {"majors", (held ? "" : std::string(major(w.a_kmajor)) + ", ") + major(w.b_kmajor)},
                              {"operands", operands},
                              {"inputs", std::string(held ? "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3])" : "\"l\"(a)") + ", \"l\"(b)"},
                              {"emulated", std::string(held ? "rows_" : "") + w.type + "<" + std::to_string(w.columns) +
                                               (held         ? ""
                                                : w.a_kmajor ? ", true"
                                                             : ", false") +
                                               (w.b_kmajor ? ", true>" : ", false>")}};
  return codegen::fill(R"CUDA(
/* d += the product of 64 rows and $columns columns over 16 values of k; asynchronous. */
TGM_DEV void $name(float* d, $A, unsigned long long b) {
#ifdef TG_EMULATE
  emu_wgmma_$emulated(d, a, b);
#else
  asm volatile("{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\nwgmma.mma_async.sync.aligned.$shape.f32.$type.$type {$d}, $a, $b, p, 1, 1, $majors;\n}"
      : $operands : $inputs);
#endif
}
)CUDA",
                       vars);
}

}  // namespace tuyere::mma
