// Packs stored rows of a weight matrix into the layouts that kernels read (docs/kernel-abi.md, docs/npu.md).
#pragma once
#include "ir/PackedLayout.h"
#include <span>

namespace heddle {

/// Packs up to 16 rows, each `columns` elements as a file stores them, into one row group of
/// packedGroupBytes(format, columns) bytes. Rows that are missing become zero rows. `columns` is a multiple
/// of the format's block; rows may come from different tensors. Works group by group, so that a caller can
/// stream.
void packGroup(StorageFormat format, std::span<const std::span<const uint8_t>> rows, int64_t columns,
               std::span<uint8_t> group);

/// The same for up to `layout.array` rows of `int8` and one panel of the NPU.
void packPanel(const PanelLayout &layout, std::span<const std::span<const uint8_t>> rows,
               std::span<uint8_t> panel);

/// One row of a table that the NPU looks rows up in.
void packGatherRow(StorageFormat format, const GatherLayout &layout, std::span<const uint8_t> row,
                   std::span<uint8_t> packed);

} // namespace heddle
