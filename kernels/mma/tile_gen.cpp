// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/device_text.h"

namespace tuyere::mma {

const char* tile_text() {
  return R"CUDA(
/* A tile of ROWS x BK elements of EB bytes in shared memory. KMAJOR: ROWS rows of BK elements, else BK rows of ROWS elements. Rows are cut into
   16-byte chunks; the chunk index is xor-ed with the row so that eight rows read at one chunk position fall into different banks. */
template <int ROWS_, int BK_, int EB_, bool KMAJOR_> struct tgm_tile {
  static constexpr int ROWS = ROWS_, BK = BK_, EB = EB_;
  static constexpr bool KMAJOR = KMAJOR_;
  static constexpr int OUTER = KMAJOR ? ROWS : BK, INNER = KMAJOR ? BK : ROWS;
  static constexpr int EPC = 16 / EB, CPR = INNER / EPC, BYTES = OUTER * INNER * EB, CHUNKS = OUTER * CPR;
  static TGM_DEV_MEMBER unsigned offset(int r, int c) {
    int s = CPR % 8 == 0 ? ((!KMAJOR && EB == 4) ? (r & 3) << 1 : r & 7) : CPR % 4 == 0 ? (r >> 1) & 3 : CPR % 2 == 0 ? (r >> 2) & 1 : 0;
    return (unsigned)(r * CPR + (c ^ s)) * 16u;
  }
  /* Address of 32-bit element (r, e) of a tile of 4-byte elements. */
  static TGM_DEV_MEMBER unsigned offset32(int r, int e) { return offset(r, e >> 2) + (unsigned)(e & 3) * 4u; }
};

template <int EB> TGM_DEV unsigned tgm_ldg_bits(const char* p) {
  if constexpr (EB == 4) return *(const unsigned*)p;
  else return *(const unsigned short*)p;
}
template <int EB> TGM_DEV void tgm_sts_bits(unsigned addr, unsigned v) {
  if constexpr (EB == 4) tgm_sts32(addr, v);
  else tgm_sts16(addr, (unsigned short)v);
}

/* Loads a tile of a matrix with element strides (row, k). VEC: bytes per access; below 4 the tile goes through registers: begin() reads,
   end() writes shared memory, with the main loop's arithmetic in between. ROW_EDGE, K_EDGE: whether rows or k may run past the end.
   ROWFAST: consecutive threads take consecutive rows (coalesced when rows, not k, are contiguous). */
template <class TILE, int THREADS, int VEC, bool ROWFAST, bool ROW_EDGE, bool K_EDGE, class I> struct tgm_matrix_loader {
  static constexpr int N = (TILE::CHUNKS + THREADS - 1) / THREADS;
  static constexpr bool STAGED = VEC < 4;
  static constexpr int EPV = STAGED ? 1 : VEC / TILE::EB;
  const char* base; I stride_row, stride_k; int row0, rows, k_end;
  unsigned staged[STAGED ? N * TILE::EPC : 1];
  TGM_DEV_MEMBER void begin(unsigned smem, int k0) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      int id = (int)threadIdx.x + i * THREADS;
      if (TILE::CHUNKS % THREADS != 0 && id >= TILE::CHUNKS) break;
      int r = ROWFAST ? id % TILE::OUTER : id / TILE::CPR, c = ROWFAST ? id / TILE::OUTER : id % TILE::CPR;
      int outer = (TILE::KMAJOR ? row0 : k0) + r, inner = (TILE::KMAJOR ? k0 : row0) + c * TILE::EPC;
      int left = TILE::EPC;
      if (TILE::KMAJOR ? K_EDGE : ROW_EDGE) left = (TILE::KMAJOR ? k_end : rows) - inner;
      if (TILE::KMAJOR ? ROW_EDGE : K_EDGE) left = outer < (TILE::KMAJOR ? rows : k_end) ? left : 0;
      I so = TILE::KMAJOR ? stride_row : stride_k, si = TILE::KMAJOR ? stride_k : stride_row;
      const char* src = base + ((I)outer * so + (I)inner * si) * TILE::EB;
      unsigned dst = smem + TILE::offset(r, c);
#pragma unroll
      for (int p = 0; p < TILE::EPC / EPV; ++p) {
        int valid = left - p * EPV;
        valid = valid < 0 ? 0 : valid > EPV ? EPV : valid;
        const char* s = src + (I)(p * EPV) * si * TILE::EB;
        if constexpr (STAGED) staged[i * TILE::EPC + p] = valid ? tgm_ldg_bits<TILE::EB>(s) : 0u;
        else tgm_cp_async<VEC>(dst + p * VEC, s, valid * TILE::EB);
      }
    }
  }
  TGM_DEV_MEMBER void end(unsigned smem) {
    if constexpr (STAGED) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        int id = (int)threadIdx.x + i * THREADS;
        if (TILE::CHUNKS % THREADS != 0 && id >= TILE::CHUNKS) break;
        int r = ROWFAST ? id % TILE::OUTER : id / TILE::CPR, c = ROWFAST ? id / TILE::OUTER : id % TILE::CPR;
        unsigned dst = smem + TILE::offset(r, c);
#pragma unroll
        for (int p = 0; p < TILE::EPC; ++p) tgm_sts_bits<TILE::EB>(dst + p * TILE::EB, staged[i * TILE::EPC + p]);
      }
    }
  }
};

/* Runs the multi-stage pipeline: `fill(stage, k)` begins the copies of k-tile k, `settle(stage)` completes those that go through registers,
   `work(stage)` consumes. STAGES >= 2 slots of shared memory are in use. */
template <int STAGES, class LOADERS, class WORK> TGM_DEV void tgm_pipeline(LOADERS& load, WORK& work, int k_tiles) {
#pragma unroll
  for (int s = 0; s < STAGES - 1; ++s) {
    if (s < k_tiles) { load.begin(s, s); load.end(s); }
    tgm_cp_commit();
  }
  int read = 0, write = STAGES - 1;
#pragma unroll 1
  for (int k = 0; k < k_tiles; ++k) {
    tgm_cp_wait<STAGES - 2>();
    __syncthreads();
    bool more = k + STAGES - 1 < k_tiles;
    if (more) load.begin(write, k + STAGES - 1);
    tgm_cp_commit();
    work(read);
    if (more) load.end(write);
    read = read + 1 == STAGES ? 0 : read + 1;
    write = write + 1 == STAGES ? 0 : write + 1;
  }
  tgm_cp_wait<0>();
  __syncthreads();
}
)CUDA";
}

}  // namespace tuyere::mma
