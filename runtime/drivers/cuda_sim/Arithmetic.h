// Arithmetic has one name for all types; the type picks the family.
#pragma once
#include "drivers/cuda_sim/Selector.h"

namespace heddle::cuda_sim {

void selectIntegerArithmetic(Selector &s, Type type); // IntegerFamily.cpp
void selectHalfArithmetic(Selector &s, Type type);    // HalfFamily.cpp
void selectHalfSpecial(Selector &s, Type type);       // ex2, tanh

} // namespace heddle::cuda_sim
