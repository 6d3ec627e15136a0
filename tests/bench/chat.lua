-- POSTs one prepared body over and over and prints what was measured as one JSON line.
-- The request is built once (no request() function), so that the generator costs as little as wrk can.
-- BENCH_BODY is a file, BENCH_HEADERS are "name: value" lines.
wrk.method = "POST"

local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.body = file:read("*a")
file:close()

for name, value in (os.getenv("BENCH_HEADERS") or ""):gmatch("([^:\n]+): ([^\n]*)") do
  wrk.headers[name] = value
end

-- BENCH_BEARERS is a file with a token a line: every request is built beforehand, and they are sent in turn.
local bearers = os.getenv("BENCH_BEARERS")
if bearers then
  local requests, turn = {}, 0
  function init()
    for token in io.lines(bearers) do
      wrk.headers["authorization"] = "Bearer " .. token
      requests[#requests + 1] = wrk.format()
    end
  end
  function request()
    turn = turn % #requests + 1
    return requests[turn]
  end
end

function done(summary, latency, requests)
  local line = '{"requests":%d,"duration_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,'
    .. '"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d}\n'
  local errors = summary.errors
  io.write("WRK_JSON ", line:format(summary.requests, summary.duration, errors.connect, errors.read, errors.write,
    errors.status, errors.timeout, latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
