// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/device_text.h"

namespace tuyere::mma {

const char* hopper_rows_text() {
  return R"CUDA(
/* A row of 16-bit results that begins at any address. Its four lanes call put() in step, with eight consecutive values each, for one group of 32 columns after the other: a lane stores
   from the last multiple of 16 bytes on, the end of what the lane before it has and the beginning of its own. finish() stores what is left at both ends, value by value. */
struct tgh_row {
  bool keep = true, started = false; /* keep: whether the row exists */
  unsigned head[4], last[4];
  unsigned short* to;
  TGM_DEV_MEMBER int before() const { return (int)((size_t)to >> 1 & 7u); } /* values from the last multiple of 16 bytes to `to` */
  template <class T> TGM_DEV_MEMBER void put(T* at, const T (&values)[8]) {
    const int lane = (int)threadIdx.x & 31;
    unsigned w[8]; /* of the lane before, then its own */
    to = (unsigned short*)at;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[4 + i] = (unsigned)values[2 * i].x | (unsigned)values[2 * i + 1].x << 16;
      if (!started) head[i] = last[i] = w[4 + i];
      w[i] = __shfl_sync(0xffffffffu, (lane & 3) == 3 ? last[i] : w[4 + i], (lane & ~3) | ((lane + 3) & 3));
      last[i] = w[4 + i];
    }
    const int from = 8 - before(), word = from >> 1;
    unsigned u[6], v[5], r[4];
#pragma unroll
    for (int i = 0; i < 6; ++i) u[i] = word & 2 ? w[i + 2] : w[i];
#pragma unroll
    for (int i = 0; i < 5; ++i) v[i] = word & 1 ? u[i + 1] : u[i];
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = word & 4 ? w[4 + i] : from & 1 ? v[i] >> 16 | v[i + 1] << 16 : v[i];
    if (keep && (started || lane & 3)) *(uint4*)(to - before()) = make_uint4(r[0], r[1], r[2], r[3]);
    started = true;
  }
  TGM_DEV_MEMBER void finish(int columns) {
    const int lane = (int)threadIdx.x & 3, first = 8 - before();
    unsigned short* begin = to - (lane == 0 ? columns - 32 : 0);
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const unsigned pair = lane == 0 ? head[e / 2] : last[e / 2];
      if (keep && (e < first ? lane == 0 : lane == 3)) begin[e] = (unsigned short)(e & 1 ? pair >> 16 : pair);
    }
  }
};
)CUDA";
}

}  // namespace tuyere::mma
