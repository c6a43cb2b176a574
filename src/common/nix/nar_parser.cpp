#include "common/nix/nar.hpp"
