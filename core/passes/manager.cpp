// SPDX-License-Identifier: Apache-2.0
// The house-keeping that no pass does itself: disable, time, trace, validate, sort and drop dead layers.
#include <algorithm>
#include <chrono>

#include "common/error.h"
#include "common/log.h"
#include "core/passes/pass.h"

namespace tuyere {
namespace {

int live_layers(const Network& net) {
  int count = 0;
  for (const Body& body : net.bodies) {
    count += static_cast<int>(std::count_if(body.layers.begin(), body.layers.end(), [](const Layer& layer) { return !layer.dead; }));
  }
  return count;
}

void check_names(const PassOptions& options) {
  for (const std::string& name : options.disabled) {
    const auto& passes = pipeline();
    if (std::any_of(passes.begin(), passes.end(), [&](const Pass& pass) { return pass.name == name; })) continue;
    std::string names;
    for (const Pass& pass : passes) names += (names.empty() ? "" : ", ") + std::string(pass.name);
    USER_CHECK(false, "disabled_passes: there is no pass '" << name << "'; passes: " << names);
  }
}

PassTrace run_one(Network& net, const Pass& pass, const PassContext& context, const PassOptions& options) {
  const ErrorFrame frame("in pass " + std::string(pass.name));
  PassTrace trace{std::string(pass.name), false, 0, live_layers(net), 0};
  const auto start = std::chrono::steady_clock::now();
  trace.changed = pass.run(net, context);
  if (trace.changed) {
    for (size_t body = 0; body < net.bodies.size(); ++body) net.sort(static_cast<int>(body));
    net.compact();
    if (options.validate) validate(net, pass.after);
  }
  trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  trace.layers_after = live_layers(net);
  TUYERE_LOG(Debug, "pass " << trace.name << (trace.changed ? "" : " (unchanged)") << ": " << trace.layers_before << " -> " << trace.layers_after << " layers");
  if (trace.changed && dump_enabled("passes")) dump("passes", net.name + "_" + trace.name, str(net));
  return trace;
}

}  // namespace

std::vector<PassTrace> run_passes(Network& network, const PassContext& context, const PassOptions& options) {
  check_names(options);
  std::vector<PassTrace> traces;
  for (const Pass& pass : pipeline()) {
    if (std::find(options.disabled.begin(), options.disabled.end(), pass.name) != options.disabled.end()) continue;
    traces.push_back(run_one(network, pass, context, options));
  }
  return traces;
}

}  // namespace tuyere
