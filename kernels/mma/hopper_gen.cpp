// SPDX-License-Identifier: Apache-2.0
#include "kernels/mma/hopper.h"

#include <algorithm>

#include "common/error.h"
#include "kernels/mma/device_text.h"

namespace tuyere::mma {
namespace {

constexpr int kDepth = 64;  // values of k per stage: rows of 128 bytes
constexpr int kRowBytes = 128;
constexpr int kScratchRow = 40;                     // floats: 32 columns, filled up against bank conflicts
constexpr int kScratch = 4 * 16 * kScratchRow * 4;  // bytes per warpgroup

constexpr const char* kSizes = R"CUDA(
constexpr int TGH_MI = TGH_ROWS / 64;
constexpr int TGH_OUT = TGH_GATED ? TGH_BN / 2 : TGH_BN;                  /* columns of the result per tile */
constexpr int TGH_SUMS = TGH_BN / TGH_SPLIT, TGH_KEPT = TGH_OUT / TGH_SPLIT; /* columns of sums and of the result that this block of the split finishes */
)CUDA";

constexpr const char* kHopperFrame = R"CUDA(
constexpr int TGH_A_BYTES = TGH_BM * 128, TGH_B_BYTES = TGH_BN * 128, TGH_STAGE_BYTES = TGH_A_BYTES + TGH_B_BYTES;
constexpr int TGH_SCRATCH_AT = TGH_STAGES * TGH_STAGE_BYTES, TGH_FULL_AT = TGH_SCRATCH_AT + $SCRATCH, TGH_EMPTY_AT = TGH_FULL_AT + TGH_STAGES * 8;

/* A place in the ring of stages and the parity of its round. */
struct tgh_ring {
  int stage = 0;
  unsigned parity = 0;
  TGM_DEV_MEMBER void skip(int count) {
    stage += count;
    parity ^= (unsigned)(stage / TGH_STAGES) & 1u;
    stage %= TGH_STAGES;
  }
  TGM_DEV_MEMBER void next() {
    if (++stage == TGH_STAGES) stage = 0, parity ^= 1u;
  }
};

struct tgh_place { int m0, n0, batch; };

/* Item `id`: tiles go down eight rows of blocks before the next column, so that a wave shares its operands in L2; the blocks of a cluster are neighbours. */
TGM_DEV tgh_place tgh_find(int id, int rank, int size_m, int size_n) {
  constexpr int GROUP = 8 / TGH_CLUSTER_M, ROWS = TGH_BM * TGH_CLUSTER_M, COLUMNS = TGH_OUT * TGH_CLUSTER_N;
  const int tiles_m = (size_m + ROWS - 1) / ROWS, tiles_n = (size_n + COLUMNS - 1) / COLUMNS;
  const int batch = id / (tiles_m * tiles_n), tile = id % (tiles_m * tiles_n);
  const int group = tile / (GROUP * tiles_n), in_group = tile % (GROUP * tiles_n);
  const int rows = tiles_m - group * GROUP < GROUP ? tiles_m - group * GROUP : GROUP;
  return {(group * GROUP + in_group % rows) * ROWS + (TGH_CLUSTER_M > 1 ? rank * TGH_BM : 0), in_group / rows * COLUMNS + (TGH_CLUSTER_N > 1 ? rank * TGH_OUT : 0), batch};
}

/* Rows row0 and on of an operand and 64 values of k; where rows are along k, by boxes of 64 rows of it. */
template <int ROWS, bool KMAJOR, bool ALL> TGM_DEV void tgh_load_tile(unsigned to, const tgh_map& map, unsigned bar, int row0, int k0, int batch) {
#pragma unroll
  for (int r = 0; r < ROWS; r += KMAJOR ? ROWS : 64) {
    const int c0 = KMAJOR ? k0 : row0 + r, c1 = KMAJOR ? row0 : k0;
    if constexpr (ALL) tgh_load_all(to + (unsigned)r * 128u, map, bar, c0, c1, batch, tgh_rank() / TGH_CLUSTER * TGH_CLUSTER, TGH_CLUSTER);
    else tgh_load(to + (unsigned)r * 128u, map, bar, c0, c1, batch);
  }
}

/* Threads `other` lanes away exchange values: of every two adjacent parts of SIZE values the lower lane gets both its own first part and the other's, the upper lane
   both second parts, in the order of columns. */
template <int SIZE> TGM_DEV void tgh_exchange(float* acc, int other) {
  const bool upper = threadIdx.x & other;
#pragma unroll
  for (int at = 0; at < TGH_SUMS / 2; at += 2 * SIZE)
#pragma unroll
    for (int e = 0; e < SIZE; ++e) {
      float &low = acc[at + e], &high = acc[at + SIZE + e];
      const float got = __shfl_xor_sync(0xffffffffu, upper ? low : high, other);
      low = upper ? got : low;
      high = upper ? high : got;
    }
}

/* Hands 64 rows of accumulators to `out`, four or eight consecutive columns at a time; of both products when there are two. */
template <class OUT> TGM_DEV void tgh_store_wide(float* acc, int row0, OUT out) {
  constexpr int SECOND = TGH_GATED ? TGH_OUT / 2 : 0;
  const int lane = (int)threadIdx.x & 31, row = row0 + (((int)threadIdx.x >> 5) & 3) * 16 + (lane >> 2);
  const int column = TGM_V == 8 ? (lane & 3) * 8 : (lane & 1) * 8 + (lane & 2) * 2;
  tgh_exchange<4>(acc, 1);  // all at first: what follows is free of dependences
  if constexpr (TGM_V == 8) tgh_exchange<8>(acc, 2);
#pragma unroll
  for (int at = 0; at < TGH_KEPT / 2; at += TGM_V * 2)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float x[TGM_V * 2];
#pragma unroll
      for (int j = 0; j < TGM_V; ++j) {
        const int from = at + j / 4 * 8 + j % 4 / 2 * 4 + j % 2 + half * 2;
        x[j] = acc[from], x[TGM_V + j] = acc[SECOND + from];
      }
      out(row + half * 8, at * 2 + column, x);
    }
}

