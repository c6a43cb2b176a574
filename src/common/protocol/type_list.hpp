// All types of types.hpp that are JSON objects, for code that is generated for each.
#pragma once

#include <string_view>

#include "common/protocol/types.hpp"

// Calls X(Type) for each type, after the types that it contains. clang-format does not converge on
// this list.
// clang-format off
#define NIXBUILD_PROTOCOL_TYPES(X) \
  X(RunningDerivation) \
  X(Progress) \
  X(Output) \
  X(BuildStatus) \
  X(TriggerReply) \
  X(CancelReply) \
  X(LogLines) \
  X(Phase) \
  X(Target) \
  X(DerivationTime) \
  X(Build) \
  X(BuildList) \
  X(Repository) \
  X(RepositoryList) \
  X(Info) \
  X(Health) \
  X(RecordedOutput) \
  X(RecordedTarget) \
  X(BuildRecord) \
  X(SignedRecord) \
  X(ErrorReply)
// clang-format on

namespace nixbuild::protocol {

// The type's name, for error messages and the OpenAPI document.
template <typename T>
std::string_view type_name();

#define NIXBUILD_TYPE_NAME(Type)              \
  template <>                                 \
  inline std::string_view type_name<Type>() { \
    return #Type;                             \
  }
NIXBUILD_PROTOCOL_TYPES(NIXBUILD_TYPE_NAME)
#undef NIXBUILD_TYPE_NAME

}  // namespace nixbuild::protocol
