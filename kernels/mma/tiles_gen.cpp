// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/error.h"
#include "kernels/mma/gemm.h"

namespace tuyere::mma {
namespace {

struct Machine {
  double flops_per_sm, bytes_per_s, l2_bytes_per_s;
  int sms;
  int shared_bytes;
};

/// Rates that a kernel of mma.sync (or FFMA) instructions reaches.
Machine machine(const Target& target, bool simt, int element) {
  Machine m;
  m.sms = multiprocessors(target);
  // On sm_90 mma.sync reaches about 0.6 of the wgmma rate, on sm_100 less.
  const double share = target.sm >= 100 ? 0.25 : target.sm >= 90 ? 0.6 : 0.85;
  const double ffma = target.sm >= 90 ? 55e12 : 17e12;
  m.flops_per_sm = (simt ? ffma : tensor_rate(target) * share / (element == 4 ? 2 : 1)) / m.sms;
  m.bytes_per_s = copy_rate(target);
  m.l2_bytes_per_s = 2.0 * m.bytes_per_s;
  m.shared_bytes = shared_limit(target);
  return m;
}

const Tile kMmaTiles[] = {{128, 256, 32, 3, 2, 4}, {128, 192, 32, 3, 2, 4}, {256, 128, 32, 3, 4, 2}, {128, 128, 32, 4, 2, 2}, {128, 128, 64, 3, 2, 2},
                          {128, 128, 32, 3, 2, 4}, {128, 64, 32, 4, 2, 2},  {128, 64, 64, 3, 2, 2},  {64, 128, 32, 4, 2, 2},  {64, 128, 64, 3, 2, 2},
                          {256, 64, 32, 3, 4, 1},  {64, 64, 32, 4, 2, 2},   {64, 64, 64, 3, 2, 2},   {128, 32, 32, 4, 4, 1},  {128, 32, 64, 3, 4, 1},
                          {64, 32, 64, 4, 2, 2},   {32, 128, 64, 4, 1, 4},  {32, 64, 64, 4, 1, 4},   {16, 128, 64, 4, 1, 4},  {16, 64, 64, 5, 1, 4},
                          {128, 16, 64, 4, 4, 1},  {64, 16, 64, 5, 4, 1},   {32, 32, 64, 4, 2, 2}};
const Tile kSimtTiles[] = {{128, 128, 16, 3, 0, 0, 1, true}, {128, 64, 16, 3, 0, 0, 1, true}, {64, 128, 16, 3, 0, 0, 1, true}, {64, 64, 16, 4, 0, 0, 1, true},
                           {64, 32, 16, 4, 0, 0, 1, true},   {32, 64, 16, 4, 0, 0, 1, true},  {32, 32, 32, 4, 0, 0, 1, true},  {128, 32, 16, 3, 0, 0, 1, true}};

}  // namespace

int multiprocessors(const Target& target) { return target.multiprocessors > 0 ? target.multiprocessors : target.sm >= 90 ? 132 : 108; }
int shared_limit(const Target& target) { return target.sm >= 90 ? 227 * 1024 : 163 * 1024; }
double copy_rate(const Target& target) { return (target.copy_gbps > 0 ? target.copy_gbps : target.sm >= 90 ? 3000 : 1500) * 1e9; }
double tensor_rate(const Target& target) {
  return (target.tensor_tflops > 0 ? target.tensor_tflops : target.sm >= 100 ? 2250 : target.sm >= 90 ? 989 : 312) * 1e12;
}

int Tile::shared_bytes(int element) const {
  const int epilogue = simt ? 16 * (bn + 4) * 4 : warps_m * warps_n * 16 * (bn / warps_n + 8) * 4;
  return std::max(stages * stage_bytes(element), epilogue);
}

Config str(const Tile& t) {
  Config text = "tile=" + std::to_string(t.bm) + "x" + std::to_string(t.bn) + "x" + std::to_string(t.bk) + " stages=" + std::to_string(t.stages);
  if (!t.simt) text += " warps=" + std::to_string(t.warps_m) + "x" + std::to_string(t.warps_n);
  return text + " splitk=" + std::to_string(t.splits);
}

Tile parse_tile(const Config& config, bool simt) {
  Tile t;
  t.simt = simt;
  const std::vector<int> tile = config_ints(config, "tile");
  INTERNAL_CHECK(tile.size() == 3, "tile of configuration '" << config << "'");
  t.bm = tile[0], t.bn = tile[1], t.bk = tile[2];
  t.stages = config_ints(config, "stages")[0];
  t.splits = config_ints(config, "splitk")[0];
  if (simt) return t;
  const std::vector<int> warps = config_ints(config, "warps");
  INTERNAL_CHECK(warps.size() == 2, "warps of configuration '" << config << "'");
  t.warps_m = warps[0], t.warps_n = warps[1];
  return t;
}

double estimate(const GemmSize& size, const Tile& tile, const Target& target) {
  const Machine m = machine(target, tile.simt, size.element);
  const int64_t blocks = ceil_div(size.m, tile.bm) * ceil_div(size.n, tile.bn) * size.batch * tile.splits;
  const int64_t k_tiles = ceil_div(ceil_div(size.k, tile.bk), tile.splits);
  const int registers = tile.threads() * std::min(255, tile.bm * tile.bn / tile.threads() + 64);
  const int resident = std::max(1, std::min({m.shared_bytes / (tile.shared_bytes(size.element) + 1024), 65536 / registers, 2048 / tile.threads()}));
  // Shared-memory reads per multiply: small warp tiles starve the tensor cores.
  const double wm = tile.simt ? tile.bm / 16.0 : tile.bm / tile.warps_m, wn = tile.simt ? tile.bn / 16.0 : tile.bn / tile.warps_n;
  const double intensity = wm * wn / (wm + wn), full = tile.simt ? 4.0 : 32.0;
  const double efficiency = std::min(1.0, 0.35 + 0.65 * intensity / full);
  const double tile_seconds = 2.0 * tile.bm * tile.bn * tile.bk * k_tiles / (m.flops_per_sm * efficiency);
  // One block alone cannot fill a multiprocessor: its k-tiles wait for each other.
  const double latency = 1.5e-6 + k_tiles * 0.18e-6;
  const int64_t per_wave = int64_t(m.sms) * resident;
  const int64_t full_waves = blocks / per_wave, rest = blocks % per_wave;
  double compute = full_waves * std::max(tile_seconds * resident, latency);
  if (rest) compute += std::max(tile_seconds * ceil_div(rest, m.sms), latency);
  const double l2 = double(blocks) * (tile.bm + tile.bn) * tile.bk * k_tiles * size.element / m.l2_bytes_per_s;
  double seconds = std::max({compute, l2, size.bytes / m.bytes_per_s}) + 2e-6;
  if (tile.splits > 1) seconds += 3e-6 + 8.0 * tile.splits * size.m * size.n * size.batch / m.l2_bytes_per_s;
  return seconds;
}

std::vector<Config> tile_configs(const GemmSize& size, const Target& target, bool simt, int level) {
  std::vector<std::pair<double, Config>> all;
  const Machine m = machine(target, simt, size.element);
  auto consider = [&](Tile tile) {
    if (!simt && size.element == 4) tile.bk /= 2;
    if (tile.shared_bytes(size.element) > m.shared_bytes) return;
    const int64_t k_tiles = ceil_div(size.k, tile.bk), blocks = ceil_div(size.m, tile.bm) * ceil_div(size.n, tile.bn) * size.batch;
    for (int splits : {1, 2, 3, 4, 6, 8, 12, 16, 32}) {
      if (splits > 1 && (!size.may_split || k_tiles < 4 * splits || blocks * splits > 4 * m.sms)) break;
      tile.splits = splits;
      all.push_back({estimate(size, tile, target), str(tile)});
    }
  };
  if (simt)
    for (const Tile& t : kSimtTiles) consider(t);
  else
    for (const Tile& t : kMmaTiles) consider(t);
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const size_t count = level <= 0 ? 1 : level == 1 ? 3 : level == 2 ? 6 : level == 3 ? 10 : level == 4 ? 16 : 40;
  std::vector<Config> configs;
  for (size_t i = 0; i < std::min(count, all.size()); ++i) configs.push_back(all[i].second);
  return configs;
}

}  // namespace tuyere::mma
