-- The script of every case: wrk sends the given requests, counts the responses and prints the figures as JSON.
--
--   ADDRESSES="HOST:PORT …" wrk -tN … URL -- FILE [FIELD]
--
-- FILE has one request per line: method, path, Authorization and body, separated by tabs; the last two may be empty.
-- Without FIELD they are sent in turn, repeatedly. With FIELD each is sent once, and the value of that field in its
-- response, `{"FIELD": "…"}`, becomes the body of another request: a refresh token works once, and its response has
-- the successor. This needs more requests than connections, because each connection holds one.
--
-- Each thread uses one of the N ADDRESSES, and begins with its own part of the requests.

local MAX_QUOTED = 300

-- Globals: `setup` and `done` access them by name.
part = 0
not_2xx = 0
first_not_2xx = ""

local threads = {}
local queue, head = {}, 1
local field, pattern, first

function setup(thread)
   local number = 0
   for host, port in os.getenv("ADDRESSES"):gmatch("(%S+):(%d+)") do
      if number == #threads then thread.addr = wrk.lookup(host, port)[1] end
      number = number + 1
   end
   thread:set("part", #threads / number)
   threads[#threads + 1] = thread
end

local function enqueue(method, path, authorization, body)
   local headers = {}
   if authorization ~= "" then headers["Authorization"] = authorization end
   if body ~= "" then headers["Content-Type"] = "application/json" end
   local text = wrk.format(method, path, headers, body ~= "" and body or nil)
   queue[#queue + 1] = { text = text, method = method, path = path }
end

function init(arguments)
   field = arguments[2]
   for line in io.lines(arguments[1]) do
      enqueue(line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$"))
   end
   first = queue[1]
   head = math.floor(part * #queue) + 1
   pattern = field and '"' .. field .. '"%s*:%s*"([^"]+)"'
end

function request()
   local next_one = queue[head]
   if field == nil then
      head = head % #queue + 1
   elseif next_one ~= nil then
      queue[head] = false
      head = head + 1
   else
      -- Only error responses, which have no successor, can exhaust the queue; `done` reports the first of them.
      return wrk.format("GET", "/there-is-no-successor-left")
   end
   return next_one.text
end

function response(status, _headers, body)
   if status < 200 or status > 299 then
      not_2xx = not_2xx + 1
      if first_not_2xx == "" then
         first_not_2xx = status .. " " .. body:sub(1, MAX_QUOTED)
      end
   elseif field ~= nil then
      enqueue(first.method, first.path, "", '{"' .. field .. '":"' .. body:match(pattern) .. '"}')
   end
end

local function quoted(text)
   local escaped = text:gsub('[%c"\\\127-\255]', function(character)
      return string.format("\\u%04x", character:byte())
   end)
   return '"' .. escaped .. '"'
end

function done(summary, latency, _requests)
   local errors = summary.errors
   local refused, first_refused = 0, ""
   for _, thread in ipairs(threads) do
      refused = refused + thread:get("not_2xx")
      if first_refused == "" then first_refused = thread:get("first_not_2xx") end
   end
   print(string.format(
      '\n{"responses": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "not_2xx": %d, "first_not_2xx": %s, '
         .. '"connect": %d, "read": %d, "write": %d, "timeout": %d}',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
      refused, quoted(first_refused),
      errors.connect, errors.read, errors.write, errors.timeout
   ))
end
