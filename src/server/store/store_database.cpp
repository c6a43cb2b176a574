#include "server/store/store_database.hpp"
