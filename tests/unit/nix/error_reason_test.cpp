#include "common/nix/error_reason.hpp"

#include <doctest/doctest.h>

using namespace nixbuild;
using namespace nixbuild::nix;

TEST_CASE("the reason in what git and nix write") {
  CHECK(reason_in("").empty());
  CHECK(reason_in("warning: x\nlast line\n\n") == "last line");
  CHECK(reason_in("error: \xff\xfe is no name") == "\uFFFD\uFFFD is no name");
  CHECK(reason_in("error: this one throws\n(use '--show-trace' to show detailed location "
                  "information)\n") == "this one throws");
  CHECK(reason_in("\x1b[31;1merror:\x1b[0m red\n") == "red");
  CHECK(reason_in("fatal: unable to access 'https://x/': Could not resolve host: x\n") ==
        "unable to access 'https://x/': Could not resolve host: x");
}

TEST_CASE("the innermost of Nix's errors is the reason") {
  CHECK(reason_in("error:\n       \xe2\x80\xa6 while evaluating 'x'\n         at /f.nix:1:1:\n\n"
                  "       error: attribute 'nothing' missing\n       at /f.nix:2:2:\n") ==
        "attribute 'nothing' missing");
  CHECK(reason_in("error:\n       \xe2\x80\xa6 while x\n\n       the reason\n") == "the reason");
}

TEST_CASE("git's reason stands for Nix's when that only says that git failed") {
  CHECK(reason_in("fatal: '/dead' does not appear to be a git repository\n"
                  "fatal: Could not read from remote repository.\n\n"
                  "error: program 'git' failed with exit code 128\n") ==
        "'/dead' does not appear to be a git repository");
}

TEST_CASE("who was killed did not end for what it said before") {
  Exit exit;
  exit.code = 128 + 9;
  exit.signal = 9;
  exit.error = "warning: Git tree is dirty\n";
  CHECK(reason_of(exit) == "killed by signal 9");
}

TEST_CASE("a reason has a bound, and is not cut within a character") {
  std::string text = "error: ";
  for (int i = 0; i < 1000; ++i)
    text += "\xc3\xbc";
  const std::string reason = reason_in(text);
  CHECK(reason.size() < 610);
  CHECK(reason.ends_with("\xc3\xbc\xe2\x80\xa6"));
}

TEST_CASE("reasons in several lines, as Nix 2.29 and newer write them") {
  CHECK(reason_in("error: Cannot build '/nix/store/a-x.drv'.\n"
                  "       Reason: builder failed with exit code 3.\n"
                  "       Output paths:\n         /nix/store/b-x\n"
                  "       Last 1 log lines:\n       > Reason: forged\n") ==
        "Cannot build '/nix/store/a-x.drv': builder failed with exit code 3");
  CHECK(reason_in("error: Cannot build '/nix/store/a-x.drv'.\n"
                  "       Reason: platform mismatch\n"
                  "       Required system: 'riscv64-linux'\n"
                  "       Current system: 'x86_64-linux'\n") ==
        "Cannot build '/nix/store/a-x.drv': platform mismatch (required system: 'riscv64-linux', "
        "current system: 'x86_64-linux')");
}

TEST_CASE("a wrong hash is told with the right one") {
  CHECK(reason_in("error: hash mismatch in fixed-output derivation '/nix/store/a-x.drv':\n"
                  "         specified: sha256-AAAA\n            got:    sha256-c8s4\n") ==
        "hash mismatch in fixed-output derivation '/nix/store/a-x.drv' (specified: sha256-AAAA, "
        "got: sha256-c8s4)");
}

TEST_CASE("the end of a log that follows is not part of a reason") {
  CHECK(reason_in("error: builder for '/nix/store/a-x.drv' failed with exit code 3;\n"
                  "       last 1 log lines:\n       > about to break\n") ==
        "builder for '/nix/store/a-x.drv' failed with exit code 3");
}
