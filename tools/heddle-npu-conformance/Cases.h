// Cases of the conformance suite: a program for an NPU, the memory that it is given, and what memory holds
// afterwards. test/e2e/npu/cases.py writes the files.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace heddle::npu_conformance {

using Bytes = std::vector<unsigned char>;

struct Buffer {
  bool writable;
  Bytes input, expected; // expected: as long as the input where the case ends well and the buffer is writable
};

struct Case {
  std::string name;
  // Error: any status but HEDDLE_OK is right, and what memory holds is not looked at. Hazard: what happens
  // depends on timing or on what memory held before; simulators find it, hardware need not.
  enum class Ends { Well, Error, Hazard } ends;
  int64_t dims[3];
  Bytes code; // heddle/npu.h, with one function, "kernel"
  std::vector<Buffer> buffers;
};

/// False with `error`.
bool readCases(const std::string &path, std::vector<Case> &out, std::string &error);

} // namespace heddle::npu_conformance
