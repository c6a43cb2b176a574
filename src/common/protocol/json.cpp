#include "common/protocol/json.hpp"