/* The same, one value at a time: 32 columns of 16 rows go through a piece of shared memory per warp, so that neighbouring threads get neighbouring columns. */
template <class OUT> TGM_DEV void tgh_store_ones(const float* acc, float* scratch, int row0, OUT out) {
  constexpr int LD = $LD;
  const int warp = ((int)threadIdx.x >> 5) & 3, lane = (int)threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int chunk = 0; chunk < (TGH_SUMS + 31) / 32; ++chunk) {
    const int groups = TGH_SUMS / 8 - chunk * 4 < 4 ? TGH_SUMS / 8 - chunk * 4 : 4; /* of eight columns */
#pragma unroll
    for (int j = 0; j < groups; ++j) {
      const float* d = acc + (chunk * 4 + j) * 4;
      *(float2*)(scratch + g * LD + j * 8 + t * 2) = make_float2(d[0], d[1]);
      *(float2*)(scratch + (g + 8) * LD + j * 8 + t * 2) = make_float2(d[2], d[3]);
    }
    __syncwarp();
#pragma unroll
    for (int r = 0; r < 16; ++r)
      if (lane < groups * 8) out(row0 + warp * 16 + r, chunk * 32 + lane, scratch + r * LD + lane);
    __syncwarp();
  }
}

template <class OUT> TGM_DEV void tgh_store(float* acc, float* scratch, int row0, OUT out) {
  if constexpr (TGM_V > 1) tgh_store_wide(acc, row0, out);
  else tgh_store_ones(acc, scratch, row0, out);
}

/* The blocks of a split meet before and after their sums are exchanged, in memory that stages are loaded to; and again before more stages are. */
TGM_DEV void tgh_meet(bool more) {
  if constexpr (TGH_SPLIT == 1) return;
  tgh_sync_cluster();
  tgh_sync_cluster();
  if (more) tgh_sync_cluster();
}

/* acc[i][0 ... TGH_SUMS / 2) become the sums over the split of columns part * TGH_SUMS and on, always added in the same order; every block finishes such a part of
   the columns and gives the others away. */
