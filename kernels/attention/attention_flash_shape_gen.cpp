// SPDX-License-Identifier: Apache-2.0
// Which variants of the tensor-core kernel there are, and what they cost.
#include <algorithm>
#include <cmath>

#include "kernels/attention/attention_gen.h"

namespace tuyere::attention {
namespace {

constexpr int kMaxRegisters = 255, kRegisterFile = 65536;
constexpr int kBesides = 58;       // addresses, fragments of keys and values, running maxima
constexpr int kBesidesWgmma = 44;  // addresses, running maxima
constexpr int kMask = 14;

/// Registers besides scores, sums and queries. Warpgroup instructions read keys and values from shared memory.
int besides(const View& v, const FlashShape& s) { return (s.wgmma ? kBesidesWgmma + s.keys / 16 : kBesides) + (v.mask.empty() ? 0 : kMask); }
/// Columns of a row in shared memory.
int64_t stored(int64_t depth, bool wgmma) { return wgmma ? (depth + 63) / 64 * 64 : (depth + 15) / 16 * 16; }
int64_t padded(int64_t depth) { return (depth + 15) / 16 * 16; }
int shared_limit(const Target& target) { return (target.sm >= 90 ? 227 : 163) * 1024; }

struct Sizes {
  double batch, heads, kv_heads, queries, keys;
  Sizes(const View& v, const Symbols& hints)
      : batch(at(v.batch, hints)), heads(at(v.heads, hints)), kv_heads(at(v.kv_heads, hints)), queries(at(v.queries, hints)), keys(at(v.keys, hints)) {}
  double rows(bool pack) const { return pack ? queries * heads / kv_heads : queries; }
  double groups(bool pack) const { return batch * (pack ? kv_heads : heads); }
  static double at(const Dim& d, const Symbols& hints) { return static_cast<double>(std::max<int64_t>(1, mma::hint(d, hints))); }
};

bool fits(const View& v, const Target& target, const FlashShape& s) {
  if (s.warps < 1 || s.warps > 16 || s.rows_per_warp() % 16 != 0) return false;
  if (s.wgmma && (s.warps % 4 != 0 || s.rows_per_warp() != 16)) return false;
  const int registers = s.registers(v);
  return registers <= kMaxRegisters && registers * s.threads() <= kRegisterFile && s.shared_bytes(v) <= shared_limit(target);
}

/// Powers of two, and what cuts a short length into one to three equal parts.
std::vector<int> parts(double length, int unit, std::vector<int> usual, int most) {
  for (int count : {1, 2, 3}) {
    const int part = static_cast<int>(std::ceil(length / count / unit)) * unit;
    if (part <= most && std::find(usual.begin(), usual.end(), part) == usual.end()) usual.push_back(part);
  }
  return usual;
}

/// Blocks may be too few to fill the device: their keys are shared out.
std::vector<int> split_counts(double blocks, double k_tiles, double slots) {
  std::vector<int> counts{1};
  for (double waves : {1.0, 0.5}) {
    const int count = static_cast<int>(std::min({slots * waves / blocks, k_tiles, 64.0}));
    if (count > 1 && std::find(counts.begin(), counts.end(), count) == counts.end()) counts.push_back(count);
  }
  return counts;
}

}  // namespace

bool FlashShape::keeps_queries(const View& v) const {
  const auto mt = rows_per_warp() / 16;
  return !wgmma && mt * (padded(v.depth) / 4 + keys / 2 + padded(v.value_depth) / 2) + besides(v, *this) <= kMaxRegisters - 9;
}

int FlashShape::registers(const View& v) const {
  const auto mt = rows_per_warp() / 16;
  return static_cast<int>(mt * ((keeps_queries(v) ? padded(v.depth) / 4 : 0) + keys / 2 + padded(v.value_depth) / 2)) + besides(v, *this);
}

int FlashShape::shared_bytes(const View& v) const {
  const int64_t dp = stored(v.depth, wgmma), dvp = stored(v.value_depth, wgmma);
  return static_cast<int>(std::max<int64_t>(2 * (queries * dp + stages * keys * (dp + dvp)), int64_t{warps} * 16 * 24 * 4)) + (wgmma ? 1024 : 0);
}

int FlashShape::resident(const View& v, const Target& target) const {
  const int rounded = (registers(v) + 7) / 8 * 8;
  const int threads_limit = (target.sm >= 90 ? 2048 : 1536) / threads();
  return std::max(1, std::min({kRegisterFile / (rounded * threads()), (shared_limit(target) + 1024) / (shared_bytes(v) + 1024), threads_limit, 8}));
}

Config str(const FlashShape& s) {
  return "queries=" + std::to_string(s.queries) + " keys=" + std::to_string(s.keys) + " warps=" + std::to_string(s.warps) +
         " stages=" + std::to_string(s.stages) + " splits=" + std::to_string(s.splits) + " pack=" + std::to_string(s.pack ? 1 : 0);
}

FlashShape parse_flash_shape(const Config& config) {
  const auto value = [&](const char* key) { return mma::config_ints(config, key)[0]; };
  return {value("queries"), value("keys"), value("warps"), value("stages"), value("splits"), value("pack") != 0};
}

std::vector<FlashShape> flash_shapes(const View& v, const Symbols& hints, const Target& target, bool wgmma) {
  const Sizes sizes(v, hints);
  std::vector<FlashShape> shapes;
  for (bool pack : {false, true}) {
    if (pack && v.share() < 2) continue;
    for (int per_warp : {16, 32})
      for (int queries : wgmma ? std::vector<int>{64, 128, 192, 256} : parts(sizes.rows(pack), 16, {16, 32, 64, 128, 256}, 256))
        for (int keys : parts(sizes.keys, 16, {32, 64, 96, 128}, 208)) {
          if (queries % per_warp != 0 || keys > sizes.keys + 63) continue;
          FlashShape shape{queries, keys, queries / per_warp, 2, 1, pack, wgmma};
          if (!fits(v, target, shape)) continue;
          const double blocks = std::ceil(sizes.rows(pack) / queries) * sizes.groups(pack);
          const double slots = std::max(1, target.multiprocessors) * shape.resident(v, target);
          for (int splits : split_counts(blocks, std::ceil(sizes.keys / keys), slots)) {
            shape.splits = splits;
            shapes.push_back(shape);
          }
        }
  }
  return shapes;
}

namespace {

/// Cycles of one warp for one tile of keys. Fitted to an H200.
struct TileCycles {
  double serial = 0;  // from its start to its end
  double busy = 0;    // of its scheduler's units
  TileCycles(const View& v, const FlashShape& shape) {
    constexpr double kMma = 7.6, kWgmma = 4.5, kWeight = 19, kWeightBusy = 0.3, kMaskValue = 12, kMatrixLoad = 8, kLatency = 600, kCopy = 4, kBarrier = 10;
    const double pieces = shape.rows_per_warp() / 16.0, depths = static_cast<double>(padded(v.depth) + padded(v.value_depth));
    const double products = pieces * shape.keys / 8 * depths / 16 * (shape.wgmma ? kWgmma : kMma);
    const double weights = pieces * shape.keys / 2 * (kWeight + (v.mask.empty() ? 0 : kMaskValue));
    const double again = shape.keeps_queries(v) || shape.wgmma ? 0 : pieces * static_cast<double>(padded(v.depth)) / 16;
    const double loads = shape.wgmma ? 0 : (shape.keys * depths * 2 / 512 + again) * kMatrixLoad;
    const double shared_out = shape.keys * depths * 2 / 16 / shape.threads() * kCopy + shape.warps * kBarrier;
    serial = products + weights + loads + shared_out + kLatency;
    busy = products + kWeightBusy * weights + loads + shared_out;
  }
};

}  // namespace

/// Waves of blocks; a block's tiles follow each other, and blocks on one multiprocessor overlap until its schedulers are busy.
double flash_seconds(const View& v, const Symbols& hints, const Target& target, const FlashShape& shape) {
  constexpr double kClock = 1.7e9, kSchedulers = 4, kBlockCycles = 600, kLaunch = 3e-6, kMerge = 2e-6, kMergeRate = 2e12;
  const Sizes size(v, hints);
  const double sms = std::max(1, target.multiprocessors);
  const double blocks = std::ceil(size.rows(shape.pack) / shape.queries) * size.groups(shape.pack) * shape.splits;
  const double here = std::min<double>(shape.resident(v, target), std::ceil(blocks / sms));
  const TileCycles one(v, shape);
  const double tile = std::max(one.busy * std::max(1.0, here * shape.warps / kSchedulers), one.serial);
  const double tiles = std::ceil(std::ceil(size.keys / shape.keys) / shape.splits), waves = std::ceil(blocks / (sms * here));
  double cycles = waves * tiles * tile;
  if (v.causal && size.queries > 1) {
    const double mean = 0.5 * tiles + 0.5, alone = std::max(one.serial, one.busy * std::max(1.0, shape.warps / kSchedulers));
    cycles = std::max({tiles * alone, blocks * mean * one.busy * std::max(1.0, static_cast<double>(shape.warps)) / kSchedulers / sms, waves * mean * tile});
  }
  const double elements = size.batch * (size.heads * size.queries + size.kv_heads * size.keys) * static_cast<double>(v.depth + v.value_depth);
  const double traffic = 2 * elements / ((target.copy_gbps > 0 ? target.copy_gbps : 1500) * 1e9);
  const double partial = 8 * shape.splits * size.batch * size.heads * size.queries * static_cast<double>(padded(v.value_depth));
  const double merge = shape.splits > 1 ? kMerge + partial / kMergeRate : 0;
  return kLaunch + merge + std::max(traffic, (cycles + kBlockCycles * waves) / kClock);
}

Support accepts_flash(const Problem& p) {
  Support shape = attention_shape(p);
  if (!shape) return shape;
  REQUIRE(p.in[0].dtype == DType::F16 || p.in[0].dtype == DType::BF16, "not f16 or bf16");
  for (int i : {0, 2}) {
    const int64_t depth = p.in[i].shape[3].value();
    REQUIRE(depth % 8 == 0 && depth <= 256, "head size is not a multiple of 8 up to 256");
  }
  for (int i = 0; i < 3; ++i) REQUIRE(p.in[i].strides[3].is_const(1), "head elements are not contiguous");
  return Support::yes();
}

std::vector<Config> flash_configs(const Problem& p, const Target& target, int level, bool wgmma) {
  const View v = view(p);
  std::vector<std::pair<double, Config>> all;
  for (const FlashShape& shape : flash_shapes(v, p.hints, target, wgmma)) all.push_back({flash_seconds(v, p.hints, target, shape), str(shape)});
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Config> configs;
  for (size_t i = 0; i < std::min<size_t>(all.size(), level <= 0 ? 1 : level * 2); ++i) configs.push_back(all[i].second);
  return configs;
}

}  // namespace tuyere::attention
