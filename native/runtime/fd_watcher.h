#pragma once

#include <napi.h>
#include <uv.h>

namespace tsbcc {

/// What can be done at a wake-up before JavaScript runs, so that it finds it done: crossing over and back takes long.
class WakeUpWork {
 public:
  /// What it returns is passed on to JavaScript's callback.
  virtual uint32_t OnWakeUp(Napi::Env env) = 0;
  /// Runs after the callback and the promises it resolved; whether the wait is to keep the event loop alive.
  virtual bool AfterWakeUp() = 0;

 protected:
  ~WakeUpWork() = default;
};

/// libuv's wait on a descriptor, on the event loop of the thread that made it.
class FdWatcher : public Napi::ObjectWrap<FdWatcher> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit FdWatcher(const Napi::CallbackInfo& info);
  ~FdWatcher() override;

 private:
  /// What libuv holds on to: it outlives this object until uv_close has called back.
  struct Handle {
    uv_poll_t poll;
    FdWatcher* owner;
    napi_async_cleanup_hook_handle hook;
  };

  void Start(const Napi::CallbackInfo& info);
  void Stop(const Napi::CallbackInfo& info);
  void KeepAlive(const Napi::CallbackInfo& info);
  void LetGo(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  static void OnReadable(uv_poll_t* poll, int status, int events);
  static void OnTeardown(napi_async_cleanup_hook_handle hook, void* handle);
  static void CloseHandle(Handle* handle);

  void StopPolling();
  void Release();

  Handle* handle_ = nullptr;
  bool started_ = false;
  Napi::FunctionReference callback_;
  /// Belongs to the object that is held.
  WakeUpWork* work_ = nullptr;
  Napi::ObjectReference worker_;
};

void InitFdWatcher(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
