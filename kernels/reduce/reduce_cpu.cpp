// SPDX-License-Identifier: Apache-2.0
// own.reduce.tile: prologue and reduction over cache-sized tiles. Outputs are processed in tiles too: along a row the tile's results come one
// after the other (the reduced dims are the dense ones); across columns all of them grow together (a kept dim is the dense one).
#include <cmath>
#include <cstdlib>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_source.h"
#include "kernels/reduce/fold.h"

namespace tuyere::cpu {
namespace {

struct ReduceProblem {
  View space;        // the prologue's index space
  Operands inputs;   // of the prologue, broadcast to space
  Operands outputs;  // output, then epilogue extras, in the dims of space (reduced dims: size 1)
  std::array<bool, kMaxRank> reduced{};
};

// A tensor of the output's shape seen in the dims of the prologue's space.
View expand_kept(const View& out, const View& space, const std::array<bool, kMaxRank>& reduced, bool keepdim) {
  View v;
  v.dtype = out.dtype;
  v.rank = space.rank;
  int next = 0;
  for (int d = 0; d < space.rank; ++d) {
    v.shape[d] = reduced[d] ? 1 : space.shape[d];
    if (reduced[d] && !keepdim) continue;
    v.strides[d] = reduced[d] ? 0 : out.strides[next];
    ++next;
  }
  return v;
}

ReduceProblem make_problem(const Reduce& op, const CpuProblem& p) {
  ReduceProblem r;
  const int count = op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size());
  r.space = broadcast_shape(p.args.in, 0, count);
  for (int64_t a : op.axes) r.reduced[normalize_axis(a, r.space.rank)] = true;
  for (int k = 0; k < count; ++k) r.inputs.add(View(p.args.in[k]).broadcast_to(r.space), k);
  const View out(p.args.out[0]);
  r.outputs.add(expand_kept(out, r.space, r.reduced, op.keepdim), p.inputs());
  for (int k = count; k < p.inputs(); ++k) r.outputs.add(expand_kept(View(p.args.in[k]).broadcast_to(out), r.space, r.reduced, op.keepdim), k);
  return r;
}

// Whether neighbours in memory are kept apart by the reduction, so that columns are the fast direction.
bool prefer_columns(const ReduceProblem& r) {
  const View& x = r.inputs.views[0];
  int inner = -1;
  int64_t kept = 1, length = 1;
  for (int d = 0; d < x.rank; ++d) {
    (r.reduced[d] ? length : kept) *= r.space.shape[d];
    const int64_t s = std::abs(x.strides[d]);
    if (x.shape[d] > 1 && s != 0 && (inner < 0 || s <= std::abs(x.strides[inner]))) inner = d;
  }
  if (length <= 16 && kept >= 64) return true;
  return inner >= 0 && !r.reduced[inner];
}

class TileReduce {
 public:
  TileReduce(const Reduce& op, const ReduceProblem& r, DType type)
      : fold_(op.kind, type),
        correction_(op.correction),
        columns_(prefer_columns(r)),
        inputs_(r.inputs),
        outputs_(r.outputs),
        prologue_(op.prologue, r.inputs.types(0, r.inputs.count()), {}),
        epilogue_(op.epilogue, epilogue_types(r), {r.outputs.views[0].dtype}) {
    Operands all = r.outputs;
    for (int k = 0; k < r.inputs.count(); ++k) all.add(r.inputs.views[k], r.inputs.slots[k]);
    const View kept = restrict_dims(r.space, r.reduced, false);
    const int max_threads = threads_for(r.space.numel());
    const int64_t share = kept.numel() / (max_threads * 4) + 1;
    outer_ = NestTiles(nest_of(kept, kept_views(all, r)), std::clamp<int64_t>(share, columns_ ? 64 : 1, TileProgram::kTile));
    inner_ = NestTiles(nest_of(restrict_dims(r.space, r.reduced, true), reduced_views(r)), TileProgram::kTile);
    split_ = !columns_ && outer_.count() < max_threads;
    threads_ = split_ ? max_threads : static_cast<int>(std::min<int64_t>(max_threads, std::max<int64_t>(1, outer_.count())));
    prologue_scratch_ = std::make_shared<TileScratch>(prologue_, threads_);
    epilogue_scratch_ = std::make_shared<TileScratch>(epilogue_, threads_);
    partials_.resize(static_cast<size_t>(threads_));
    length_ = inner_.nest().numel();
    const LoopNest& inner = inner_.nest();
    const bool plain = op.prologue.is_identity() && inputs_.count() == 1 && inner.rank == 2;
    const DType storage = inputs_.views[0].dtype;
    short_ = plain && columns_ && storage == DType::BF16 && fold_.sums();
    in_place_ = short_ || (plain && storage == DType::F32 && (columns_ || (inner.shape[0] == 1 && inner.strides[0][1] == 1)));
  }

