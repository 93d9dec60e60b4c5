// Random modules that are valid by construction: executable examples without their expected results.
#pragma once
#include <cstdint>
#include <string>

namespace heddle::random_modules {

/// The text of the module that `seed` stands for, with one function and its calls. Its kinds: a function of
/// tensors, a text entry with caches, an embedding entry. Numbers stay within a few orders of magnitude of 1,
/// so that tolerances stay sharp.
std::string generateModule(uint64_t seed);

} // namespace heddle::random_modules
