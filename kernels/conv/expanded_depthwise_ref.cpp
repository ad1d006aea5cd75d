// SPDX-License-Identifier: Apache-2.0
// Both convolutions of an ExpandedDepthwise one after the other, through an image in the workspace: the reference's, and candidates that take other kernels.
// Their configuration names the two kernels.
#include <array>

#include "kernels/api/conv_blocks.h"
#include "kernels/conv/conv_kernels.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/pointwise/tile_loop.h"

namespace tuyere::cpu {
namespace {

/// One of the two: which operands it takes, in order. kImage is the image between them.
struct PartOfPair {
  static constexpr int kImage = -1;
  Op op;
  std::vector<int> operands;  // inputs, then the output
  PrepareArgs args;

  PartOfPair(const CpuProblem& p, Op o, std::vector<int> inputs, int output, const TensorView& image) : op(std::move(o)), operands(std::move(inputs)) {
    const auto constant = [&](int k) { return k != kImage && static_cast<size_t>(k) < p.args.constants.size(); };
    for (int k : operands) {
      args.in.push_back(k == kImage ? image : p.args.in[static_cast<size_t>(k)]);
      args.constants.push_back(constant(k) ? p.args.constants[static_cast<size_t>(k)] : nullptr);
      const bool named = k != kImage && static_cast<size_t>(k) < p.args.constant_keys.size();
      args.constant_keys.push_back(named ? p.args.constant_keys[static_cast<size_t>(k)] : "");
    }
    args.out = {output == kImage ? image : p.args.out[0]};
    operands.push_back(output);
    args.symbols = p.args.symbols;
    args.store = p.args.store;
    args.device = p.args.device;
  }
};

/// Dense, with the rows of the expansion's weight as channels.
TensorView image_between(const CpuProblem& p, DType type) {
  const TensorView &x = p.args.in[0], &w = p.args.in[1];
  TensorView image{type, w.shape, w.shape};
  image.shape[0] = x.shape[0];
  image.shape[1] = w.shape[0];
  for (size_t d = 0; d < attrs<ExpandedDepthwise>(p).stride.size(); ++d) image.shape[2 + d] = x.shape[2 + d];
  const bool blocks = in_blocks(w.shape.size(), attrs<ExpandedDepthwise>(p).stride.size());
  int64_t stride = 1;
  const auto place = [&](size_t d) {
    image.strides[d] = stride;
    stride *= image.shape[d];
  };
  if (!blocks) place(1);  // channels innermost, as images without blocks have them
  for (size_t d = image.shape.size(); d-- > 2;) place(d);
  if (blocks) place(1);
  place(0);
  return image;
}

class ConvPair {
 public:
  ConvPair(const CpuProblem& p, std::string_view first, std::string_view second, DType type)
      : image_(image_between(p, type)),
        names_{first, second},
        parts_{PartOfPair(p, expansion_of(attrs<ExpandedDepthwise>(p), type), inputs(p, 0), PartOfPair::kImage, image_),
               PartOfPair(p, window_of(attrs<ExpandedDepthwise>(p), channels(p)), inputs(p, 1), p.inputs(), image_)} {}

  int64_t image_bytes() const { return (bytes_of(image_.dtype, image_.numel()) + 255) / 256 * 256; }
  int64_t workspace_bytes() const {
    int64_t most = 0;
    for (size_t i = 0; i < 2; ++i) most = std::max(most, kernel_workspace(names_[i], problem(i)));
    return image_bytes() + most;
  }

  /// Calls of the two kernels.
  std::unique_ptr<Executable> prepare(const CpuProblem& p) const {
    struct Calls {
      std::array<std::unique_ptr<Executable>, 2> steps;
      std::array<std::vector<int>, 2> operands;
      int slot;
      int64_t image_bytes;
      Status operator()(void* const* ptr) const {
        Status status = Status::ok();
        for (size_t i = 0; i < 2 && status.is_ok(); ++i) {
          std::array<void*, TileLoop::kMaxOperands> pointers;
          size_t count = 0;
          for (int k : operands[i]) pointers[count++] = k == PartOfPair::kImage ? ptr[slot] : ptr[k];
          pointers[count] = static_cast<char*>(ptr[slot]) + image_bytes;
          status = steps[i]->run(pointers.data(), nullptr);
        }
        return status;
      }
    };
    Calls calls{{}, {}, p.workspace_slot(), image_bytes()};
    for (size_t i = 0; i < 2; ++i) {
      calls.steps[i] = prepare_kernel(names_[i], problem(i));
      calls.operands[i] = parts_[i].operands;
    }
    return executable(std::move(calls));
  }

 private:
  static int64_t channels(const CpuProblem& p) {
    const TensorView& w = p.args.in[1];
    return w.shape[0] * (in_blocks(w.shape.size(), attrs<ExpandedDepthwise>(p).stride.size()) ? w.shape.back() : 1);
  }
  static std::vector<int> inputs(const CpuProblem& p, int part) {
    const int rest = 3 + static_cast<int>(expansion_extras(attrs<ExpandedDepthwise>(p)));
    std::vector<int> list = part == 0 ? std::vector<int>{0, 1} : std::vector<int>{PartOfPair::kImage, 2};
    for (int k = part == 0 ? 3 : rest; k < (part == 0 ? rest : p.inputs()); ++k) list.push_back(k);
    return list;
  }
  CpuProblem problem(size_t i) const { return {parts_[i].op, config_, parts_[i].args}; }

  TensorView image_;
  std::string config_;  // of both kernels: theirs by default
  std::array<std::string_view, 2> names_;
  std::array<PartOfPair, 2> parts_;
};

ConvPair pair_of(const CpuProblem& p) {
  const std::string_view names = p.config;
  const size_t space = names.find(' ');
  INTERNAL_CHECK(space != std::string_view::npos, "the configuration '" << names << "' names no two kernels");
  return ConvPair(p, names.substr(0, space), names.substr(space + 1), p.args.in[0].dtype);
}
std::unique_ptr<Executable> prepare_apart(const CpuProblem& p) { return pair_of(p).prepare(p); }
int64_t workspace_apart(const CpuProblem& p) { return pair_of(p).workspace_bytes(); }

ConvPair reference_pair(const CpuProblem& p) { return ConvPair(p, "reference.conv", "reference.conv", DType::F64); }
std::unique_ptr<Executable> prepare_reference_pair(const CpuProblem& p) { return reference_pair(p).prepare(p); }
int64_t workspace_reference_pair(const CpuProblem& p) { return reference_pair(p).workspace_bytes(); }

}  // namespace

void add_expanded_depthwise_references(CpuKernelTable& table) {
  table.push_back({"reference.expanded_depthwise", prepare_reference_pair, workspace_reference_pair});
}

void add_expanded_apart_kernels(CpuKernelTable& table) {
  table.push_back({"own.expanded_depthwise.apart", prepare_apart, workspace_apart});
  table.push_back({"onednn.expanded_depthwise.apart", prepare_apart, workspace_apart});
}

}  // namespace tuyere::cpu