  void operator()(void* const* ptr) {
    parallel_ranges(split_ ? 1 : threads_, outer_.count(), [&](int thread, int64_t begin, int64_t end) {
      Odometer o = outer_.start(begin);
      for (int64_t n = begin; n < end; ++n, o.next()) run_tile(ptr, thread, outer_.tile(o));
    });
  }

 private:
  std::vector<DType> epilogue_types(const ReduceProblem& r) const {
    std::vector<DType> types = r.outputs.types(0, r.outputs.count());
    types[0] = fold_.exact() ? DType::I64 : DType::F64;
    return types;
  }
  static std::vector<View> kept_views(const Operands& all, const ReduceProblem& r) {
    std::vector<View> views;
    for (const View& v : all.views) views.push_back(restrict_dims(v, r.reduced, false));
    return views;
  }
  static std::vector<View> reduced_views(const ReduceProblem& r) {
    std::vector<View> views;
    for (const View& v : r.inputs.views) views.push_back(restrict_dims(v, r.reduced, true));
    return views;
  }

  void run_tile(void* const* ptr, int thread, const NestTile& tile) {
    std::array<Cell, TileProgram::kTile> cells;
    const int64_t n = tile.count();
    std::fill_n(cells.begin(), n, fold_.identity());
    pass(ptr, thread, tile, cells.data(), nullptr);
    if (fold_.kind() == ReduceKind::var) {
      std::array<Cell, TileProgram::kTile> squares;
      std::fill_n(squares.begin(), n, fold_.identity());
      for (int64_t i = 0; i < n; ++i) cells[i].real /= static_cast<double>(length_);
      pass(ptr, thread, tile, squares.data(), cells.data());
      for (int64_t i = 0; i < n; ++i) cells[i].real = squares[i].real / std::max(0.0, static_cast<double>(length_) - correction_);
    } else if (fold_.kind() == ReduceKind::mean) {
      for (int64_t i = 0; i < n; ++i) cells[i].real /= static_cast<double>(length_);
    }
    finish(ptr, thread, tile, cells.data());
  }

  // Folds all values into the cells; with means: their squared differences.
  void pass(void* const* ptr, int thread, const NestTile& tile, Cell* cells, const Cell* means) {
    if (length_ == 0) return;
    if (columns_) return pass_columns(ptr, thread, tile, cells, means);
    NestTile one = tile;
    one.rows = one.cols = 1;
    const int inner = outer_.nest().rank - 1;
    for (int64_t r = 0; r < tile.rows; ++r) {
      for (int64_t c = 0; c < tile.cols; ++c) {
        one.index[inner - 1] = tile.index[inner - 1] + r;
        one.index[inner] = tile.index[inner] + c;
        const int64_t i = r * tile.cols + c;
        pass_row(ptr, thread, one, cells + i, means ? means + i : nullptr);
      }
    }
  }

  void locate(void* const* ptr, const NestTile& tile, Patch* patches) const {
    const int first = outputs_.count();
    for (int k = 0; k < inputs_.count(); ++k) patches[k] = outer_.patch(first + k, tile, ptr[inputs_.slots[k]], inputs_.bytes[k]);
  }

  void pass_row(void* const* ptr, int thread, const NestTile& at, Cell* cell, const Cell* mean) {
    std::array<Patch, RowSpace::kMaxOperands> base;
    locate(ptr, at, base.data());
    if (!split_) {
      fold_range(base.data(), thread, 0, inner_.count(), cell, mean);
      return;
    }
    std::fill(partials_.begin(), partials_.end(), fold_.identity());
    parallel_parts(threads_, inner_.count(), [&](int part, int64_t begin, int64_t end) { fold_range(base.data(), part, begin, end, &partials_[part], mean); });
    for (const Cell& part : partials_) fold_.join(cell, part);
  }

  void fold_range(const Patch* base, int thread, int64_t begin, int64_t end, Cell* cell, const Cell* mean) const {
    if (in_place_) {
      const int64_t first = begin * TileProgram::kTile, last = std::min(length_, end * TileProgram::kTile);
      return fold_.row(static_cast<const float*>(base[0].data) + first, last - first, cell, mean);
    }
    std::array<Patch, RowSpace::kMaxOperands> patches;
    Odometer o = inner_.start(begin);
    for (int64_t n = begin; n < end; ++n, o.next()) {
      const NestTile tile = inner_.tile(o);
      for (int k = 0; k < inputs_.count(); ++k) patches[k] = inner_.patch(k, tile, base[k].data, inputs_.bytes[k]);
      const void* values = nullptr;
      prologue_.eval(patches.data(), &values, tile.rows, tile.cols, prologue_scratch_->of(thread));
      fold_.row(values, tile.count(), cell, mean);
    }
  }

