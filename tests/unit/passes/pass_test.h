// SPDX-License-Identifier: Apache-2.0
// Text in, text out.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "core/passes/passes.h"

namespace tuyere {

inline PassContext on_cpu() { return {}; }
inline PassContext on_cuda() {
  PassContext context;
  context.target.kind = Target::Kind::Cuda;
  context.target.sm = 90;
  return context;
}

/// The network after the pass, compacted and validated as the manager does.
inline Network after(PassFn pass, const std::string& text, const PassContext& context = {}) {
  Network net = parse_network(text);
  validate(net);
  if (pass(net, context)) {
    for (size_t body = 0; body < net.bodies.size(); ++body) net.sort(static_cast<int>(body));
    net.compact();
  }
  validate(net, Phase::optimized);
  return net;
}

/// Structure only: names and origins do not matter.
inline void expect_pass(PassFn pass, const std::string& in, const std::string& out, const PassContext& context = {}) {
  const TextOptions structure{.names = false, .origins = false};
  const Network want = parse_network(out);
  EXPECT_EQ(str(after(pass, in, context), structure), str(want, structure));
}

inline void expect_unchanged(PassFn pass, const std::string& text, const PassContext& context = {}) {
  Network net = parse_network(text);
  EXPECT_FALSE(pass(net, context));
  EXPECT_EQ(str(net), str(parse_network(text)));
}

}  // namespace tuyere
