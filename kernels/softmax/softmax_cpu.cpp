// SPDX-License-Identifier: Apache-2.0
// own.softmax.tile: a row of prologue values in cache, then maximum, exponentials and scaling over it.
#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_source.h"

namespace tuyere::cpu {
namespace {

class TileSoftmax {
 public:
  TileSoftmax(const Softmax& op, const View& out, const Operands& operands, const std::array<bool, kMaxRank>& in_row)
      : space_(out, operands, in_row),
        prologue_(op.prologue, operands.types(1, operands.count()), {}),
        store_(tile_store(DType::F32, out.dtype)),
        log_(op.log),
        threads_(static_cast<int>(std::min<int64_t>(threads_for(out.numel() * 8), std::max<int64_t>(1, space_.rows())))),
        scratch_(prologue_, threads_),
        row_stride_((space_.length() + 15) / 16 * 16),
        rows_(static_cast<size_t>(row_stride_ * threads_)),
        out_bytes_(operands.bytes[0]) {}

  void operator()(void* const* ptr) {
    if (space_.length() == 0) return;
    parallel_ranges(threads_, space_.rows(), [&](int thread, int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) run_row(ptr, thread, row);
    });
  }

 private:
  void run_row(void* const* ptr, int thread, int64_t number) {
    const RowFunctions& f = row_functions();
    float* row = rows_.data() + row_stride_ * thread;
    std::array<const void*, RowSpace::kMaxOperands> data;
    std::array<Patch, RowSpace::kMaxOperands> patches;
    space_.locate(number, ptr, data.data());
    float* at = row;
    Odometer o = space_.tiles().start(0);
    do {
      const NestTile tile = space_.tiles().tile(o);
      space_.patches(tile, data.data(), patches.data());
      const void* result = nullptr;
      prologue_.eval(patches.data() + 1, &result, tile.rows, tile.cols, scratch_.of(thread));
      std::copy_n(static_cast<const float*>(result), tile.count(), at);
      at += tile.count();
    } while (o.next());
    normalize(f, row, space_.length());
    at = row;
    o = space_.tiles().start(0);
    do {
      const NestTile tile = space_.tiles().tile(o);
      store_(at, space_.tiles().patch(0, tile, data[0], out_bytes_), tile.rows, tile.cols);
      at += tile.count();
    } while (o.next());
  }

  void normalize(const RowFunctions& f, float* row, int64_t n) const {
    const float top = f.max(row, n);
    if (!log_) {
      const double sum = f.exp_sum(row, n, top, row);
      f.shift_scale(row, n, 0, static_cast<float>(1 / sum), row);
      return;
    }
    double sum = 0;
    std::array<float, TileProgram::kTile> chunk;
    for (int64_t i = 0; i < n; i += TileProgram::kTile) sum += f.exp_sum(row + i, std::min(TileProgram::kTile, n - i), top, chunk.data());
    f.shift_scale(row, n, static_cast<float>(static_cast<double>(top) + std::log(sum)), 1, row);
  }

  RowSpace space_;
  TileProgram prologue_;
  StoreFn store_;
  bool log_;
  int threads_;
  TileScratch scratch_;
  int64_t row_stride_;
  std::vector<float> rows_;
  int64_t out_bytes_;
};

std::unique_ptr<Executable> prepare_softmax(const CpuProblem& p) {
  const auto& op = attrs<Softmax>(p);
  const View out(p.args.out[0]);
  const int count = op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size());
  const DType type = op.prologue.empty() ? compute_type(p.args.in[0].dtype) : compute_type(op.prologue.type_of(op.prologue.outputs[0]));
  if (type != DType::F32 || out.rank == 0) return prepare_kernel("reference.softmax", p);
  Operands operands;
  operands.add(out, p.inputs());
  for (int k = 0; k < count; ++k) operands.add(View(p.args.in[k]).broadcast_to(out), k);
  std::array<bool, kMaxRank> in_row{};
  in_row[normalize_axis(op.axis, out.rank)] = true;
  return executable(TileSoftmax(op, out, operands, in_row));
}

}  // namespace

void add_softmax_kernels(CpuKernelTable& table) { table.push_back({"own.softmax.tile", prepare_softmax}); }

}  // namespace tuyere::cpu
