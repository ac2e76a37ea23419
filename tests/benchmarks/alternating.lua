-- wrk asks for one thing and for another in turns of a quarter of a second, on the same connections.
-- Arguments: a target and an Authorization header ("" for none) of each, and the Accept header.
local ffi = require("ffi")
ffi.cdef([[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *at);
]])

local TURN = 0.25
local MONOTONIC = 1
local at = ffi.new("moment")
local requests, threads = {}, {}
local current, count, began = 1, 0, nil
-- Global, for done() reads them by name: requests and seconds of the whole turns of each.
requests_1, requests_2, seconds_1, seconds_2 = 0, 0, 0, 0

local function now()
  ffi.C.clock_gettime(MONOTONIC, at)
  return tonumber(at.seconds) + tonumber(at.nanoseconds) / 1e9
end

local function turn(time)
  if current == 1 then
    requests_1, seconds_1 = requests_1 + count, seconds_1 + time - began
  else
    requests_2, seconds_2 = requests_2 + count, seconds_2 + time - began
  end
  current, count, began = 3 - current, 0, time
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  for number = 1, 2 do
    local headers = { Accept = arguments[5] }
    local authorization = arguments[2 * number]
    if authorization ~= "" then
      headers.Authorization = authorization
    end
    requests[number] = wrk.format("GET", arguments[2 * number - 1], headers)
  end
end

function request()
  local time = now()
  began = began or time
  if time - began >= TURN then
    turn(time)
  end
  count = count + 1
  return requests[current]
end

function done()
  for number = 1, 2 do
    local said = threads[1]:get("requests_" .. number)
    print(string.format("%d: %d in %.6f s", number, said, threads[1]:get("seconds_" .. number)))
  end
end