TGM_DEV void tgh_join(float (*acc)[TGH_BN / 2], unsigned smem, int rank, int part, bool more) {
  if constexpr (TGH_SPLIT == 1) return;
  constexpr int OWN = TGH_SUMS / 2, THREADS = 128 * TGH_GROUPS, SLOT = TGH_MI * OWN * 4 * THREADS;
  const unsigned place = smem + ((unsigned)threadIdx.x - 128u) * 16u;
#pragma unroll
  for (int i = 0; i < TGH_MI; ++i)
#pragma unroll
    for (int bit = 1; bit < TGH_SPLIT; bit *= 2)
#pragma unroll
      for (int e = 0; e < TGH_BN / 2; ++e)
        if (!(e / OWN & bit)) { /* the columns of block `part ^ p` come to place p */
          float &low = acc[i][e], &high = acc[i][e + bit * OWN];
          const float kept = part & bit ? high : low;
          high = part & bit ? low : high;
          low = kept;
        }
  tgh_sync_cluster();
#pragma unroll
  for (int p = 1; p < TGH_SPLIT; ++p)
#pragma unroll
    for (int i = 0; i < TGH_MI; ++i)
#pragma unroll
      for (int e = 0; e < OWN; e += 4) tgh_store_far(place + (p - 1) * SLOT + (i * OWN + e) * 4 * THREADS, (part ^ p) * TGH_CLUSTER + rank, acc[i] + p * OWN + e);
  tgh_sync_cluster();
#pragma unroll
  for (int i = 0; i < TGH_MI; ++i)
#pragma unroll
    for (int e = 0; e < OWN; e += 4) {
      float sum[4] = {acc[i][e], acc[i][e + 1], acc[i][e + 2], acc[i][e + 3]};
#pragma unroll
      for (int p = 1; p < TGH_SPLIT; ++p) tgh_add_shared(place + (p - 1) * SLOT + (i * OWN + e) * 4 * THREADS, sum);
#pragma unroll
      for (int j = 0; j < 4; ++j) acc[i][e + j] = sum[j];
    }
  if (more) {
    tgh_publish();
    tgh_sync_cluster();
  }
}

/* acc += the products of k_tiles stages. `then` is called as soon as the last is under way. */
template <class THEN> TGM_DEV void tgh_accumulate(float (*acc)[TGH_BN / 2], unsigned smem, int consumer, int first_block, tgh_ring& ring, int k_tiles, THEN then) {
  const bool signals = ((int)threadIdx.x & 31) == 0;
  const unsigned long long first_a = tgh_descriptor(smem + (TGH_ALTERNATE ? 0 : consumer * TGH_ROWS * 128), 8192), first_b = tgh_descriptor(smem + TGH_A_BYTES, 8192);
  unsigned last = 0;
  for (int kt = 0; kt < k_tiles; ++kt) {
    tgh_wait(smem + TGH_FULL_AT + ring.stage * 8, ring.parity);
    const unsigned long long a = tgh_ahead(first_a, ring.stage * TGH_STAGE_BYTES), b = tgh_ahead(first_b, ring.stage * TGH_STAGE_BYTES);
    tgh_fence();
#pragma unroll
    for (int ks = 0; ks < 4; ++ks)
#pragma unroll
      for (int i = 0; i < TGH_MI; ++i)
        tgh_multiply(acc[i], tgh_ahead(a, i * 8192 + ks * (TGH_A_KMAJOR ? 32 : 2048)), tgh_ahead(b, ks * (TGH_B_KMAJOR ? 32 : 2048)));
    tgh_commit();
    if (kt + 1 == k_tiles) then();
    if (kt > 0) {
      tgh_pending<1>();
      if (signals)
        for (int c = 0; c < TGH_CLUSTER; ++c) tgh_arrive(last, first_block + c);
    }
    last = smem + TGH_EMPTY_AT + ring.stage * 8;
    ring.next();
  }
  tgh_pending<0>();
  if (signals)
    for (int c = 0; c < TGH_CLUSTER; ++c) tgh_arrive(last, first_block + c);
}

