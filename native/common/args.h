#pragma once

#include <napi.h>

#include <cstdint>
#include <span>
#include <string>

namespace tsbcc {

/*
 * Arguments and options as TypeScript hands them over. TypeScript has checked them; what is checked here again is only
 * what memory safety rests on: that bytes are bytes.
 */

inline std::span<uint8_t> Bytes(const Napi::Value& value) {
  if (!value.IsTypedArray()) throw Napi::TypeError::New(value.Env(), "expected a Uint8Array");
  auto array = value.As<Napi::TypedArray>();
  return {static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
}

inline std::span<uint8_t> OptionalBytes(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return {};
  return Bytes(value);
}

inline int32_t Int(const Napi::Value& value) {
  return value.ToNumber().Int32Value();
}
inline uint32_t Uint(const Napi::Value& value) {
  return value.ToNumber().Uint32Value();
}
inline std::string String(const Napi::Value& value) {
  return value.ToString().Utf8Value();
}

/// Reads a property of an options object, or the fallback where it is undefined.
inline int32_t IntOption(const Napi::Object& options, const char* name, int32_t fallback = 0) {
  Napi::Value value = options.Get(name);
  return value.IsUndefined() || value.IsNull() ? fallback : Int(value);
}

inline std::string StringOption(const Napi::Object& options, const char* name) {
  Napi::Value value = options.Get(name);
  return value.IsUndefined() || value.IsNull() ? std::string() : String(value);
}

inline std::span<uint8_t> BytesOption(const Napi::Object& options, const char* name) {
  return OptionalBytes(options.Get(name));
}

inline Napi::Value CopyBytes(Napi::Env env, const void* data, size_t size) {
  auto array = Napi::Uint8Array::New(env, size);
  if (size > 0) std::copy_n(static_cast<const uint8_t*>(data), size, array.Data());
  return array;
}

}  // namespace tsbcc
