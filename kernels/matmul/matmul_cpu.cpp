// SPDX-License-Identifier: Apache-2.0
// own.matmul.blocked: f32 arithmetic for f32, bf16 and f16, any strides. The right operand is packed into panels of columns, once when it is constant, unless
// it is small and lies as a panel would; rows are read where they lie when they are contiguous along k or across. Products are added up in pieces of k, so that
// long sums stay exact. The epilogue runs over the sums of a block while they are in L1.
#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/small_gemm.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/matmul/matmul_kernels.h"
#include "kernels/pointwise/tile_loop.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kPanel = 64;                 // columns
constexpr int64_t kRows = 54;                  // of a block
constexpr int64_t kInPlaceFloats = 32 * 1024;  // what rows of a matrix in the second cache cost less than packing it

int64_t blocks_of(int64_t size, int64_t block) { return (size + block - 1) / block; }

class BlockedMatMul {
 public:
  explicit BlockedMatMul(const CpuProblem& p) : op_(attrs<MatMul>(p)), out_(p.args.out[0]) {
    a_ = matmul_operand(p.args.in[0], op_.trans_a, out_);
    b_ = matmul_operand(p.args.in[1], op_.trans_b, out_);
    for (int k = 2; k < p.inputs(); ++k) extras_.push_back(View(p.args.in[k]).broadcast_to(out_));
    depth_ = a_.shape[a_.rank - 1];
    while (out_.rank > 2 && join_rows()) continue;
    rows_ = out_.shape[out_.rank - 2], columns_ = out_.shape[out_.rank - 1];
    panels_ = blocks_of(columns_, kPanel);
    batches_ = product(out_.rank - 2, out_.shape);
    transposed_ = a_.dtype == DType::F32 && a_.strides[a_.rank - 1] != 1 && a_.strides[a_.rank - 2] == 1;
    copied_ = !transposed_ && (a_.dtype != DType::F32 || a_.strides[a_.rank - 1] != 1);
    packed_ = p.args.constants.size() > 1 && p.args.constants[1] != nullptr;
    for (int d = 0; d < out_.rank - 2; ++d) shared_ &= b_.strides[d] == 0;
    in_place_ = !packed_ && b_.dtype == DType::F32 && b_.strides[b_.rank - 1] == 1 && columns_ % kGemmColumns == 0 && depth_ * columns_ <= kInPlaceFloats;
    slot_ = p.workspace_slot();
  }

  int64_t workspace_bytes() const { return ((copied_ ? copy_floats() : 0) + (packed_ || in_place_ ? 0 : panel_floats())) * 4; }