extern "C" __global__ void __launch_bounds__($THREADS, 1) tg_gemm(TG_PARAMS_THEN const __grid_constant__ tgh_map map_a, const __grid_constant__ tgh_map map_b$MAP_B2) {
  extern __shared__ __align__(1024) unsigned char tg_smem[];
  tgm_grid_launch_next();
  const int size_m = $M, size_n = $N, size_k = $K;
  const unsigned before = (1024u - (tgm_smem(tg_smem) & 1023u)) & 1023u, smem = tgm_smem(tg_smem) + before;
  constexpr int ROWS = TGH_BM * TGH_CLUSTER_M, COLUMNS = TGH_OUT * TGH_CLUSTER_N;
  const int tiles = (size_m + ROWS - 1) / ROWS * ((size_n + COLUMNS - 1) / COLUMNS) * $BATCHES;
  const int group = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0), block = tgh_rank(), rank = block % TGH_CLUSTER, part = block / TGH_CLUSTER;
  const int first = (int)blockIdx.x / (TGH_CLUSTER * TGH_SPLIT), step = (int)gridDim.x / (TGH_CLUSTER * TGH_SPLIT);
  const int all_k = (size_k + 63) / 64, k_first = all_k * part / TGH_SPLIT, k_tiles = all_k * (part + 1) / TGH_SPLIT - k_first;
  if (threadIdx.x == 0) {
    for (int s = 0; s < TGH_STAGES; ++s) {
      tgh_barrier_init(smem + TGH_FULL_AT + s * 8, 1);
      tgh_barrier_init(smem + TGH_EMPTY_AT + s * 8, (TGH_ALTERNATE ? 4 : 4 * TGH_GROUPS) * TGH_CLUSTER);
    }
    tgh_barriers_visible();
  }
  tgh_sync_cluster();
  if (group == 0) {
    tgh_few_registers();
    const bool loads = threadIdx.x == 0;
    const auto load_b = [&](unsigned to, unsigned full, const tgh_place& at, int kt) {
      constexpr bool ALL = TGH_CLUSTER_M > 1;
      const int k0 = (k_first + kt) * 64;
      if constexpr (TGH_GATED) {
        if (!ALL || rank == 0) tgh_load_tile<TGH_OUT, TGH_B_KMAJOR, ALL>(to + TGH_A_BYTES, map_b, full, at.n0, k0, 0);
        if (!ALL || rank == 1) tgh_load_tile<TGH_OUT, TGH_B_KMAJOR, ALL>(to + TGH_A_BYTES + TGH_OUT * 128, $B2, full, at.n0, k0, 0);
      } else {
        constexpr int PART = TGH_BN / TGH_CLUSTER_M;
        const int from = ALL ? rank * PART : 0;
        tgh_load_tile<PART, TGH_B_KMAJOR, ALL>(to + TGH_A_BYTES + from * 128, map_b, full, at.n0 + from, k0, $BATCH_B);
      }
    };
    int early = 0; /* stages whose part of b is on its way before the kernels before this one are complete */
    if (loads) {
      tgh_prefetch(map_a);
      tgh_prefetch(map_b);
      if (TGH_GATED) tgh_prefetch($B2);
      if (TGH_B_EARLY && first < tiles)
        for (const tgh_place at = tgh_find(first, rank, size_m, size_n); early < k_tiles && early < TGH_STAGES; ++early) {
          tgh_expect(smem + TGH_FULL_AT + early * 8, TGH_STAGE_BYTES);
          load_b(smem + early * TGH_STAGE_BYTES, smem + TGH_FULL_AT + early * 8, at, early);
        }
      tgm_grid_wait();
    }
    tgh_ring ring;
    for (int id = first; id < tiles; id += step) {
      const tgh_place at = tgh_find(id, rank, size_m, size_n);
      for (int kt = 0; loads && kt < k_tiles; ++kt, ring.next()) {
        const unsigned to = smem + ring.stage * TGH_STAGE_BYTES, full = smem + TGH_FULL_AT + ring.stage * 8;
        const bool whole = early == 0;
        if (whole) {
          tgh_wait(smem + TGH_EMPTY_AT + ring.stage * 8, ring.parity ^ 1u);
          tgh_expect(full, TGH_STAGE_BYTES);
        } else {
          --early;
        }
        constexpr int PART = TGH_BM / TGH_CLUSTER_N;
        const int from = TGH_CLUSTER_N > 1 ? rank * PART : 0;
        tgh_load_tile<PART, TGH_A_KMAJOR, (TGH_CLUSTER_N > 1)>(to + from * 128, map_a, full, at.m0 + from, (k_first + kt) * 64, $BATCH_A);
        if (whole) load_b(to, full, at, kt);
      }
      __syncwarp();
      tgh_meet(id + step < tiles);
    }
  } else {
    tgh_many_registers();
    const int consumer = group - 1;
    float* scratch = (float*)(tg_smem + before + TGH_SCRATCH_AT) + (consumer * 4 + (((int)threadIdx.x >> 5) & 3)) * 16 * $LD;
    tgm_grid_wait();
    tgh_ring ring;
    int id = first;
    if (TGH_ALTERNATE && consumer) {
      if (id < tiles) tgh_give_turn(0);
      ring.skip(k_tiles);
      id += step;
    }
    for (; id < tiles; id += TGH_ALTERNATE ? 2 * step : step) {
      const tgh_place at = tgh_find(id, rank, size_m, size_n);
      const int n0 = at.n0 + part * TGH_KEPT, b0 = at.batch, row0 = TGH_ALTERNATE ? 0 : consumer * TGH_ROWS;
      (void)b0;
      float acc[TGH_MI][TGH_BN / 2];
#pragma unroll
      for (int i = 0; i < TGH_MI; ++i)
#pragma unroll
        for (int e = 0; e < TGH_BN / 2; ++e) acc[i][e] = 0.f;
      /* A parity tells one round of the ring from the next only: nobody may wait for a stage before all rounds up to the last are complete. */
$HELD      if (TGH_ALTERNATE) tgh_await_turn(consumer);
      tgh_accumulate(acc, smem, consumer, part * TGH_CLUSTER, ring, k_tiles, [&] {
        if (TGH_ALTERNATE && id + step < tiles) tgh_give_turn(1 - consumer);
$FETCH      });
      if (TGH_ALTERNATE) ring.skip(k_tiles);
      tgh_join(acc, smem, rank, part, id + step < tiles);
$STORES    }
  }
  tgh_sync_cluster();
}
)CUDA";

