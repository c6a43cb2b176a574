// The handlers of /realisations/ID.doi and /build-trace-v2/DRV/OUTPUT.doi: the store path to which
// an output of a content-addressed derivation was realised.
//
// Source of the formats: the files that `nix copy --to file://…` writes below realisations/ (Nix
// 2.4 to 2.34) and below build-trace-v2/ (Nix 2.35 and later).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "common/nix/store_path.hpp"
#include "server/cache/signing_keys.hpp"
#include "server/cache/verifying_keys.hpp"
#include "server/http/response.hpp"
#include "server/store/realisation.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class Realisations {
 public:
  // If `only_signed_by` is not empty, a realisation is served if one of these keys signed it and
  // its output is served as well.
  Realisations(store::StoreReader& store, const SigningKeys& keys,
               const VerifyingKeys& only_signed_by)
      : store_(store), keys_(keys), only_signed_by_(only_signed_by) {}

  // `id`: "sha256:<hash>!<output>"
  http::Reply handle_realisation(std::string_view id);
  http::Reply handle_build_trace(std::string_view derivation, std::string_view output);

 private:
  boost::asio::awaitable<http::Response> answer_realisation(std::string id);
  boost::asio::awaitable<http::Response> answer_build_trace(nix::StorePath derivation,
                                                            std::string output);

  store::StoreReader& store_;
  const SigningKeys& keys_;
  const VerifyingKeys& only_signed_by_;
};

// What of the realisation one of `keys` has signed: all of it, or, as Nix 2.34 signs and reads it,
// all but its dependencies. Nothing if none has.
std::optional<store::Realisation> signed_part(store::Realisation realisation,
                                              const VerifyingKeys& keys);
bool is_signed(const nix::StorePath& derivation, std::string_view output,
               const store::BuildTrace& trace, const VerifyingKeys& keys);
// Both signed by every key.
std::string render_realisation(const store::Realisation& realisation, const SigningKeys& keys);
std::string render_build_trace(const nix::StorePath& derivation, std::string_view output,
                               const store::BuildTrace& trace, const SigningKeys& keys);

}  // namespace nixbuild::cache
