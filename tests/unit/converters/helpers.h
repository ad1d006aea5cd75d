// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "common/error.h"
#include "converters/convert.h"

namespace tuyere {

/// The network text of a whole source graph, without the comments that name the origins.
inline std::string converted(const std::string& text) {
  SourceGraph g = parse_source_graph(text);
  std::vector<int> nodes;
  for (size_t n = 0; n < g.nodes.size(); ++n) nodes.push_back(static_cast<int>(n));
  SegmentIo io{{}, g.outputs};
  for (ValueId id : g.inputs) io.inputs.push_back(id);
  Network net = convert(g, nodes, io, aten_table());
  validate(net);
  std::string out, all = str(net);
  for (size_t at = 0; at < all.size();) {
    size_t end = std::min(all.find('\n', at), all.size());
    std::string line = all.substr(at, end - at);
    line.erase(std::min(line.find(" #"), line.size()));
    line.erase(line.find_last_not_of(' ') + 1);
    if (!line.empty()) out += line + "\n";
    at = end + 1;
  }
  return out;
}

/// The reason why the last node of the graph cannot be converted, or "".
inline std::string refusal(const std::string& text) {
  SourceGraph g = parse_source_graph(text);
  Support s = aten_table().supports(g, g.nodes.back());
  return s ? "" : s.reason();
}

}  // namespace tuyere
