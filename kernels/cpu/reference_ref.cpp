// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"

#include <algorithm>

namespace tuyere::cpu {

RefPrologue::RefPrologue(const Program& program, const CpuProblem& p, int first) : program_(program), first_(first) {
  const int count = program.empty() ? 1 : static_cast<int>(program.inputs.size());
  INTERNAL_CHECK(first + count <= p.inputs(), "the prologue has " << count << " inputs, the step " << p.inputs());
  shape_ = broadcast_shape(p.args.in, first, count);
  for (int k = 0; k < count; ++k) views_.push_back(View(p.args.in[first + k]).broadcast_to(shape_));
  in_.resize(count);
  out_.resize(std::max<size_t>(1, program.outputs.size()));
}

const double* RefPrologue::at(void* const* pointers, const Ix& index) {
  for (size_t k = 0; k < views_.size(); ++k) in_[k] = views_[k].load(pointers[first_ + k], index);
  if (program_.empty()) return in_.data();
  evaluate(program_, in_.data(), out_.data());
  return out_.data();
}

RefEpilogue::RefEpilogue(const Program& program, const CpuProblem& p, int first, int output, int mains)
    : program_(program), first_(first), slot_(p.inputs() + output), mains_(mains) {
  const int extra = program.empty() ? 0 : std::max(0, static_cast<int>(program.inputs.size()) - mains);
  INTERNAL_CHECK(first + extra <= p.inputs(), "the epilogue needs " << extra << " inputs from " << first << ", the step has " << p.inputs());
  const size_t outputs = std::max<size_t>(1, program.outputs.size());
  for (size_t k = 0; k < outputs; ++k) outs_.push_back(View(p.args.out.at(static_cast<size_t>(output) + k)));
  for (int k = 0; k < extra; ++k) views_.push_back(View(p.args.in[first + k]).broadcast_to(outs_[0]));
  in_.resize(static_cast<size_t>(mains + extra));
  values_.resize(outputs);
}

void RefEpilogue::store_all(void* const* pointers, const Ix& index, std::span<const double> mains) {
  if (program_.empty()) {
    values_[0] = mains[0];
  } else {
    std::copy(mains.begin(), mains.end(), in_.begin());
    for (size_t k = 0; k < views_.size(); ++k) in_[static_cast<size_t>(mains_) + k] = views_[k].load(pointers[first_ + k], index);
    evaluate(program_, in_.data(), values_.data());
  }
  for (size_t k = 0; k < outs_.size(); ++k) outs_[k].store(pointers[slot_ + static_cast<int>(k)], index, values_[k]);
}

int64_t element_bytes(DType type) {
  INTERNAL_CHECK(bits(type) % 8 == 0, "packed type " << name(type) << " has no whole-byte elements");
  return bits(type) / 8;
}

int64_t load_index(DType type, const void* data, int64_t i) {
  if (type == DType::I64) return static_cast<const int64_t*>(data)[i];
  if (type == DType::I32) return static_cast<const int32_t*>(data)[i];
  return static_cast<int64_t>(load_as_double(type, data, i));
}

Status index_error(int64_t index, int64_t size) {
  return Status(Code::InvalidArgument, "index " + std::to_string(index) + " is out of range for a dimension of size " + std::to_string(size));
}

}  // namespace tuyere::cpu
