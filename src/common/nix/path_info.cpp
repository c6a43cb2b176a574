#include "common/nix/path_info.hpp"
