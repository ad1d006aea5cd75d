// SPDX-License-Identifier: Apache-2.0
// The skeleton of kernels that reduce an axis which is not innermost and then need its elements again: a block, or a cluster of blocks, holds a panel of
// neighbouring columns in registers, over the whole length of the axis. One read, one write.
#pragma once
#include <string>
#include <vector>

#include "kernels/codegen/row_writer.h"

namespace tuyere::codegen {

/// Text of what the blocks of a cluster ask each other: tgc_rank, tgc_arrive, tgc_wait, tgc_read. Needs compute capability 9.0.
const char* cluster_prelude();

/// Rows: outer are the columns, of which the last dim is divided into panels; inner is what a column combines.
struct PanelPlan {
  int vec = 1;      // columns per access
  int tx = 1;       // threads along the columns
  int ty = 1;       // threads along the axis: a power of two
  int keep = 1;     // accesses per thread
  int cluster = 1;  // blocks that share a panel
  int split = 1;    // blocks that share a panel without knowing each other: what they merge goes through the workspace
};
std::string str(const PanelPlan& plan);
PanelPlan parse_panel_plan(const Config& config, const PanelPlan& fallback);

/// `group` neighbouring columns share one statistic, which takes `part_bytes`.
struct PanelForm {
  Rows rows;
  int inputs = 1;
  int64_t group = 1;
  int part_bytes = 8;
};
/// Groups of all columns.
Dim group_count(const PanelForm& form);
/// Plans that keep at most 128 bytes per thread, the most promising first; none when the axis is too long or of unknown length.
std::vector<PanelPlan> panel_plans(const PanelForm& form, const Target& target, const Symbols& hints);
/// Plans with as many parts as it takes, to be read twice. None when the axis is of unknown length.
std::vector<PanelPlan> split_panel_plans(const PanelForm& form, const Target& target);
/// For plans that are split: bytes of one part per group, which come before those of all blocks.
Dim merged_bytes(const PanelForm& form);
Dim split_bytes(const PanelForm& form, const PanelPlan& plan);
/// The body of a kernel that merges the parts of each group; a warp per group. `none`: the initializer of a part of nothing.
void emit_panel_merge(Kernel& kernel, const PanelForm& form, const PanelPlan& plan, const std::string& type, const std::string& none, int workspace);
/// Time relative to one read and one write at full bandwidth, when the panels do not fill the device.
double panel_slowdown(const PanelForm& form, const PanelPlan& plan, const Target& target, const Symbols& hints);

class PanelWriter : public AccessWriter {
 public:
  PanelWriter(Kernel& kernel, const PanelForm& form, const PanelPlan& plan);

  /// Declares kx, ry, live and the columns' coordinates. Sets grid, threads and cluster. `out`: the first output; backwards: the last panels first, which the
  /// caches may still hold. Arrays are called a<t> for the inputs, b<t> for other tensors.
  void begin(int out, bool backwards = false);
  /// Loads those of the tensors from..to-1 that do not change along the axis (of the inputs, begin does).
  void hold(int from, int to);
  /// Reads the panel into a<t>[keep][vec].
  void load_panel();
  /// Opens a loop over this thread's accesses e; the body runs for those inside the panel, with their coordinates.
  void open();
  void close() { kernel_.add("    }\n  }\n"); }
  /// Element j of access e of the inputs.
  std::vector<std::string> elements() const;
  /// Makes the compiler forget what it knows of short elements: it would keep their conversions in registers that the panel needs.
  void forget();
  /// Statistics per thread: each of `columns() / statistics()` neighbouring columns.
  int statistics() const { return plan_.vec / share_; }
  /// Every thread has as many elements of the axis.
  bool even() const { return plan_.split == 1 && full(); }
  /// Merges part[statistics()] of type `type` (by merge(other, threads merged here, threads merged there)) over the axis, as far as the cluster reaches, and
  /// over the columns of a group, into shared memory.
  void merge(const std::string& type);
  /// Declares total[statistics()]: what this thread's columns have there.
  void take_merged(const std::string& type);
  /// The same from the workspace, where emit_panel_merge left it.
  void take_groups(const std::string& type, int workspace);
  /// Writes what this block has of every group to the workspace: the parts of a group are neighbours.
  void put_groups(const std::string& type, int workspace);
  /// Stores array <name>[vec] of the current access, by way of shared memory when tensor t is dense along the axis instead.
  std::string store(int t, const std::string& name) override;
  /// Closes the loop of open() in which results were stored. `out`: the first output.
  void close_results(int out);

 private:
  static std::string array(int t, int inputs) { return (t < inputs ? "a" : "b") + std::to_string(t); }
  bool full() const;
  void place(int out);
  void merge_lanes(const std::string& type);
  std::string turned(int t);
  void write_turned(int t);
  const PanelForm& form_;
  PanelPlan plan_;
  int share_;                // columns per part of a thread
  std::vector<int> turned_;  // where in shared memory a tensor is turned, -1: nowhere
};

}  // namespace tuyere::codegen
