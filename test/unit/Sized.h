// Structs of the C interface that carry their size.
#pragma once

template <typename T> T sized() {
  T value{};
  value.struct_size = sizeof(T);
  return value;
}
