-- What wrk asks for. Arguments, behind wrk's own and `--`:
--
--   paths FILE    the paths listed in FILE, a line each, over and over
--   once FILE     the same, each path once; the run is void when they do not suffice
--   absent SEED   narinfos of hash parts that no store has, each asked for once
--
-- The last line printed is `RESULT ` and one line of JSON. Times are in microseconds.

-- Runs for each thread, in wrk's main state.
local threads = {}
function setup(thread)
  table.insert(threads, thread)
  thread:set("thread_number", #threads)
end

-- Runs in each thread's own state.
function init(args)
  if args[1] == "absent" then
    begin_absent(tonumber(args[2]))
  else
    begin_paths(args[2], args[1] == "once")
  end
end

exhausted = 0

function begin_paths(file, once)
  local requests = {}
  for path in io.lines(file) do
    table.insert(requests, wrk.format("GET", path))
  end
  local count = #requests
  if once then
    -- Two threads: each has its half.
    local next = thread_number - 2
    request = function()
      next = next + 2
      if next >= count then
        exhausted = 1
        next = thread_number - 1
      end
      return requests[next + 1]
    end
  else
    -- Threads begin at different places.
    local next = thread_number * 7919
    request = function()
      next = next + 1
      return requests[next % count + 1]
    end
  end
end

-- Hash parts spread over the whole alphabet, so that they meet every part of an index, and never
-- come twice: the first six characters and the ten digits behind them are one number, which walks
-- through all of 1 to 2^31-2 (Park and Miller's generator).
function begin_absent(seed)
  local alphabet = "0123456789abcdfghijklmnpqrsvwxyz"
  local pairs_of = {}
  for first = 1, 32 do
    for second = 1, 32 do
      table.insert(pairs_of, alphabet:sub(first, first) .. alphabet:sub(second, second))
    end
  end
  -- The threads walk the same circle from places far apart.
  local number = 1 + (seed + thread_number * 1000000007) % 2147483646
  local floor, format = math.floor, string.format
  local head = "GET /"
  local tail = "zzzzzzzzzzzzzzzz.narinfo HTTP/1.1\r\nHost: localhost\r\n\r\n"
  request = function()
    number = number * 16807 % 2147483647
    return head .. pairs_of[number % 1024 + 1] .. pairs_of[floor(number / 1024) % 1024 + 1]
      .. pairs_of[floor(number / 1048576) % 1024 + 1] .. format("%010d", number) .. tail
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  for _, thread in ipairs(threads) do
    exhausted = math.max(exhausted, thread:get("exhausted"))
  end
  io.write(string.format(
    'RESULT {"requests": %d, "duration": %d, "p99": %d, "status_errors": %d, "socket_errors": %d, '
      .. '"exhausted": %d}\n',
    summary.requests, summary.duration, latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, exhausted))
end