/// What tiles with all their columns need before their products are complete.
constexpr const char* kHeld = R"CUDA(
      const bool staged = n0 + TGH_KEPT <= size_n;
      const auto find = [&](int r) { return at.m0 + row0 + r; };
      const auto given_at = [&](int in, int r, int c) {
        const int m = find(r) < size_m ? find(r) : size_m - 1, n = n0 + c;
        return tgm_given(TG_ARGS, in, $COORDS);
      };
      tgh_held held;
)CUDA";

/// Tiles with all their columns, by way of shared memory.
constexpr const char* kStaged = R"CUDA(
      if (staged) {
        tgh_store_staged<$OUTS>(
            acc, (unsigned char*)scratch, held,
            [&](int r, int c, const float* x, const unsigned* given, tgh_pair* pairs) {
              const int m = find(r) < size_m ? find(r) : size_m - 1, n = n0 + c;
              tgm_pair_epilogue(TG_ARGS, $COORDS, x, given, pairs);
            },
            given_at,
            [&](int out, int r, int c) {
              const int m = find(r), n = n0 + c;
              return tgm_result(TG_ARGS, out, $COORDS);
            },
            [&](int r) { return find(r) < size_m; });
      }
)CUDA";

/// Other tiles.
constexpr const char* kExchanged = R"CUDA(
      if (at.m0 + row0 + TGH_ROWS <= size_m && n0 + TGH_KEPT <= size_n) {  // without questions, loads and arithmetic of different rows overlap
#pragma unroll
        for (int i = 0; i < TGH_MI; ++i)
          tgh_store(acc[i], scratch, row0 + i * 64, [&](int r, int c, const float* x) {
            const int m = at.m0 + r, n = n0 + c;
            tgm_epilogue(TG_ARGS, $COORDS, x, TGM_V);
          });
      } else {
#pragma unroll
        for (int i = 0; i < TGH_MI; ++i)
          tgh_store(acc[i], scratch, row0 + i * 64, [&](int r, int c, const float* x) {
            const bool inside = at.m0 + r < size_m && n0 + c < size_n;
            if constexpr (TGH_WHOLE) {  // outside, what the last row or columns take is loaded and dropped: loads that wait for no branch overlap
              const int m = at.m0 + r < size_m ? at.m0 + r : size_m - 1, n = n0 + c < size_n ? n0 + c : size_n - TGM_V;
              tgm_epilogue(TG_ARGS, $COORDS, x, TGM_V, inside);
            } else if (inside) {
              const int m = at.m0 + r, n = n0 + c;
              tgm_epilogue(TG_ARGS, $COORDS, x, size_n - n);
            }
          });
      }
)CUDA";

