#include "ir/Sha256.h"
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

TEST_CASE("SHA-256 equals LLVM's at every length around its blocks, however it comes in pieces") {
  std::vector<uint8_t> data(300);
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<uint8_t>(i * 151 + i / 7);
  for (size_t size = 0; size <= data.size(); ++size) {
    llvm::ArrayRef<uint8_t> bytes(data.data(), size);
    for (size_t piece : {1, 55, 63, 64, 65, 300}) {
      heddle::Sha256 hash;
      for (size_t at = 0; at < size; at += piece)
        hash.update(bytes.slice(at, std::min(piece, size - at)));
      REQUIRE(hash.final() == llvm::SHA256::hash(bytes));
    }
  }
}