  void pass_columns(void* const* ptr, int thread, const NestTile& tile, Cell* cells, const Cell* means) {
    std::array<Patch, RowSpace::kMaxOperands> base, patches;
    locate(ptr, tile, base.data());
    if (in_place_ && base[0].col_stride == 1) return pass_rows(base[0], tile, cells, means);
    if (inner_.nest().rank == 2 && 2 * tile.cols <= TileProgram::kTile && prologue_.result_type(0) == DType::F32) {
      for (int64_t r = 0; r < tile.rows; ++r)
        pass_few_columns(base.data(), thread, r, tile.cols, cells + r * tile.cols, means ? means + r * tile.cols : nullptr);
      return;
    }
    Odometer o{inner_.nest().rank, inner_.nest().shape, {}};
    do {
      for (int k = 0; k < inputs_.count(); ++k) {
        patches[k] = base[k];
        patches[k].data = static_cast<const char*>(base[k].data) + inner_.offset(k, o.index) * inputs_.bytes[k];
      }
      const void* values = nullptr;
      prologue_.eval(patches.data(), &values, tile.rows, tile.cols, prologue_scratch_->of(thread));
      fold_.columns(values, tile.count(), cells, means);
    } while (o.next());
  }

  // Row r of a tile of few columns: the prologue's tiles are made of many positions of the reduced dims.
  void pass_few_columns(const Patch* base, int thread, int64_t r, int64_t cols, Cell* cells, const Cell* means) const {
    const LoopNest& inner = inner_.nest();
    const int64_t most = TileProgram::kTile / cols;
    std::array<Patch, RowSpace::kMaxOperands> patches;
    for (int64_t i = 0; i < inner.shape[0]; ++i) {
      for (int64_t first = 0; first < inner.shape[1]; first += most) {
        const int64_t rows = std::min(most, inner.shape[1] - first);
        for (int k = 0; k < inputs_.count(); ++k) {
          const Ix& strides = inner.strides[static_cast<size_t>(k)];
          const int64_t offset = r * base[k].row_stride + i * strides[0] + first * strides[1];
          patches[k] = {static_cast<const char*>(base[k].data) + offset * inputs_.bytes[k], strides[1], base[k].col_stride};
        }
        const void* values = nullptr;
        prologue_.eval(patches.data(), &values, rows, cols, prologue_scratch_->of(thread));
        fold_.column_rows(static_cast<const float*>(values), cols, rows, cols, cells, means);
      }
    }
  }

  // Columns of values as they lie in memory.
  void pass_rows(const Patch& base, const NestTile& tile, Cell* cells, const Cell* means) const {
    const LoopNest& inner = inner_.nest();
    for (int64_t r = 0; r < tile.rows; ++r) {
      Cell* to = cells + r * tile.cols;
      const Cell* mean = means ? means + r * tile.cols : nullptr;
      for (int64_t i = 0; i < inner.shape[0]; ++i) {
        const int64_t offset = r * base.row_stride + i * inner.strides[0][0], step = inner.strides[0][1], count = inner.shape[1];
        if (short_) {
          fold_.short_column_rows(static_cast<const uint16_t*>(base.data) + offset, step, count, tile.cols, to, mean);
        } else {
          fold_.column_rows(static_cast<const float*>(base.data) + offset, step, count, tile.cols, to, mean);
        }
      }
    }
  }

  void finish(void* const* ptr, int thread, const NestTile& tile, const Cell* cells) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    for (int k = 0; k < outputs_.count(); ++k) patches[k] = outer_.patch(k, tile, ptr[outputs_.slots[k]], outputs_.bytes[k]);
    const Patch out = patches[0];
    patches[0] = {cells, tile.cols, 1};
    epilogue_.run(patches.data(), &out, tile.rows, tile.cols, epilogue_scratch_->of(thread));
  }

  Fold fold_;
  double correction_;
  bool columns_, split_ = false;
  bool in_place_ = false;  // values without a prologue: f32 along the columns or along a dense row, or
  bool short_ = false;     // bf16 that is added up along the columns
  Operands inputs_, outputs_;
  TileProgram prologue_, epilogue_;
  NestTiles outer_, inner_;
  int threads_ = 1;
  int64_t length_ = 0;
  std::shared_ptr<TileScratch> prologue_scratch_, epilogue_scratch_;
  std::vector<Cell> partials_;
};

std::unique_ptr<Executable> prepare_reduce(const CpuProblem& p) {
  const auto& op = attrs<Reduce>(p);
  const DType type = compute_type(op.prologue.empty() ? p.args.in[0].dtype : op.prologue.type_of(op.prologue.outputs[0]));
  return executable(TileReduce(op, make_problem(op, p), type));
}

}  // namespace

void add_reduce_kernels(CpuKernelTable& table) { table.push_back({"own.reduce.tile", prepare_reduce}); }

}  // namespace tuyere::cpu
