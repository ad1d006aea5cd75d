// SPDX-License-Identifier: Apache-2.0
// The common skeleton of kernels that normalize rows (softmax, layer, RMS and group norm): ty threads share a row, tx rows share a block.
#pragma once
#include <string>
#include <vector>

#include "kernels/codegen/rows.h"

namespace tuyere::codegen {

struct RowPlan {
  int vec = 1;    // elements per access
  int tx = 1;     // rows per block
  int ty = 256;   // threads per row: a power of two up to 32, or a multiple of 32 with tx = 1
  int keep = 0;   // accesses per thread whose values stay in registers; 0: the row is read again
  int split = 1;  // blocks per row
};
std::string str(const RowPlan& plan);
RowPlan parse_row_plan(const Config& config, const RowPlan& fallback);
/// A plan for rows of `inputs` tensors; in registers when the row's length is constant and fits `budget` values per thread.
RowPlan default_row_plan(const Rows& rows, int inputs, const Target& target, const Symbols& hints, int budget);
/// Time relative to one read and one write at full bandwidth, when `rows` rows do not fill the device or are read again.
double row_slowdown(const Rows& rows, const RowPlan& plan, const Target& target, const Symbols& hints);

/// Accesses of `vec` elements to tensors of rows: along the inner space, or along the outer one (vectors of neighbouring rows).
class AccessWriter {
 public:
  AccessWriter(Kernel& kernel, const Rows& rows, int vec, bool along_outer)
      : kernel_(kernel), rows_(rows), vec_(vec), along_outer_(along_outer), held_(rows.ops.size(), false) {}
  virtual ~AccessWriter() = default;

  std::string address(int t, bool writes);
  /// Of the element that a whole row has of tensor t.
  std::string row_address(int t, bool writes);
  Mode mode(int t) const { return mode_of(rows_, t, vec_, along_outer_); }
  /// Declares and loads array <name> of tensor t at the current access; nothing when the thread holds it already.
  std::string load(int t, const std::string& name);
  std::string load_into(int t, const std::string& target);
  /// Stores array <name>[vec].
  virtual std::string store(int t, const std::string& name);
  std::string count() { return kernel_.value(numel(rows_.inner.size)); }

 protected:
  std::string stride(int t);
  Kernel& kernel_;
  const Rows& rows_;
  int vec_;
  bool along_outer_;
  std::vector<bool> held_;
  std::vector<std::string> oc_, rc_;
};

class RowWriter : public AccessWriter {
 public:
  RowWriter(Kernel& kernel, const Rows& rows, const RowPlan& plan);

  /// Declares kx, ry, o (the row), live, part (this block's share when split) and the row's coordinates. Sets grid and threads.
  void begin();
  /// Opens a loop over this thread's accesses: e is the count in registers, r the number of the access; the body runs when it is inside the row.
  void open(bool registers);
  void close();
  /// Declares the coordinates of access r.
  void coordinates();
  std::string steps() { return kernel_.value(numel(inner_)); }

 private:
  RowPlan plan_;
  std::vector<Dim> inner_;
};

}  // namespace tuyere::codegen
