#include "common/fd.h"

namespace tsbcc {

Napi::Function Fd::Define(Napi::Env env) {
  return DefineClass(env, "Fd", {InstanceAccessor<&Fd::Number>("fd"), InstanceMethod<&Fd::Close>("close")});
}

Fd::Fd(const Napi::CallbackInfo& info) : ObjectWrap(info), fd_(info[0].ToNumber().Int32Value()) {}

Napi::Value Fd::Number(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), fd_.get());
}

void Fd::Close(const Napi::CallbackInfo&) {
  fd_.Reset();
}

void InitFd(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData{Napi::Persistent(Fd::Define(env))};
  env.SetInstanceData(data);
  exports.Set("Fd", data->fd.Value());
}

Napi::Value WrapFd(Napi::Env env, UniqueFd fd) {
  Napi::Object wrapped = env.GetInstanceData<AddonData>()->fd.New({Napi::Number::New(env, fd.get())});
  fd.Release();
  return wrapped;
}

}  // namespace tsbcc
