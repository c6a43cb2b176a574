#include "common/nix/hash.hpp"
