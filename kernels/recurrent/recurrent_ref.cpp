// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

class RefRecurrent {
 public:
  RefRecurrent(const Recurrent& op, const CpuProblem& p) : op_(op) {
    for (const TensorView& t : p.args.in) in_.emplace_back(t);
    for (const TensorView& t : p.args.out) out_.emplace_back(t);
    time_ = op.batch_first ? 1 : 0;
    gates_ = gates_of(op.kind);
    hidden_ = in_[1].shape[1];
    h_.resize(static_cast<size_t>(hidden_));
    c_ = next_ = h_;
  }

  void operator()(void* const* ptr) {
    const int64_t times = in_[0].shape[time_];
    for (int64_t d = 0; d < op_.directions; ++d) {
      for (int64_t n = 0; n < in_[0].shape[1 - time_]; ++n) {
        for (int64_t u = 0; u < hidden_; ++u) {
          h(u) = in_[3].load(ptr[3], {d, n, u});
          if (op_.kind == RecurrentKind::lstm) c(u) = in_[4].load(ptr[4], {d, n, u});
        }
        for (int64_t k = 0; k < times; ++k) step(ptr, d, n, d == 0 ? k : times - 1 - k);
        for (int64_t u = 0; u < hidden_; ++u) {
          out_[1].store(ptr[in_.size() + 1], {d, n, u}, h(u));
          if (op_.kind == RecurrentKind::lstm) out_[2].store(ptr[in_.size() + 2], {d, n, u}, c(u));
        }
      }
    }
  }

 private:
  double& h(int64_t u) { return h_[static_cast<size_t>(u)]; }
  double& c(int64_t u) { return c_[static_cast<size_t>(u)]; }

  Ix at(int64_t n, int64_t t, int64_t column) const { return time_ == 1 ? Ix{n, t, column} : Ix{t, n, column}; }

  void step(void* const* ptr, int64_t d, int64_t n, int64_t t) {
    const auto x = [&](int64_t gate, int64_t u) { return in_[0].load(ptr[0], at(n, t, (d * gates_ + gate) * hidden_ + u)); };
    const auto product = [&](int64_t gate, int64_t u) {
      const int64_t row = (d * gates_ + gate) * hidden_ + u;
      double sum = in_[2].load(ptr[2], {row});
      for (int64_t k = 0; k < hidden_; ++k) sum += in_[1].load(ptr[1], {row, k}) * h(k);
      return sum;
    };
    for (int64_t u = 0; u < hidden_; ++u) {
      const auto gate = [&](int64_t g) { return x(g, u) + product(g, u); };
      double& result = next_[static_cast<size_t>(u)];
      if (op_.kind == RecurrentKind::lstm) {
        c(u) = logistic(gate(1)) * c(u) + logistic(gate(0)) * std::tanh(gate(2));
        result = logistic(gate(3)) * std::tanh(c(u));
      } else if (op_.kind == RecurrentKind::gru) {
        const double fresh = std::tanh(x(2, u) + logistic(gate(0)) * product(2, u));
        result = fresh + logistic(gate(1)) * (h(u) - fresh);
      } else {
        result = op_.kind == RecurrentKind::tanh ? std::tanh(gate(0)) : std::max(gate(0), 0.0);
      }
    }
    std::swap(h_, next_);
    for (int64_t u = 0; u < hidden_; ++u) out_[0].store(ptr[in_.size()], at(n, t, d * hidden_ + u), h(u));
  }

  Recurrent op_;
  std::vector<View> in_, out_;
  int time_ = 0;
  int64_t gates_ = 1, hidden_ = 0;
  std::vector<double> h_, c_, next_;
};

std::unique_ptr<Executable> prepare_reference(const CpuProblem& p) { return executable(RefRecurrent(attrs<Recurrent>(p), p)); }

}  // namespace

void add_recurrent_references(CpuKernelTable& table) { table.push_back({"reference.recurrent", prepare_reference}); }

}  // namespace tuyere::cpu
