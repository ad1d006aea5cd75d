// SPDX-License-Identifier: Apache-2.0
// own.recurrent.panels: products of hidden states with panels of the weight that hold all gates of some hidden units, so that cells follow while the sums are
// in the first cache. Threads run directions and rows of the batch from the first time to the last; where there are not enough of them, the panels of each
// time. bf16 weights are multiplied in pairs where the machine does that, f32 ones and others in f32.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/small_gemm.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/tile_convert.h"
#include "kernels/recurrent/recurrent_cells.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kRowsOfSums = 48;  // whose sums stay in the first cache

/// Hidden units of a panel: with all gates it is some vectors wide.
int64_t panel_units(RecurrentKind kind) { return kind == RecurrentKind::lstm ? 16 : kind == RecurrentKind::gru ? 32 : 64; }

class RecurrentPanels {
 public:
  RecurrentPanels(const Recurrent& op, const CpuProblem& p) : op_(op), x_(p.args.in[0]), y_(p.args.out[0]), inputs_(p.inputs()) {
    const View w(p.args.in[1]);
    time_ = op.batch_first ? 1 : 0;
    times_ = x_.shape[time_], batch_ = x_.shape[1 - time_], hidden_ = w.shape[1];
    gates_ = gates_of(op.kind), units_ = panel_units(op.kind);
    panels_ = (hidden_ + units_ - 1) / units_, width_ = panels_ * units_;
    for (const TensorView& t : p.args.in) types_.push_back(t.dtype);
    types_.push_back(op.type);
    pairs_ = w.dtype == DType::BF16 ? pair_functions() : nullptr;
    depth_ = pairs_ ? (hidden_ + 1) / 2 : hidden_;
    if (p.args.constants.size() > 1 && p.args.constants[1]) {
      const std::string layout = "|recurrent|" + std::to_string(gates_) + "|" + std::to_string(units_) + (pairs_ ? "|pairs" : "");
      weights_ = packed_constant(p, 1, layout, [&] {
        std::shared_ptr<void> memory = host_memory(weight_words() * 4);
        pack(p.args.constants[1], static_cast<uint32_t*>(memory.get()));
        return memory;
      });
    } else {
      weights_ = host_memory(weight_words() * 4);
      packs_ = true;
    }
    plan_threads();
    const auto states = static_cast<size_t>(op.directions * batch_ * width_);
    for (auto& h : hidden_states_) h = host_memory(states * 4);
    cells_.resize(op.kind == RecurrentKind::lstm ? states : 0);
    bias_.resize(static_cast<size_t>(op.directions * gates_ * width_));
    sums_.resize(static_cast<size_t>(std::max(threads_ * sums_per_thread(), hidden_)));
  }

  void operator()(void* const* ptr) {
    if (packs_) pack(ptr[1], static_cast<uint32_t*>(weights_.get()));
    load_bias(ptr[2]);
    load_states(ptr[3], types_[3], state(0, 0, 0));
    if (op_.kind == RecurrentKind::lstm) load_states(ptr[4], types_[4], cell_rows(0, 0));
    whole_sequences_ ? run_sequences(ptr) : run_times(ptr);
    store_states(state(times_, 0, 0), ptr[inputs_ + 1]);
    if (op_.kind == RecurrentKind::lstm) store_states(cell_rows(0, 0), ptr[inputs_ + 2]);
  }

 private:
  void plan_threads() {
    threads_ = threads_for(batch_ * times_ * op_.directions * gates_ * hidden_ * std::max<int64_t>(1, hidden_ / 16));
    groups_ = std::min((threads_ + op_.directions - 1) / op_.directions, (batch_ + kGemmRows - 1) / kGemmRows);
    groups_ = std::max<int64_t>(groups_, 1);
    whole_sequences_ = op_.directions * groups_ >= threads_;
  }

  // -- packed operands

  int64_t columns() const { return gates_ * units_; }
  int64_t panel_words() const { return depth_ * columns(); }
  size_t weight_words() const { return static_cast<size_t>(op_.directions * panels_ * panel_words()); }
  int64_t sums_per_thread() const { return kRowsOfSums * columns(); }

