// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/memory.h"

#include <cstdlib>
#include <string>

#include "common/host_memory.h"

namespace tuyere {

Memory::~Memory() {
  if (!data_) return;
  if (lender_)
    lender_->release(lender_->user, data_, device_);
  else if (device_ >= 0)
    api_->free(device_, data_);
  else
    std::free(data_);
}

Result<Memory> Memory::allocate(int64_t bytes, int device, DeviceApi* api, void* stream) {
  Memory memory;
  if (bytes <= 0) return memory;
  const HostTable& table = host_table();
  memory.device_ = device;
  memory.api_ = api;
  if (table.allocate && table.release) {
    memory.lender_ = &table;
    memory.data_ = table.allocate(table.user, bytes, device, stream);
    // A framework's allocator may hand out memory that earlier work on `stream` still uses.
    if (memory.data_ && device >= 0 && !api->is_capturing(stream)) TRY(api->synchronize(stream));
  } else if (device >= 0) {
    TRY_ASSIGN(memory.data_, api->alloc(device, bytes));
  } else {
    memory.data_ = allocate_host(static_cast<size_t>(bytes));
  }
  if (!memory.data_) return Status(Code::OutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
  memory.bytes_ = bytes;
  return memory;
}

}  // namespace tuyere
