// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/device_text.h"

namespace tuyere::mma {

const char* hopper_staged_text() {
  return R"CUDA(
/* Two 16-bit results of neighbouring columns. */
struct tgh_pair {
  unsigned word;
  template <class T> TGM_DEV_MEMBER void put(T*, const T (&values)[2]) { word = (unsigned)values[0].x | (unsigned)values[1].x << 16; }
};

/* Where eight results of a row stand in a warp's shared memory: rows of 64, turned so that neither the rows of a column nor the columns of a row meet in a bank. Behind the 16 rows is
   room for a chunk per row and output. */
TGM_DEV unsigned char* tgh_chunk(unsigned char* stage, int row, int chunk) { return stage + row * 128 + ((chunk ^ (row & 7)) << 4); }
TGM_DEV unsigned char* tgh_carried(unsigned char* stage, int row, int out) { return stage + 2048 + out * 256 + row * 16; }

TGM_DEV unsigned short tgh_one(const unsigned char* chunk, int element) { return ((const unsigned short*)chunk)[element]; }

/* The eight values that begin `back` values before the second chunk. */
TGM_DEV uint4 tgh_shifted(const uint4& first, const uint4& second, int back) {
  const unsigned w[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
  const int from = 8 - back, word = from >> 1;
  unsigned u[6], v[5], r[4];
#pragma unroll
  for (int i = 0; i < 6; ++i) u[i] = word & 2 ? w[i + 2] : w[i];
#pragma unroll
  for (int i = 0; i < 5; ++i) v[i] = word & 1 ? u[i + 1] : u[i];
#pragma unroll
  for (int i = 0; i < 4; ++i) r[i] = word & 4 ? w[4 + i] : from & 1 ? v[i] >> 16 | v[i + 1] << 16 : v[i];
  return make_uint4(r[0], r[1], r[2], r[3]);
}

/* What has no whole 16 bytes at the beginning of a row's first chunk or, at its end, in the last: value by value. */
template <class TO, class KEEP> TGM_DEV void tgh_store_end(unsigned char* stage, int out, int chunk, int column, bool end, TO to, KEEP keep) {
  const int row = (int)threadIdx.x & 15, half = (int)threadIdx.x >> 4 & 1;
  unsigned short* p = to(out, row, column);
  const int whole = 8 - (int)((size_t)p >> 1 & 7u);
#pragma unroll
  for (int e = half * 4; e < half * 4 + 4; ++e)
    if (keep(row) && (e >= whole) == end) p[e] = tgh_one(tgh_chunk(stage, row, chunk), e);
}

/* 16 rows of COLUMNS (32 or 64) staged results from column `at` on go to memory, 16 bytes per lane. Where rows begin anywhere, a lane stores from the last multiple of 16 bytes on:
   the end of the chunk before its own, which is carried over from the columns before, and the beginning of its own. */
template <int COLUMNS, class TO, class KEEP> TGM_DEV void tgh_unstage(unsigned char* stage, int out, int at, TO to, KEEP keep) {
  constexpr int CHUNKS = COLUMNS / 8;
  const int lane = (int)threadIdx.x & 31, chunk = lane % CHUNKS;
#pragma unroll
  for (int r = 0; r < 16; r += 32 / CHUNKS) {
    const int row = r + lane / CHUNKS;
    const uint4 own = *(const uint4*)tgh_chunk(stage, row, chunk);
    unsigned short* p = to(out, row, at + chunk * 8);
    if constexpr (TGH_SHIFTED) {
      const int back = (int)((size_t)p >> 1 & 7u);
      const uint4 before = *(const uint4*)(chunk ? tgh_chunk(stage, row, chunk - 1) : tgh_carried(stage, row, out));
      if (keep(row) && at + chunk > 0) *(uint4*)(p - back) = tgh_shifted(before, own, back);
    } else if (keep(row)) {
      *(uint4*)p = own;
    }
  }
  if constexpr (TGH_SHIFTED) {
    __syncwarp();
    if (at == 0) tgh_store_end(stage, out, 0, 0, false, to, keep);
    if (at + COLUMNS == TGH_KEPT) tgh_store_end(stage, out, CHUNKS - 1, TGH_KEPT - 8, true, to, keep);
    else if (lane < 16) *(uint4*)tgh_carried(stage, lane, out) = *(const uint4*)tgh_chunk(stage, lane, CHUNKS - 1);
  }
}

/* Results leave, and given tensors come, in pieces: 16 rows of TGH_PIECE columns, or of 32 where no more are left. Where registers are too few for what a lane holds of the given tensors,
   a piece that meets its sums and the next on its way, pieces are smaller, or the first ones are fetched only when the sums of the piece before are done with. */
constexpr int TGH_ROOM = (TGH_GROUPS == 2 ? 232 : 160) - 64 - TGH_MI * TGH_BN / 2;
constexpr int TGH_PIECE = TGH_GIVEN == 0 || 32 * TGH_GIVEN <= TGH_ROOM ? 64 : 32;
constexpr bool TGH_AHEAD = TGH_GIVEN > 0 && TGH_PIECE / 2 * TGH_GIVEN <= TGH_ROOM + 32;

/* What a lane fetches of a piece of the given tensors. */
struct tgh_held { uint4 chunks[TGH_GIVEN + 1][TGH_PIECE / 16]; };

/* Of the warp's rows among the 64 from row0 on, columns `at` and on; from(tensor, row, column) is an address. */
template <int COLUMNS, class FROM> TGM_DEV void tgh_fetch(tgh_held& held, int row0, int at, FROM from) {
  constexpr int CHUNKS = COLUMNS / 8;
  const int lane = (int)threadIdx.x & 31, row = row0 + (((int)threadIdx.x >> 5) & 3) * 16 + lane / CHUNKS, column = at + lane % CHUNKS * 8;
#pragma unroll
  for (int k = 0; k < TGH_GIVEN; ++k)
#pragma unroll
    for (int i = 0; i < CHUNKS / 2; ++i) held.chunks[k][i] = tgh_read_now(from(k, row + i * (32 / CHUNKS), column));
}
template <class FROM> TGM_DEV void tgh_fetch_first(tgh_held& held, int row0, FROM from) { tgh_fetch<(TGH_KEPT < TGH_PIECE ? 32 : TGH_PIECE)>(held, row0, 0, from); }

/* The words of a piece of the given tensors: of rows lane / 4 and eight further, eight columns after the other. */
template <int COLUMNS, class PLACE> TGM_DEV void tgh_take(unsigned char* stage, const tgh_held& held, PLACE place, unsigned (*given)[TGH_GIVEN + 1]) {
  constexpr int CHUNKS = COLUMNS / 8;
  const int lane = (int)threadIdx.x & 31;
#pragma unroll
  for (int k = 0; k < TGH_GIVEN; ++k) {
#pragma unroll
    for (int i = 0; i < CHUNKS / 2; ++i) *(uint4*)tgh_chunk(stage, i * (32 / CHUNKS) + lane / CHUNKS, lane % CHUNKS) = held.chunks[k][i];
    __syncwarp();
#pragma unroll
    for (int j = 0; j < COLUMNS / 4; j += 4) {
      unsigned four[4];
      tgm_ldsm(four, place(j));
#pragma unroll
      for (int e = 0; e < 4; ++e) given[j + e][k] = four[e];
    }
    __syncwarp();
  }
}

/* See tgh_store_staged: columns `at` and on; rows are the warp's 16. `early`: the next piece is fetched before these sums are done with. */
template <int OUTS, int COLUMNS, class MAKE, class FETCH, class TO, class KEEP>
TGM_DEV void tgh_store_columns(const float* acc, unsigned char* stage, int at, const tgh_held& held, bool early, MAKE make, FETCH fetch_next, TO to, KEEP keep) {
  constexpr int SECOND = TGH_GATED ? TGH_OUT / 2 : 0;
  const int lane = (int)threadIdx.x & 31;
  const auto place = [&](int j) { return tgm_smem(tgh_chunk(stage, (lane & 7) + (lane >> 3 & 1) * 8, j / 2 + (lane >> 4))); }; /* of matrices j and on */
  unsigned given[COLUMNS / 4][TGH_GIVEN + 1], words[OUTS][COLUMNS / 4];
  tgh_take<COLUMNS>(stage, held, place, given);
  if (early) fetch_next();
#pragma unroll
  for (int j = 0; j < COLUMNS / 4; ++j) {
    const float x[4] = {acc[at / 2 + j * 2], acc[at / 2 + j * 2 + 1], acc[SECOND + at / 2 + j * 2], acc[SECOND + at / 2 + j * 2 + 1]};
    tgh_pair pairs[OUTS];
    make((lane >> 2) + j % 2 * 8, at + j / 2 * 8 + (lane & 3) * 2, x, given[j], pairs);
#pragma unroll
    for (int k = 0; k < OUTS; ++k) words[k][j] = pairs[k].word;
  }
  if (!early) fetch_next();
#pragma unroll
  for (int k = 0; k < OUTS; ++k) {
#pragma unroll
    for (int j = 0; j < COLUMNS / 4; j += 4) tgm_stsm(place(j), words[k] + j);
    __syncwarp();
    tgh_unstage<COLUMNS>(stage, k, at, to, keep);
    __syncwarp();
  }
}

/* Accumulators of TGH_ROWS rows: make(row, column, x, given, pairs) turns two neighbours (x: of both products when there are two; given: of every given tensor) into results of all outputs,
   which a warp turns in its shared memory, so that neighbouring lanes store neighbouring columns at to(out, row, column) of the rows that keep(row) says yes to. Given tensors come the
   other way; where TGH_AHEAD, `held` has the first piece. */
template <int OUTS, class MAKE, class FROM, class TO, class KEEP>
TGM_DEV void tgh_store_staged(const float (*acc)[TGH_BN / 2], unsigned char* stage, tgh_held& held, MAKE make, FROM from, TO to, KEEP keep) {
  constexpr int WHOLE = TGH_KEPT / TGH_PIECE * TGH_PIECE;
  if constexpr (!TGH_AHEAD) tgh_fetch_first(held, 0, from);
#pragma unroll
  for (int i = 0; i < TGH_MI; ++i) {
    const int row0 = i * 64 + (((int)threadIdx.x >> 5) & 3) * 16;
    const int column0 = TGH_ROOM < 0 ? tgh_anew(0) : 0; /* registers are too few to keep what other rows take of these columns */
    const auto make_row = [&](int r, int c, const float* x, const unsigned* given, tgh_pair* pairs) { make(row0 + r, column0 + c, x, given, pairs); };
    const auto to_row = [&](int out, int r, int c) { return to(out, row0 + r, c); };
    const auto keep_row = [&](int r) { return keep(row0 + r); };
    const auto early = [&](int at) { return TGH_AHEAD || i * TGH_KEPT + at >= 64; }; /* sums that are done with leave registers */
    const auto fetch_below = [&] {
      if (i + 1 < TGH_MI) tgh_fetch_first(held, i * 64 + 64, from);
    };
#pragma unroll
    for (int at = 0; at < WHOLE; at += TGH_PIECE)
      tgh_store_columns<OUTS, TGH_PIECE>(acc[i], stage, at, held, early(at), make_row, [&] {
        if (at + TGH_PIECE < WHOLE) tgh_fetch<TGH_PIECE>(held, i * 64, at + TGH_PIECE, from);
        else if (TGH_KEPT > WHOLE) tgh_fetch<32>(held, i * 64, WHOLE, from);
        else fetch_below();
      }, to_row, keep_row);
    if constexpr (TGH_KEPT > WHOLE) tgh_store_columns<OUTS, 32>(acc[i], stage, WHOLE, held, early(WHOLE), make_row, fetch_below, to_row, keep_row);
  }
}
)CUDA";
}

}  // namespace tuyere::mma
