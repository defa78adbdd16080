#pragma once

#include <napi.h>

#include <array>

namespace tsbcc {

/// What a fast method is called with: numbers (booleans count as 0 and 1); what is not given is 0.
using FastArguments = std::array<double, 3>;

/**
 * Adds a method to one JavaScript object that calls `(owner->*kMethod)(env, arguments)` and gives the number that it
 * returns. It is a plain Node-API function that carries its owner as data: finding that from `this`, as ObjectWrap's
 * methods do, takes longer than all the rest of such a call. Exceptions become JavaScript's.
 */
template <class Owner, double (Owner::*kMethod)(Napi::Env, const FastArguments&)>
void AddFastMethod(Napi::Object self, Owner* owner, const char* name) {
  Napi::Env env = self.Env();
  napi_callback callback = [](napi_env env, napi_callback_info info) -> napi_value {
    FastArguments numbers{};
    napi_value values[std::tuple_size_v<FastArguments>];
    size_t count = numbers.size();
    void* data;
    if (napi_get_cb_info(env, info, &count, values, nullptr, &data) != napi_ok) return nullptr;
    for (size_t i = 0; i < numbers.size() && i < count; ++i) {
      bool flag;
      if (napi_get_value_double(env, values[i], &numbers[i]) != napi_ok &&
          napi_get_value_bool(env, values[i], &flag) == napi_ok)
        numbers[i] = flag;
    }
    napi_value result;
    try {
      double returned = (static_cast<Owner*>(data)->*kMethod)(env, numbers);
      return napi_create_double(env, returned, &result) == napi_ok ? result : nullptr;
    } catch (const Napi::Error& error) {
      error.ThrowAsJavaScriptException();
      return nullptr;
    }
  };
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, owner, &function) != napi_ok)
    throw Napi::Error::New(env);
  // A function that outlives the object it was taken from must keep it alive.
  Napi::Object(env, function).DefineProperty(Napi::PropertyDescriptor::Value("owner", self, napi_default));
  self.Set(name, Napi::Value(env, function));
}

}  // namespace tsbcc
