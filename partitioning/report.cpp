// SPDX-License-Identifier: Apache-2.0
// The partition as a table: one line a node, then a line for each segment and the counts.
#include <algorithm>

#include "partitioning/partition.h"

namespace tuyere {
namespace {

std::string place_text(const NodePlacement& place) {
  if (place.placement == NodeKind::outside) return "outside";
  return (place.placement == NodeKind::native ? "native " : "hosted ") + std::to_string(place.segment);
}

std::string values_text(const SourceGraph& graph, const std::vector<ValueId>& ids) {
  std::string out;
  for (ValueId id : ids) out += (out.empty() ? "" : ", ") + graph.values[id].name;
  return out;
}

using Row = std::vector<std::string>;

/// Columns padded to their widest entry; the last one is free.
std::string table(const std::vector<Row>& rows) {
  std::vector<size_t> width(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t k = 0; k < row.size(); ++k) width[k] = std::max(width[k], row[k].size());
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (size_t k = 0; k < row.size(); ++k) line += k + 1 == row.size() ? row[k] : row[k] + std::string(width[k] - row[k].size() + 2, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace

std::string str(const SourceGraph& graph, const Partition& partition) {
  std::vector<Row> rows{{"node", "op", "module", "placement", "reason"}};
  int counts[3] = {0, 0, 0};
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const SourceNode& node = graph.nodes[n];
    const NodePlacement& place = partition.nodes[n];
    rows.push_back({node.name, node.op, node.origin.module, place_text(place), place.reason});
    ++counts[static_cast<int>(place.placement)];
  }
  std::string out = table(rows);
  for (size_t s = 0; s < partition.segments.size(); ++s) {
    const Segment& segment = partition.segments[s];
    out += "segment " + std::to_string(s) + ": " + std::to_string(segment.nodes.size()) + " nodes, in (" + values_text(graph, segment.inputs) + "), out (" +
           values_text(graph, segment.outputs) + ")\n";
  }
  return out + std::to_string(counts[0]) + " native, " + std::to_string(counts[1]) + " hosted, " + std::to_string(counts[2]) + " outside; " +
         std::to_string(partition.segments.size()) + " segments\n";
}

}  // namespace tuyere