/// The accelerator's view of an operand: the contiguous coordinate, the other one, the batch.
KernelArg map_of(const Matrix& matrix, const Dim& rows, const Dim& k, const Dim& batch, int box_rows) {
  const int element = size_of(matrix.dtype);
  const bool kmajor = matrix.k_major();
  KernelArg arg;
  arg.kind = KernelArg::Kind::tensor_map;
  arg.pointer = matrix.position;
  arg.dtype = std::string(name(matrix.dtype));
  arg.swizzle = kRowBytes;
  const Dim outer = (kmajor ? matrix.row : matrix.k) * Dim(element);
  const bool repeated = matrix.batch.empty() || matrix.batch[0].is_const(0);
  arg.dims = {kmajor ? k : rows, kmajor ? rows : k, repeated ? Dim(1) : batch};
  arg.strides = {outer, repeated ? outer : matrix.batch[0] * Dim(element)};
  arg.box = {kDepth, kmajor ? box_rows : kDepth, 1};
  return arg;
}

std::string definitions(const HopperText& text) {
  auto define = [](const char* key, int value) { return std::string("#define ") + key + " " + std::to_string(value) + "\n"; };
  const HopperTile& t = text.tile;
  return define("TGH_BM", t.bm) + define("TGH_BN", t.bn) + define("TGH_ROWS", t.rows()) + define("TGH_STAGES", t.stages) + define("TGH_CLUSTER", t.cluster()) +
         define("TGH_CLUSTER_M", t.cluster_m) + define("TGH_CLUSTER_N", t.cluster_n) + define("TGH_SPLIT", t.split) + define("TGH_ALTERNATE", t.alternate) +
         define("TGH_GROUPS", t.groups()) + define("TGH_B_EARLY", text.b_constant) + define("TGH_GATED", text.b2.has_value()) +
         define("TGH_SHIFTED", text.shifted) + define("TGH_GIVEN", text.given) + define("TGH_WHOLE", codegen::divisible(text.n, text.width)) +
         define("TGH_A_KMAJOR", text.a.k_major()) + define("TGH_B_KMAJOR", text.b.k_major());
}

}  // namespace

int HopperTile::shared_bytes() const { return 1024 + stages * (bm + bn) * kRowBytes + groups() * kScratch + stages * 16; }

