// SPDX-License-Identifier: MIT
// The functions of OpenSSL 1.1, which its version 3 still has: through EVP every provider would be linked
// into vbd, 4 MB whose relocations each short command pays for (measured: 0.6 ms), and a configuration file
// would be read before the first digest.
#define OPENSSL_API_COMPAT 10101
#include "core/base/sha256.hpp"

#include <openssl/sha.h>

namespace vbd {

Sha256 sha256(const void *bytes, std::size_t length) {
  Sha256 digest{};
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, bytes, length);
  SHA256_Final(digest.data(), &context);
  return digest;
}

std::string hex(const Sha256 &digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace vbd
