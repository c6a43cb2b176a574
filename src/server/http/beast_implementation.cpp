// Beast, compiled once here instead of in every file that includes it
// (BOOST_BEAST_SEPARATE_COMPILATION).
#include <boost/beast/src.hpp>
