#include "common/nix/narinfo.hpp"
