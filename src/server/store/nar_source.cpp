#include "server/store/nar_source.hpp"
