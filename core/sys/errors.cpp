// SPDX-License-Identifier: MIT
#include "core/sys/errors.hpp"

#include <cerrno>

#include "core/sys/file_limit.hpp"

namespace vbd::sys {
namespace {

const ErrorKind &kind_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return kExists;
    case ENOSPC:
    case EDQUOT:
      return kNoSpace;
    case EFBIG:
      return kFileTooLarge;
    case EROFS:
      return kReadOnly;
    case EACCES:
    case EPERM:
      return kPermission;
    case ELOOP:
      return kSymlink;
    case EBUSY:
    case ETXTBSY:
      return kInUse;
    default:
      return kIo;
  }
}

}  // namespace

Error errno_error(std::string_view what, int error_number) {
  const Error error = system_error(kind_of(error_number), what, error_number);
  if (error_number != EFBIG) return error;
  return {kFileTooLarge, error.message(), "see 'ulimit -f', and how large a file this filesystem can have"};
}

}  // namespace vbd::sys
