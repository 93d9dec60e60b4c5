// Packs stored rows of a weight matrix into the `w16` layout that CPU kernels read (docs/kernel-abi.md).
#pragma once
#include "ir/StorageFormat.h"
#include <span>

namespace heddle {

/// Packs up to 16 rows, each `columns` elements as a file stores them, into one row group of
/// packedGroupBytes(format, columns) bytes. Rows that are missing become zero rows. `columns` is a multiple
/// of the format's block; rows may come from different tensors. Works group by group, so that a caller can
/// stream.
void packGroup(StorageFormat format, std::span<const std::span<const uint8_t>> rows, int64_t columns,
               std::span<uint8_t> group);

} // namespace heddle
