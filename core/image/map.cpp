// SPDX-License-Identifier: MIT
#include "core/image/pieces.hpp"

namespace vbd::image {

Result<void> for_each_piece(const OpenImage &image, const std::function<void(const Piece &)> &visit) {
  Pieces pieces(image);
  for (;;) {
    const auto piece = pieces.next();
    if (!piece) return piece.error();
    if (!*piece) return {};
    visit(**piece);
  }
}

}  // namespace vbd::image
