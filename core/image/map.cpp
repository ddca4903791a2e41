// SPDX-License-Identifier: MIT
#include "core/image/pieces.hpp"

namespace vbd::image {

Result<void> for_each_piece(const OpenImage &image, const std::function<Result<void>(const Piece &)> &visit) {
  Pieces pieces(image);
  for (;;) {
    VBD_TRY_ASSIGN(const auto piece, pieces.next());
    if (!piece) return {};
    if (auto visited = visit(*piece); !visited) return visited;
  }
}

}  // namespace vbd::image
