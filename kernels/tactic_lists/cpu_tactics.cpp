// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/tactics.h"
#include "kernels/tactic_lists/list_table.h"

namespace tuyere {
namespace {

struct CpuLists {
  TacticList& list;
  template <class ViewOrControl>
  void operator()(const ViewOrControl&) {}
};

}  // namespace

const TacticList& cpu_tactics(const Op& op) {
  static const ListTable<CpuLists> table;
  return table[op];
}

}  // namespace tuyere
