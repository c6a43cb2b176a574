#include "server/http/server.hpp"
