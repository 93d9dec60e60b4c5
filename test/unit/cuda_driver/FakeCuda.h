// A libcuda.so.1 for tests of the CUDA driver: its device is the PTX simulator. It counts what lives, writes
// down which functions were called, and fails where it is told to.
#pragma once
#include <string>
#include <vector>

struct FakeCuda {
  // What the device is.
  int driverVersion = 12040, devices = 1, architecture = 80;
  // Call number `failAt` (from 0, of those that may fail) returns `failure`; -1: none does.
  int failAt = -1, failure = 2;
  // A kernel goes wrong: waiting returns it from now on. 0: all is well.
  int kernelFailure = 0;

  // What happened.
  int callsThatMayFail = 0;
  std::vector<std::string> calls;
  std::string image; // last code that was loaded
  long kernels = 0;  // that ran
  int contexts = 0, allocations = 0, modules = 0, streams = 0, graphs = 0;

  int living() const { return contexts + allocations + modules + streams + graphs; }
  int callsOf(const std::string &name) const {
    int count = 0;
    for (const std::string &call : calls)
      count += call == name;
    return count;
  }
};

/// The one of the loaded library.
extern "C" FakeCuda *heddle_fake_cuda();