KernelSource hopper_source(const HopperText& text, KernelParams& params, bool wide, const Target& target) {
  const HopperTile& t = text.tile;
  auto batch_of = [](const Matrix& matrix) { return matrix.batch.empty() || matrix.batch[0].is_const(0) ? "0" : "at.batch"; };
  const bool staged = text.staged_outputs > 0;
  const codegen::Vars storing = {{"OUTS", std::to_string(text.staged_outputs)}, {"COORDS", text.store_coords}};
  std::string stores = staged ? codegen::fill(kStaged, storing) : "";
  if (!staged || !codegen::divisible(text.n, text.b2 ? t.bn / 2 : t.bn)) stores += (staged ? "      else" : "") + codegen::fill(kExchanged, storing);
  const codegen::Vars vars = {{"HELD", staged ? codegen::fill(kHeld, storing) : ""},
                              {"FETCH", staged && text.given > 0 ? "        if (TGH_AHEAD && staged) tgh_fetch_first(held, 0, given_at);\n" : ""},
                              {"STORES", stores},
                              {"SCRATCH", std::to_string(t.groups() * kScratch)},
                              {"LD", std::to_string(kScratchRow)},
                              {"THREADS", std::to_string(t.threads())},
                              {"M", params.size(text.m)},
                              {"N", params.size(text.n)},
                              {"K", params.size(text.k)},
                              {"BATCHES", params.size(text.batch)},
                              {"BATCH_A", batch_of(text.a)},
                              {"BATCH_B", batch_of(text.b)},
                              {"MAP_B2", text.b2 ? ", const __grid_constant__ tgh_map map_b2" : ""},
                              {"B2", text.b2 ? "map_b2" : "map_b"}};
  const std::string body = text.epilogue + definitions(text) + hopper_primitives_text() + kSizes + (staged ? hopper_staged_text() : "") +
                           wgmma_text({"tgh_multiply", t.bn, text.dtype == DType::F16 ? "f16" : "bf16", text.a.k_major(), text.b.k_major()}) +
                           "#define TG_PARAMS_THEN TG_PARAMS,\n" + codegen::fill(kHopperFrame, vars);
  const Dim tiles = ceildiv(text.m, t.bm * t.cluster_m) * ceildiv(text.n, (text.b2 ? t.bn / 2 : t.bn) * t.cluster_n) * text.batch;
  const int blocks = t.cluster() * t.split;  // of a cluster
  const Dim clusters = min(tiles, Dim(multiprocessors(target) / blocks));
  KernelSource source = one_launch("tg_gemm", clusters * Dim(blocks), t.threads(), params, target);
  KernelLaunch& launch = source.step.launches[0];
  launch.shared_bytes = t.shared_bytes();
  launch.cluster = blocks;
  launch.args.push_back(map_of(text.a, text.m, text.k, text.batch, t.bm / t.cluster_n));
  for (const Matrix* b : {&text.b, text.b2 ? &*text.b2 : nullptr})
    if (b) launch.args.push_back(map_of(*b, text.n, text.k, text.batch, text.b2 ? t.bn / 2 : t.bn / t.cluster_m));
  source.text = assemble(params, wide, body);
  return source;
}

Config str(const HopperTile& t) {
  return "tile=" + std::to_string(t.bm) + "x" + std::to_string(t.bn) + " stages=" + std::to_string(t.stages) + " cluster=" + std::to_string(t.cluster_m) + "x" +
         std::to_string(t.cluster_n) + " alternate=" + std::to_string(t.alternate) + " split=" + std::to_string(t.split);
}

HopperTile parse_hopper_tile(const Config& config) {
  const std::vector<int> tile = config_ints(config, "tile"), cluster = config_ints(config, "cluster");
  INTERNAL_CHECK(tile.size() == 2 && cluster.size() == 2, "configuration '" << config << "'");
  auto number = [&](const char* key) { return config_ints(config, key)[0]; };
  return {tile[0], tile[1], number("stages"), cluster[0], cluster[1], number("alternate") != 0, number("split")};
}

Support accepts_hopper(const Matrix& matrix) {
  REQUIRE(matrix.dtype == DType::F16 || matrix.dtype == DType::BF16, "not a 16-bit float");
  REQUIRE(access_bytes(matrix) == 16, "rows are not in multiples of 16 bytes");
  REQUIRE(matrix.batch.size() <= 1, "several batch dims that do not join");
  for (const Dim& stride : {matrix.k_major() ? matrix.row : matrix.k, matrix.batch.empty() ? Dim(0) : matrix.batch[0]})
    REQUIRE(!stride.is_const() || stride.value() >= 0, "a negative stride");
  return Support::yes();
}

