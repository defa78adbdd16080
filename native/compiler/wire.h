#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tsbcc {

/*
 * What the compiler and the process that asked it say to each other: 32-bit numbers in the machine's order, and bytes
 * with their number before them. src/program/wire.ts is the other side.
 */

class WireInput {
 public:
  explicit WireInput(std::span<const uint8_t> bytes) : rest_(bytes) {}

  uint32_t Number() {
    uint32_t number;
    std::memcpy(&number, Take(sizeof(number)).data(), sizeof(number));
    return number;
  }
  std::string Text() {
    auto bytes = Take(Number());
    return {bytes.begin(), bytes.end()};
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    for (uint32_t left = Number(); left > 0; --left) texts.push_back(Text());
    return texts;
  }

 private:
  std::span<const uint8_t> Take(size_t size) {
    if (size > rest_.size()) throw std::runtime_error("the request is cut short");
    auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  std::span<const uint8_t> rest_;
};

class WireOutput {
 public:
  void Number(uint32_t number) { bytes_.append(reinterpret_cast<const char*>(&number), sizeof(number)); }
  void Bytes(std::span<const uint8_t> bytes) {
    Number(static_cast<uint32_t>(bytes.size()));
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  /// A null pointer, which libbcc gives for what is not there, is an empty text.
  void Text(const char* text) {
    std::string_view view(text ? text : "");
    Number(static_cast<uint32_t>(view.size()));
    bytes_ += view;
  }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace tsbcc
