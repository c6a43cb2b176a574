#include "server/builder/remote_refs.hpp"

#include <doctest/doctest.h>

using namespace nixbuild;
using namespace nixbuild::builder;

namespace {

config::Repository repository() {
  config::Repository repository;
  repository.name = "demo";
  repository.url = "https://git.example/demo";
  return repository;
}

}  // namespace

TEST_CASE("remote refs: branches and tags are told apart, and invalid names left out") {
  const RemoteRefs refs = parse_remote_refs(
      "aa\trefs/heads/main\nbb\trefs/heads/fix/one\ncc\trefs/tags/v1\nnonsense\n"
      "dd\trefs/heads/-x\nee\trefs/heads/a:b\nff\trefs/heads/\x1b[31m\ngg\trefs/pull/1\n");
  CHECK(refs.branches == std::vector<std::string>{"main", "fix/one"});
  CHECK(refs.tags == std::vector<std::string>{"v1"});
  CHECK(parse_remote_refs("").branches.empty());
}

TEST_CASE("remote refs: the only branch, main or master stands in for HEAD") {
  CHECK(branch_without_head({{"trunk"}, {}}) == "trunk");
  CHECK(branch_without_head({{"dev", "master"}, {}}) == "master");
  CHECK(branch_without_head({{"dev", "main", "master"}, {}}) == "main");
  CHECK(!branch_without_head({{"dev", "trunk"}, {"v1"}}));
  CHECK(!branch_without_head({}));
}

TEST_CASE("remote refs: what is absent is explained by what there is") {
  auto demo = repository();
  CHECK(absence(demo, {}) == "https://git.example/demo is empty; push a commit to it");
  CHECK(absence(demo, {{"dev", "trunk"}, {}}) ==
        "the HEAD of https://git.example/demo names a branch that does not exist; "
        "set branch to one of: dev, trunk");
  CHECK(absence(demo, {{}, {"v1", "v2"}}) ==
        "https://git.example/demo has no branches; set ref to one of its tags: v1, v2");
  demo.branch = "mian";
  CHECK(absence(demo, {{"dev", "main"}, {}}) ==
        "https://git.example/demo has no branch 'mian'; did you mean 'main'? branches: dev, main");
  demo.branch = "v1";
  CHECK(absence(demo, {{"main"}, {"v1"}}) ==
        "https://git.example/demo has no branch 'v1'; it is a tag, so set ref instead of branch");
  demo.branch.reset();
  demo.ref = "main";
  CHECK(absence(demo, {{"main"}, {}}) ==
        "https://git.example/demo has no tag 'main'; it is a branch, so set branch instead of ref");
  demo.ref = "v2";
  CHECK(absence(demo, {{"main"}, {}}) ==
        "https://git.example/demo has no tag 'v2'; it has no tags");
}

TEST_CASE("remote refs: a list of many branches is cut") {
  RemoteRefs refs;
  for (int i = 0; i < 35; ++i)
    refs.branches.push_back("b" + std::to_string(i));
  CHECK(absence(repository(), refs).ends_with("b28, b29, and 5 more"));
}