  void prepare(const CpuProblem& p) {
    if (copied_) plan_copy();
    if (b_.dtype == DType::F32) plan_pack();
    if (packed_) {
      weights_ = packed_constant(p, 1, layout(), [&] {
        std::shared_ptr<void> memory = host_memory(static_cast<size_t>(panel_floats()) * sizeof(float));
        pack(p.args.constants[1], static_cast<float*>(memory.get()));
        return memory;
      });
    }
    const int64_t strips = blocks_of(rows_, kRows);
    strip_ = blocks_of(blocks_of(rows_, strips), kGemmRows) * kGemmRows;
    tasks_ = batches_ * panels_ * strips;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(batches_ * rows_ * columns_ * std::max<int64_t>(1, depth_ / 16)), tasks_));
    std::vector<DType> in{DType::F32};
    for (const View& e : extras_) in.push_back(e.dtype);
    epilogue_ = std::make_unique<TileProgram>(op_.epilogue, in, std::vector<DType>{out_.dtype});
    scratch_ = std::make_unique<TileScratch>(*epilogue_, threads_);
    for (size_t k = 0; k < extras_.size(); ++k) same_rows_ |= uint64_t{extras_[k].strides[out_.rank - 2] == 0} << (k + 1);
    stores_sums_ = op_.epilogue.empty() && out_.dtype == DType::F32 && out_.strides[out_.rank - 1] == 1;
  }

  void operator()(void* const* ptr) {
    auto* workspace = static_cast<float*>(ptr[slot_]);
    const auto* a = static_cast<const float*>(ptr[0]);
    if (copied_) {
      void* operands[] = {workspace, ptr[0]};
      copy_->run(operands);
      a = workspace;
    }
    const auto* b = static_cast<const float*>(in_place_ ? ptr[1] : weights_.get());
    if (!packed_ && !in_place_) {
      float* panels = workspace + (copied_ ? copy_floats() : 0);
      pack(ptr[1], panels);
      b = panels;
    }
    parallel_ranges(threads_, tasks_, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) run_task(ptr, a, b, thread, task);
    });
  }

 private:
  /// Makes the last batch dim part of the rows where all operands allow it and the columns do not depend on it.
  bool join_rows() {
    const int outer = out_.rank - 3, inner = out_.rank - 2;
    const auto joins = [&](const View& v) {
      return out_.shape[outer] == 1 || out_.shape[inner] == 1 || v.strides[outer] == v.strides[inner] * out_.shape[inner];
    };
    if (b_.strides[outer] != 0 && out_.shape[outer] != 1) return false;
    if (!joins(a_) || !joins(out_) || !std::all_of(extras_.begin(), extras_.end(), joins)) return false;
    const auto join = [&](View& v) {
      if (v.shape[inner] == 1) v.strides[inner] = v.strides[outer];
      v.shape[inner] *= v.shape[outer];
      erase(v, outer);
    };
    join(a_);
    for (View& e : extras_) join(e);
    erase(b_, outer);
    join(out_);
    return true;
  }

  static void erase(View& v, int dim) {
    for (int d = dim; d + 1 < v.rank; ++d) v.shape[d] = v.shape[d + 1], v.strides[d] = v.strides[d + 1];
    --v.rank;
  }

  // -- operands

  int64_t copy_floats() const { return batches_ * rows_ * depth_; }
  int64_t panel_floats() const { return (shared_ ? 1 : batches_) * panels_ * depth_ * kPanel; }

  /// Offset of `batch` in an operand.
  int64_t batch_offset(const View& v, int64_t batch) const {
    int64_t offset = 0;
    for (int d = out_.rank - 3; d >= 0; --d) {
      offset += batch % out_.shape[d] * v.strides[d];
      batch /= out_.shape[d];
    }
    return offset;
  }

  /// The rows as dense floats, [batch][row][k].
  void plan_copy() {
    const View from = a_, to = from.dense(DType::F32);
    copy_ = std::make_shared<TileLoop>(TileProgram({}, {a_.dtype}, {DType::F32}), to, std::vector<View>{to, from}, 1, 1);
    a_ = to;
  }

  void plan_pack() {
    const auto plan = [&](int64_t count) {
      View in = b_, out = b_;
      in.rank = out.rank = 2;
      in.shape[0] = out.shape[0] = depth_, in.shape[1] = out.shape[1] = count;
      in.strides[0] = b_.strides[b_.rank - 2], in.strides[1] = b_.strides[b_.rank - 1];
      out.strides[0] = kPanel, out.strides[1] = 1;
      return StridedCopy(out, in, sizeof(float));
    };
    whole_panel_ = plan(kPanel);
    last_panel_ = plan(columns_ - (panels_ - 1) * kPanel);
  }

  /// [batch][panel][k][kPanel], zeros between the last column and whole vectors.
  void pack(const void* data, float* to) const {
    const int64_t panels = (shared_ ? 1 : batches_) * panels_;
    parallel_ranges(threads_for(panels * depth_ * kPanel), panels, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) pack_panel(data, batch_offset(b_, i / panels_), i % panels_ * kPanel, to + i * depth_ * kPanel);
    });
  }

  void pack_panel(const void* data, int64_t offset, int64_t column, float* to) const {
    const int64_t count = std::min(kPanel, columns_ - column), row = b_.strides[b_.rank - 2], step = b_.strides[b_.rank - 1];
    offset += column * step;
    const int64_t padded = padded_columns(count);
    if (b_.dtype == DType::F32) {
      (count == kPanel ? whole_panel_ : last_panel_).run(to, static_cast<const float*>(data) + offset);
      if (padded == count) return;
    }
    for (int64_t k = 0; k < depth_; ++k, to += kPanel) {
      for (int64_t c = 0; b_.dtype != DType::F32 && c < count; ++c) to[c] = static_cast<float>(load_as_double(b_.dtype, data, offset + k * row + c * step));
      std::fill(to + count, to + padded, 0.0f);
    }
  }

  std::string layout() const {
    std::string text = "|blocked|" + std::to_string(kPanel) + (shared_ ? "|" : "|batches") + std::string(name(b_.dtype));
    for (int d = shared_ ? b_.rank - 2 : 0; d < b_.rank; ++d) text += "," + std::to_string(b_.shape[d]) + ":" + std::to_string(b_.strides[d]);
    return text;
  }

  // -- running

  void run_task(void* const* ptr, const float* a, const float* b, int thread, int64_t task) {
    const int64_t strips = tasks_ / batches_ / panels_;
    const int64_t strip = task % strips, panel = task / strips % panels_, batch = task / strips / panels_;
    const int64_t row = strip * strip_, rows = std::min(strip_, rows_ - row), columns = std::min(kPanel, columns_ - panel * kPanel);
    if (rows <= 0) return;
    const int64_t padded = padded_columns(columns);
    const int64_t down = a_.strides[a_.rank - 2], ldb = in_place_ ? b_.strides[b_.rank - 2] : kPanel;
    const float* from = a + batch_offset(a_, batch) + row * down;
    const float* weights = b + (in_place_ ? batch_offset(b_, batch) + panel * kPanel : ((shared_ ? 0 : batch) * panels_ + panel) * depth_ * kPanel);
    if (stores_sums_ && padded == columns) {
      const int64_t stride = out_.strides[out_.rank - 2];
      float* out = static_cast<float*>(ptr[2]) + batch_offset(out_, batch) + row * stride + panel * kPanel;
      return add_up(from, weights, ldb, out, stride, row, rows, padded);
    }
    // On the stack, whose lines are in the first cache: every product's own memory would have left it since the last call.
    alignas(64) float sums[kRows * kPanel];
    add_up(from, weights, ldb, sums, kPanel, row, rows, padded);
    finish(ptr, thread, batch, row, rows, panel * kPanel, columns, sums);
  }

  /// sums: `padded` columns of `rows` rows from `row` on.
  void add_up(const float* from, const float* weights, int64_t ldb, float* sums, int64_t stride, int64_t row, int64_t rows, int64_t padded) const {
    const int64_t down = a_.strides[a_.rank - 2], across = a_.strides[a_.rank - 1];
    const auto gemm = transposed_ ? small_gemm_transposed : small_gemm;
    for (int64_t r = 0; depth_ == 0 && r < rows; ++r) std::fill_n(sums + r * stride, padded, 0.0f);
    const int64_t step = gemm_depth(depth_);
    // The first strip meets a panel that is in no cache yet, and packed panels follow one another in memory.
    for (int64_t k = 0; k < depth_; k += step) {
      const int64_t length = std::min(step, depth_ - k);
      const float *here = weights + k * ldb, *next = here + length * ldb;
      const bool fetch = row == 0 && (!in_place_ || k + length < depth_);
      gemm(from + k * across, transposed_ ? across : down, here, ldb, sums, stride, rows, padded, length, k > 0, fetch ? next : nullptr);
    }
  }

  void finish(void* const* ptr, int thread, int64_t batch, int64_t row, int64_t rows, int64_t column, int64_t columns, const float* sums) const {
    constexpr int64_t kStep = TileProgram::kTile / kPanel;
    std::array<Patch, TileLoop::kMaxOperands> in;
    for (int64_t r = 0; r < rows; r += kStep) {
      in[0] = {sums + r * kPanel, kPanel, 1};
      for (size_t k = 0; k < extras_.size(); ++k) in[k + 1] = patch(extras_[k], ptr[2 + k], batch, row + r, column);
      const Patch out = patch(out_, ptr[2 + extras_.size()], batch, row + r, column);
      epilogue_->run(in.data(), &out, std::min(kStep, rows - r), columns, scratch_->of(thread), r > 0 ? same_rows_ : 0);
    }
  }

  Patch patch(const View& v, const void* data, int64_t batch, int64_t row, int64_t column) const {
    const int64_t down = v.strides[v.rank - 2], across = v.strides[v.rank - 1], offset = batch_offset(v, batch) + row * down + column * across;
    return {static_cast<const char*>(data) + offset * (bits(v.dtype) / 8), down, across};
  }

  MatMul op_;
  View out_, a_, b_;
  std::vector<View> extras_;
  int64_t depth_ = 0, rows_ = 0, columns_ = 0, panels_ = 0, batches_ = 1, strip_ = 1, tasks_ = 0;
  bool copied_ = false, transposed_ = false;  // rows, when k is not contiguous in f32
  bool packed_ = false, in_place_ = false, shared_ = true;
  int slot_ = 0, threads_ = 1;
  std::shared_ptr<TileLoop> copy_;
  StridedCopy whole_panel_, last_panel_;
  std::shared_ptr<void> weights_;
  std::unique_ptr<TileProgram> epilogue_;
  std::unique_ptr<TileScratch> scratch_;
  bool stores_sums_ = false;  // they are the result
  uint64_t same_rows_ = 0;    // bit k: all rows of the epilogue's input k are one
};

std::unique_ptr<Executable> prepare_blocked(const CpuProblem& p) {
  if (p.args.out[0].numel() == 0) return prepare_kernel("reference.matmul", p);
  BlockedMatMul matmul(p);
  matmul.prepare(p);
  return executable(std::move(matmul));
}

}  // namespace

int64_t workspace_blocked_matmul(const CpuProblem& p) { return p.args.out[0].numel() == 0 ? 0 : BlockedMatMul(p).workspace_bytes(); }

void add_matmul_kernels(CpuKernelTable& table) { table.push_back({"own.matmul.blocked", prepare_blocked, workspace_blocked_matmul}); }

}  // namespace tuyere::cpu
