// Work in a child process, so that a crash or a hang is a result like another.
#pragma once
#include "llvm/ADT/STLFunctionalExtras.h"
#include <optional>
#include <string>

namespace heddle::run_ir {

/// What `work` wrote to its descriptor, and how the child ended.
struct Outcome {
  std::string text;
  std::string death; // "signal 11 (Segmentation fault)", "no result within 120 s of processor time"; empty:
                     // it returned
};

/// Runs `work` in a fork of this process; it has `seconds` of processor time, and ten times as many by the
/// clock, until it is ended.
Outcome isolated(llvm::function_ref<void(int descriptor)> work, unsigned seconds);

/// Finding of `check`, with these options, in a child; that the child dies is a finding of its last stage.
struct Finding;
struct CheckOptions;
std::optional<Finding>
isolatedCheck(const CheckOptions &options,
              llvm::function_ref<std::optional<Finding>(const CheckOptions &options)> check,
              unsigned seconds = 120);

/// Gives `seconds` anew, in the child.
void stillAlive(unsigned seconds);

void writeText(int descriptor, const std::string &text);

} // namespace heddle::run_ir
