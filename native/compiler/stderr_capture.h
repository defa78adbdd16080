#pragma once

#include <string>

#include "common/unique_fd.h"

namespace tsbcc {

/// Redirects file descriptor 2 into memory while it lives: libbcc and clang have no other way to say what is wrong.
/// It is the whole process's stderr, so one capture at a time: see CompilerLock.
class StderrCapture {
 public:
  StderrCapture();
  ~StderrCapture();
  StderrCapture(const StderrCapture&) = delete;
  StderrCapture& operator=(const StderrCapture&) = delete;

  /// Ends the redirection; what was written meanwhile.
  std::string Finish();

 private:
  void Restore();

  UniqueFd saved_;
  UniqueFd memory_;
};

}  // namespace tsbcc
