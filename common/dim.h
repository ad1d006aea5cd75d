// SPDX-License-Identifier: Apache-2.0
// A dimension: an integer or an expression over named symbols, kept in a canonical form so that equal expressions compare equal.
#pragma once
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tuyere {

struct DimNode;

/// Values of symbols, looked up by name. Small: a linear search is enough.
struct Symbols {
  std::vector<std::pair<std::string, int64_t>> values;
  void set(std::string_view name, int64_t value);
  const int64_t* find(std::string_view name) const;
};

/// Immutable value type. Constants carry no allocation.
/// Text form: "4", "n", "2*n+1", "(n+1)//2", "n%8", "min(n,4)", "max(n,1)"; parse(str()) gives an equal Dim.
class Dim {
 public:
  Dim(int64_t value = 0) : value_(value) {}
  Dim(int value) : value_(value) {}
  static Dim symbol(std::string_view name);
  /// Throws Error{User} on text that is no expression.
  static Dim parse(std::string_view text);

  bool is_const() const { return node_ == nullptr; }
  bool is_const(int64_t v) const { return !node_ && value_ == v; }
  int64_t value() const;  // INTERNAL_CHECKs is_const()
  /// Value under `symbols`; throws Error{User} naming a symbol that has none.
  int64_t eval(const Symbols& symbols) const;
  /// True and the value when every symbol is known; no throw, no allocation.
  bool try_eval(const Symbols& symbols, int64_t* out) const noexcept;
  /// Adds the names of the symbols used, each once.
  void collect(std::vector<std::string>& names) const;
  /// This expression with symbol `name` replaced.
  Dim substitute(std::string_view name, const Dim& by) const;
  std::string str() const;

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  Dim& operator+=(const Dim& b) { return *this = *this + b; }
  Dim& operator*=(const Dim& b) { return *this = *this * b; }
  friend bool operator==(const Dim& a, const Dim& b);
  friend Dim floordiv(const Dim& a, const Dim& b);  // rounds towards minus infinity, as Python's //
  friend Dim ceildiv(const Dim& a, const Dim& b);
  friend Dim mod(const Dim& a, const Dim& b);  // sign of the divisor, as Python's %
  friend Dim min(const Dim& a, const Dim& b);
  friend Dim max(const Dim& a, const Dim& b);

 private:
  friend struct DimNode;
  explicit Dim(std::shared_ptr<const DimNode> node) : node_(std::move(node)) {}
  int64_t value_ = 0;
  std::shared_ptr<const DimNode> node_;
};

std::ostream& operator<<(std::ostream& out, const Dim& dim);

using Shape = std::vector<Dim>;
/// "[n,3,224,224]"
std::string str(const Shape& shape);
Shape parse_shape(std::string_view text);
Dim numel(const Shape& shape);
bool is_static(const Shape& shape);
/// INTERNAL_CHECKs is_static().
std::vector<int64_t> to_ints(const Shape& shape);
std::vector<int64_t> eval(const Shape& shape, const Symbols& symbols);
/// Row-major strides in elements.
std::vector<Dim> contiguous_strides(const Shape& shape);
std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& shape);
/// NumPy broadcasting. A symbolic dim against 1 gives the symbol; against a different symbolic dim it is an Error{User}.
Shape broadcast(const Shape& a, const Shape& b);

}  // namespace tuyere
