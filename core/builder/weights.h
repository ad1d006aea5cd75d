// SPDX-License-Identifier: Apache-2.0
// The weight program: everything that depends on constants only moves to a network of its own, which runs on the CPU once at build and again at
// refit. Its inputs are the parameters by name, its outputs "w0", "w1", ... the constants of the program.
//
// A computed constant is stored in the memory order of its tensor's layout, as a row-major tensor of permuted shape. A view of a constant at the
// border stays in the program, where it costs nothing. Parameters keep their user's values in the file as "param/<name>": refit may replace some of
// them and runs the weight program over all. A parameter that the program reads directly is stored once, under that same name.
#pragma once
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/network/network.h"
#include "runtime/plan/plan.h"

namespace tuyere {

struct WeightProgram {
  Network network;                                          // main only: inputs are parameters, outputs the computed constants
  std::vector<std::pair<Constant, TensorType>> parameters;  // values of the inputs
  std::vector<std::string> outputs;                         // names of the computed constants, whose data is in the order of their layout
};

/// Gives every literal a unique name "c<k>". Error{User} when two different parameters have one name.
void name_constants(Network& network);
/// Cuts the weight program out of body 0; constants it computes appear without data. Needs name_constants().
WeightProgram split_weights(Network& network);
/// Shape and size a constant tensor has in the file.
Shape stored_shape(const TensorType& type);

/// "param/<name>" or the literal's own name.
std::string file_name(const Constant& constant);
/// A constant with its data as the file stores it. Error{User} when there is less data than its type needs.
PlanConstant stored_constant(const Constant& constant, const TensorType& type);
/// The computed constants without values.
PlanConstants weight_types(const PlanBody& body);
/// Runs a weight body on the CPU; `constants` holds its literals and "param/<name>". Returns the computed constants.
PlanConstants run_weight_body(const PlanBody& body, const PlanConstants& constants);

}  // namespace tuyere
