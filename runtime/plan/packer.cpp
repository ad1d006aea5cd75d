// SPDX-License-Identifier: Apache-2.0
// Memory packing: items are rectangles (lifetime x bytes) that must not overlap; the total height is to be small. Several greedy orders are tried,
// the best one is improved by a bounded, deterministic local search over the order.
#include <algorithm>
#include <numeric>

#include "runtime/plan/plan.h"

namespace tuyere {
namespace {

using Order = std::vector<int>;
enum class Fit { first, best };

constexpr int64_t kSearchWork = 4'000'000;  // item pairs looked at by the local search: a few milliseconds
constexpr int kMaxTrials = 600;

class Packer {
 public:
  Packer(const std::vector<PackItem>& items, int64_t alignment) : items_(items) {
    for (const PackItem& item : items) sizes_.push_back((item.bytes + alignment - 1) / alignment * alignment);
    measure_steps();
  }

  Packing run() {
    result_.offsets.assign(items_.size(), 0);
    result_.total = INT64_MAX;
    for (const Order& order : orders())
      for (Fit fit : {Fit::first, Fit::best}) {
        if (result_.total == result_.lower_bound) return result_;
        try_order(order, fit);
      }
    search();
    return result_;
  }

 private:
  struct Placed {
    int64_t begin, end;
    int first, last;
  };

  void measure_steps() {
    int steps = 0;
    for (const PackItem& item : items_) steps = std::max(steps, item.last + 1);
    live_.assign(steps + 1, 0);
    for (size_t i = 0; i < items_.size(); ++i) {
      live_[items_[i].first] += sizes_[i];
      live_[items_[i].last + 1] -= sizes_[i];
    }
    std::partial_sum(live_.begin(), live_.end(), live_.begin());
    result_.lower_bound = *std::max_element(live_.begin(), live_.end());
  }

  template <class Key>
  Order sorted_by(Key key) const {
    Order order;
    for (size_t i = 0; i < items_.size(); ++i)
      if (sizes_[i] > 0) order.push_back(static_cast<int>(i));
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) < key(b); });
    return order;
  }

  int64_t length(int i) const { return items_[i].last - items_[i].first + 1; }

  /// The step with the most live bytes that item i lives through.
  int64_t breadth(int i) const { return *std::max_element(live_.begin() + items_[i].first, live_.begin() + items_[i].last + 1); }

  std::vector<Order> orders() const {
    std::vector<int64_t> breadths(items_.size());
    for (size_t i = 0; i < items_.size(); ++i) breadths[i] = breadth(static_cast<int>(i));
    return {
        sorted_by([&](int i) { return -sizes_[i]; }),
        sorted_by([&](int i) { return std::pair(-breadths[i], -sizes_[i]); }),
        sorted_by([&](int i) { return -static_cast<double>(sizes_[i]) * static_cast<double>(length(i)); }),
        sorted_by([&](int i) { return std::pair(items_[i].first, -sizes_[i]); }),
        sorted_by([&](int i) { return std::pair(-items_[i].last, -sizes_[i]); }),
        sorted_by([&](int i) { return std::pair(-length(i), -sizes_[i]); }),
    };
  }

  /// The gap between placed neighbours in time where item i goes.
  int64_t find_offset(int i, Fit fit) const {
    int64_t end_of_busy = 0, best = -1, best_gap = INT64_MAX;
    for (const Placed& other : placed_) {
      if (other.first > items_[i].last || other.last < items_[i].first) continue;
      const int64_t gap = other.begin - end_of_busy;
      if (gap >= sizes_[i] && gap < best_gap) {
        best = end_of_busy;
        best_gap = gap;
        if (fit == Fit::first) return best;
      }
      end_of_busy = std::max(end_of_busy, other.end);
    }
    return best >= 0 ? best : end_of_busy;
  }

  /// Places all items in `order`; gives up as soon as the total passes `limit`. Fills offsets_ and returns the total.
  int64_t place(const Order& order, Fit fit, int64_t limit) {
    placed_.clear();
    offsets_.assign(items_.size(), 0);
    int64_t total = 0;
    for (int i : order) {
      offsets_[i] = find_offset(i, fit);
      const Placed item{offsets_[i], offsets_[i] + sizes_[i], items_[i].first, items_[i].last};
      total = std::max(total, item.end);
      if (total > limit) return total;
      placed_.insert(std::upper_bound(placed_.begin(), placed_.end(), item, [](const Placed& a, const Placed& b) { return a.begin < b.begin; }), item);
    }
    return total;
  }

  void try_order(const Order& order, Fit fit) {
    const int64_t total = place(order, fit, result_.total);
    if (total >= result_.total) return;
    result_.total = total;
    result_.offsets = offsets_;
    best_order_ = order;
    best_fit_ = fit;
  }

  /// Moves an item that touches the top (or, sometimes, any item) to an earlier place in the order and keeps what is not worse.
  void search() {
    const int64_t n = static_cast<int64_t>(best_order_.size());
    if (n < 2) return;
    const int64_t trials = std::min<int64_t>(kMaxTrials, kSearchWork / (n * n) + 20);
    uint64_t seed = 0x2545f4914f6cdd1du;
    auto random = [&](int64_t bound) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      return static_cast<int64_t>(seed % static_cast<uint64_t>(bound));
    };
    for (int64_t trial = 0; trial < trials && result_.total > result_.lower_bound; ++trial) {
      Order order = best_order_;
      int64_t from = 1 + random(n - 1);
      if (trial % 3 != 2) from = std::max<int64_t>(1, position_of_top());
      std::rotate(order.begin() + random(from), order.begin() + from, order.begin() + from + 1);
      const int64_t total = place(order, best_fit_, result_.total);
      if (total > result_.total) continue;
      result_.total = total;
      result_.offsets = offsets_;
      best_order_ = std::move(order);
    }
  }

  int64_t position_of_top() const {
    for (size_t at = 0; at < best_order_.size(); ++at)
      if (result_.offsets[best_order_[at]] + sizes_[best_order_[at]] == result_.total) return static_cast<int64_t>(at);
    return 0;
  }

  const std::vector<PackItem>& items_;
  std::vector<int64_t> sizes_, live_, offsets_;
  std::vector<Placed> placed_;
  Packing result_;
  Order best_order_;
  Fit best_fit_ = Fit::first;
};

}  // namespace

Packing pack_memory(const std::vector<PackItem>& items, int64_t alignment) { return items.empty() ? Packing{} : Packer(items, alignment).run(); }

}  // namespace tuyere