  /// [direction][panel][k][gate][unit], words of a float or of two bf16; zeros where there is no unit.
  void pack(const void* w, uint32_t* to) const {
    const LoadFn load = tile_load(types_[1], DType::F32);
    std::vector<float> row(static_cast<size_t>(hidden_));
    for (int64_t d = 0; d < op_.directions; ++d) {
      for (int64_t gate = 0; gate < gates_; ++gate) {
        for (int64_t u = 0; u < hidden_; ++u) {
          const int64_t from = ((d * gates_ + gate) * hidden_ + u) * hidden_;
          uint32_t* column = to + (d * panels_ + u / units_) * panel_words() + gate * units_ + u % units_;
          if (pairs_) {
            pack_pairs(static_cast<const uint16_t*>(w) + from, column);
          } else {
            load({static_cast<const char*>(w) + from * (bits(types_[1]) / 8), 0, 1}, row.data(), 1, hidden_);
            for (int64_t k = 0; k < hidden_; ++k) std::memcpy(column + k * columns(), &row[static_cast<size_t>(k)], sizeof(float));
          }
        }
      }
    }
  }
  void pack_pairs(const uint16_t* row, uint32_t* column) const {
    for (int64_t k = 0; k < hidden_; k += 2) column[k / 2 * columns()] = row[k] | (k + 1 < hidden_ ? uint32_t{row[k + 1]} << 16 : 0);
  }

  void load_bias(const void* bias) {
    const LoadFn load = tile_load(types_[2], DType::F32);
    const int64_t bytes = bits(types_[2]) / 8;
    for (int64_t d = 0; d < op_.directions; ++d) {
      for (int64_t gate = 0; gate < gates_; ++gate) {
        for (int64_t u = 0; u < hidden_; u += units_) {
          const void* from = static_cast<const char*>(bias) + ((d * gates_ + gate) * hidden_ + u) * bytes;
          load({from, 0, 1}, bias_of(d, u / units_) + gate * units_, 1, std::min(units_, hidden_ - u));
        }
      }
    }
  }
  float* bias_of(int64_t d, int64_t panel) { return bias_.data() + (d * panels_ + panel) * columns(); }

  // -- states: [direction][row][width_], those of a time in one memory and those of the next in the other

  CellRows state(int64_t step, int64_t d, int64_t row) const {
    void* data = hidden_states_[static_cast<size_t>(step % 2)].get();
    const int64_t at = (d * batch_ + row) * width_;
    return {pairs_ ? static_cast<void*>(static_cast<uint16_t*>(data) + at) : static_cast<float*>(data) + at, width_, pairs_ != nullptr};
  }
  CellRows cell_rows(int64_t d, int64_t row) { return {cells_.data() + (d * batch_ + row) * width_, width_, false}; }

  void load_states(const void* from, DType type, const CellRows& to) {
    for_rows(const_cast<void*>(from), type, to, [&](void* outer, CellRows inner) {
      const LoadFn load = tile_load(type, DType::F32);
      if (!inner.is_short) return load({outer, 0, 1}, inner.data, 1, hidden_);
      load({outer, 0, 1}, sums_.data(), 1, hidden_);
      tile_store(DType::F32, DType::BF16)(sums_.data(), {inner.data, 0, 1}, 1, hidden_);
    });
  }
  void store_states(const CellRows& from, void* to) {
    for_rows(to, op_.type, from, [&](void* outer, CellRows inner) {
      const StoreFn store = tile_store(DType::F32, op_.type);
      if (!inner.is_short) return store(inner.data, {outer, 0, 1}, 1, hidden_);
      tile_load(DType::BF16, DType::F32)({inner.data, 0, 1}, sums_.data(), 1, hidden_);
      store(sums_.data(), {outer, 0, 1}, 1, hidden_);
    });
  }
  /// f(a row of a dense tensor [direction][row][hidden], the same row of the states).
  template <class F>
  void for_rows(void* outer, DType type, CellRows inner, const F& f) const {
    for (int64_t row = 0; row < op_.directions * batch_; ++row) {
      f(static_cast<char*>(outer) + row * hidden_ * (bits(type) / 8), inner);
      inner.data = static_cast<char*>(inner.data) + width_ * (inner.is_short ? 2 : 4);
    }
  }

  // -- the layer

