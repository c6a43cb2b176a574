#include "common/net/listen_address.hpp"
