#include "common/nix/keys.hpp"