double estimate_hopper(const GemmSize& size, const HopperTile& tile, const Target& target) {
  const int sms = multiprocessors(target);
  const int64_t items = ceil_div(size.m, tile.bm * tile.cluster_m) * ceil_div(size.n, tile.bn * tile.cluster_n) * tile.cluster() * size.batch * tile.split;
  const int64_t k_tiles = ceil_div(ceil_div(size.k, kDepth), tile.split);
  // 0.75 of the peak is what power lets through; a stage comes from L2, where a cluster shares a tile.
  const double math = 2.0 * tile.bm * tile.bn * kDepth * sms / (0.75 * tensor_rate(target)) * (tile.cluster() > 1 ? 1.05 : 1.0);
  const double l2 = (tile.bm / double(tile.cluster_n) + tile.bn / double(tile.cluster_m)) * kRowBytes * sms / (3.0 * copy_rate(target));
  const double written = 0.7e-6 * tile.bm * tile.bn / (128 * 128);
  const double exchange = tile.split > 1 ? 1e-6 + 2e-6 * (tile.split - 1) / tile.split * tile.bm * tile.bn / (128 * 256) : 0.0;
  const double multiply = k_tiles * std::max(math, l2), store = written / tile.split + exchange;
  const double item = tile.alternate ? std::max(multiply, store) : multiply + store;
  return std::max(ceil_div(items, sms) * item + 3e-6, size.bytes / copy_rate(target) + 2e-6);
}

std::vector<Config> hopper_configs(const GemmSize& size, const Target& target, int level, const HopperLimits& limits) {
  const HopperTile tiles[] = {
      {128, 256, 4, 1, 1, false},    {128, 256, 4, 2, 1, false},    {256, 128, 4, 2, 1, false},    {256, 128, 4, 1, 1, false},   {128, 192, 4, 1, 1, false},
      {128, 192, 4, 2, 1, false},    {128, 192, 4, 1, 1, true},     {128, 192, 4, 2, 1, true},     {128, 224, 4, 1, 1, false},   {128, 160, 5, 1, 1, false},
      {128, 128, 6, 1, 1, true},     {128, 128, 6, 2, 1, true},     {128, 128, 6, 1, 1, false},    {128, 128, 6, 2, 1, false},   {64, 256, 5, 1, 1, true},
      {64, 256, 5, 2, 1, true},      {64, 224, 5, 1, 1, true},      {64, 160, 6, 1, 1, true},      {64, 128, 6, 1, 1, true},     {64, 128, 6, 2, 1, true},
      {128, 96, 6, 1, 1, true},      {128, 64, 6, 1, 1, true},      {128, 64, 6, 1, 1, false},     {64, 64, 6, 1, 1, true},      {192, 192, 4, 1, 1, false},
      {192, 128, 4, 1, 1, false},    {192, 192, 4, 2, 1, false},    {192, 160, 4, 1, 1, false},    {64, 192, 6, 1, 1, true},     {128, 256, 4, 1, 1, false, 4},
      {128, 128, 6, 1, 1, false, 2}, {128, 128, 6, 1, 1, false, 4}, {128, 128, 6, 1, 1, false, 8}, {128, 64, 6, 1, 1, false, 2}, {128, 64, 6, 1, 1, false, 4},
      {128, 128, 6, 2, 1, false, 2}, {128, 80, 7, 1, 2, false},     {128, 80, 7, 1, 1, false},     {128, 96, 6, 1, 2, false},    {128, 64, 6, 1, 2, false},
      {128, 128, 6, 1, 2, false, 2}};
  std::vector<std::pair<double, Config>> all;
  for (const HopperTile& t : tiles) {
    if ((t.cluster_m > 1 && size.m <= t.bm) || (t.cluster_n > 1 && size.n <= t.bn) || (t.split > 1 && size.k < 256 * t.split) || !limits.take(t)) continue;
    all.push_back({estimate_hopper(size, t, target), str(t)});
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const size_t count = level <= 0 ? 1 : level == 1 ? 2 : level == 2 ? 4 : level == 3 ? 12 : 40;
  std::vector<Config> configs;
  for (size_t i = 0; i < std::min(count, all.size()); ++i) configs.push_back(all[i].second);
  return configs;
}

}  // namespace tuyere::mma
