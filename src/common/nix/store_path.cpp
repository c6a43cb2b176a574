#include "common/nix/store_path.hpp"
