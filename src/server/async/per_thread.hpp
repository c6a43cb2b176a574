// One T per thread, for objects that threads must not share.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace nixbuild::async {

// The objects live as long as the PerThread, which must outlive its use by any thread. Meant for a
// few threads that run as long as the program.
template <typename T>
class PerThread {
 public:
  explicit PerThread(std::function<std::unique_ptr<T>()> make) : make_(std::move(make)) {}
  PerThread(const PerThread&) = delete;
  PerThread& operator=(const PerThread&) = delete;

  T& get() {
    // This thread's object for each PerThread, of which there are few at a time.
    thread_local std::vector<std::pair<std::uint64_t, T*>> known;
    for (const auto& [id, object] : known) {
      if (id == id_) return *object;
    }
    std::unique_ptr<T> made = make_();
    T* const object = made.get();
    {
      const std::lock_guard lock(mutex_);
      objects_.push_back(std::move(made));
    }
    known.emplace_back(id_, object);
    return *object;
  }

 private:
  static std::uint64_t next_id() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  const std::uint64_t id_ = next_id();
  const std::function<std::unique_ptr<T>()> make_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> objects_;
};

}  // namespace nixbuild::async
