#include "server/http/response.hpp"