  void run_sequences(void* const* ptr) {
    parallel_parts(threads_, op_.directions * groups_, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task % groups_, first = batch_ * group / groups_, last = batch_ * (group + 1) / groups_;
        for (int64_t step = 0; step < times_; ++step) {
          for (int64_t panel = 0; panel < panels_; ++panel) run_panel(ptr, thread, step, task / groups_, panel, first, last);
        }
      }
    });
  }

  void run_times(void* const* ptr) {
    for (int64_t step = 0; step < times_; ++step) {
      parallel_parts(threads_, op_.directions * panels_, [&](int thread, int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) run_panel(ptr, thread, step, task / panels_, task % panels_, 0, batch_);
      });
    }
  }

  void run_panel(void* const* ptr, int thread, int64_t step, int64_t d, int64_t panel, int64_t first, int64_t last) {
    float* sums = sums_.data() + thread * sums_per_thread();
    const int64_t time = d == 0 ? step : times_ - 1 - step, unit = panel * units_;
    const uint32_t* weights = static_cast<const uint32_t*>(weights_.get()) + (d * panels_ + panel) * panel_words();
    CellBlock block{.kind = op_.kind, .units = std::min(units_, hidden_ - unit), .width = units_, .sums = sums, .bias = bias_of(d, panel)};
    block.x_gate = hidden_;
    block.x_next = panel + 1 < panels_ ? units_ : (d == 0 ? 1 : -1) * x_.strides[time_] - unit;
    for (int64_t row = first; row < last; row += kRowsOfSums) {
      block.rows = std::min(kRowsOfSums, last - row);
      const CellRows before = state(step, d, row);
      multiply(before, weights, sums, block.rows);
      block.before = units_of(before, unit);
      block.after = units_of(state(step + 1, d, row), unit);
      if (op_.kind == RecurrentKind::lstm) block.cells = units_of(cell_rows(d, row), unit);
      block.x = values(x_, ptr[0], row, time, d * gates_ * hidden_ + unit);
      block.y = values(y_, ptr[inputs_], row, time, d * hidden_ + unit);
      run_cells(block);
    }
  }

  static CellRows units_of(CellRows rows, int64_t unit) {
    rows.data = static_cast<char*>(rows.data) + unit * (rows.is_short ? 2 : 4);
    return rows;
  }
  CellRows values(const View& v, void* data, int64_t row, int64_t time, int64_t column) const {
    const int64_t at = row * v.strides[1 - time_] + time * v.strides[time_] + column;
    return {static_cast<char*>(data) + at * (bits(v.dtype) / 8), v.strides[1 - time_], v.dtype == DType::BF16};
  }

  void multiply(const CellRows& h, const uint32_t* weights, float* sums, int64_t rows) const {
    const int64_t piece = gemm_depth(depth_), n = columns();
    for (int64_t k = 0; k < depth_; k += piece) {
      const int64_t count = std::min(piece, depth_ - k);
      if (pairs_) {
        pairs_->gemm(static_cast<const uint16_t*>(h.data) + 2 * k, h.stride, weights + k * n, n, sums, n, rows, n, count, k > 0);
      } else {
        small_gemm(static_cast<const float*>(h.data) + k, h.stride, reinterpret_cast<const float*>(weights + k * n), n, sums, n, rows, n, count, k > 0);
      }
    }
  }

  Recurrent op_;
  View x_, y_;
  int inputs_, time_ = 0, threads_ = 1;
  int64_t times_ = 0, batch_ = 0, hidden_ = 0, gates_ = 1, units_ = 16, panels_ = 0, width_ = 0, depth_ = 0, groups_ = 1;
  bool packs_ = false, whole_sequences_ = true;
  const PairFunctions* pairs_ = nullptr;
  std::vector<DType> types_;  // of the inputs, then of the outputs
  std::shared_ptr<void> weights_;
  std::shared_ptr<void> hidden_states_[2];
  std::vector<float> cells_, bias_, sums_;
};

std::unique_ptr<Executable> prepare_panels(const CpuProblem& p) {
  const auto along_memory = [](const TensorView& t) { return t.shape[2] <= 1 || t.strides[2] == 1; };
  const bool empty = p.args.out[0].numel() == 0;
  if (empty || !along_memory(p.args.in[0]) || !along_memory(p.args.out[0])) return prepare_kernel("reference.recurrent", p);
  return executable(RecurrentPanels(attrs<Recurrent>(p), p));
}

}  // namespace

void add_recurrent_kernels(CpuKernelTable& table) { table.push_back({"own.recurrent.panels", prepare_panels}); }

}  // namespace tuyere::cpu
