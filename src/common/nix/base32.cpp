#include "common/nix/base32.hpp"
