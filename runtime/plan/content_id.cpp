// SPDX-License-Identifier: Apache-2.0
// A fast 128-bit content hash: four multiply-rotate lanes over 8-byte words, then a mix. Not cryptographic. Part of the file format (blob names).
#include <bit>
#include <cstring>

#include "runtime/plan/plan.h"
#include "runtime/plan/plan_json.h"

namespace tuyere {
namespace {

constexpr uint64_t kA = 0x9e3779b97f4a7c15u, kB = 0xc2b2ae3d27d4eb4fu, kC = 0x165667b19e3779f9u;

uint64_t rotate(uint64_t v, int n) { return (v << n) | (v >> (64 - n)); }

uint64_t word(const std::byte* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  if constexpr (std::endian::native == std::endian::big) v = __builtin_bswap64(v);
  return v;
}

uint64_t step(uint64_t lane, uint64_t value) { return rotate(lane ^ (value * kB), 31) * kA + kC; }

uint64_t finish(uint64_t v) {
  v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
  v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
  return v ^ (v >> 31);
}

void append_hex(std::string& out, uint64_t v) {
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[(v >> shift) & 15];
}

}  // namespace

std::string content_id(std::span<const std::byte> bytes) {
  uint64_t lanes[4] = {kA, kB, kC, bytes.size()};
  const std::byte* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 32; left -= 32, p += 32)
    for (int i = 0; i < 4; ++i) lanes[i] = step(lanes[i], word(p + 8 * i));
  std::byte tail[32] = {};
  if (left) std::memcpy(tail, p, left);
  for (int i = 0; i < 4; ++i) lanes[i] = step(lanes[i], word(tail + 8 * i));
  const uint64_t low = finish(lanes[0] + rotate(lanes[1], 13) + rotate(lanes[2], 29) + rotate(lanes[3], 47));
  const uint64_t high = finish((lanes[3] ^ rotate(lanes[2], 17) ^ rotate(lanes[1], 37) ^ rotate(lanes[0], 53)) + low);
  std::string id;
  append_hex(id, high);
  append_hex(id, low);
  return id;
}

std::string blob_hash(const std::vector<std::byte>& blob) { return content_id(blob); }

}  // namespace tuyere
