#pragma once

#include <fcntl.h>

#include <cstdio>

#include "common/unique_fd.h"

namespace tsbcc {

/// Sends file descriptor 2 to /dev/null while it lives: libbcc complains there about what is only asked for here.
class StderrSilence {
 public:
  StderrSilence() : saved_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    UniqueFd null(open("/dev/null", O_WRONLY | O_CLOEXEC));
    std::fflush(stderr);
    if (saved_ && null) dup2(null.get(), STDERR_FILENO);
  }
  ~StderrSilence() {
    std::fflush(stderr);
    if (saved_) dup2(saved_.get(), STDERR_FILENO);
  }
  StderrSilence(const StderrSilence&) = delete;
  StderrSilence& operator=(const StderrSilence&) = delete;

 private:
  UniqueFd saved_;
};

}  // namespace tsbcc
