-- How the space is, and what is wrong with the server for it.
local view = load_view()

-- What INFO says, if this user may ask.
local function info(section)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and text or ''
end

local function field(text, name)
  return text:match('\n' .. name .. ':([^\r\n]*)')
end

local resources, last = 0, nil
for _, member in ipairs(call('ZRANGE', HOLDERS, 0, -1)) do
  local name = member:match('^%Z*')
  if name ~= last then
    resources, last = resources + 1, name
  end
end

local requests = {}
for _, id in ipairs(call('HKEYS', REQUESTS)) do
  local session = id:match('^[^.]*')
  requests[session] = (requests[session] or 0) + 1
end

local sessions = {}
local seen = call('ZRANGE', SEEN, 0, -1, 'WITHSCORES')
for index = 1, #seen, 2 do
  local session, at = seen[index], tonumber(seen[index + 1])
  local process = view.process_of(session)
  if process.lease then
    sessions[#sessions + 1] = '{"session":' .. quote(session) .. ',"pid":' .. whole(process.pid) .. ',"host":'
      .. quote(process.host) .. ',"program":' .. quote(process.program) .. ',"seen":' .. whole(at) .. ',"lease":'
      .. whole(process.lease) .. ',"requests":' .. whole(requests[session] or 0) .. ',"alive":'
      .. tostring(at + process.lease >= now) .. '}'
  end
end

local problems = {}
local policy = field(info('memory'), 'maxmemory_policy')
if policy and policy ~= 'noeviction' then
  problems[1] = quote('maxmemory-policy is ' .. policy
    .. ': a server short of memory would drop locks; set maxmemory-policy to noeviction')
end

local server = info('server')
local valkey, version = field(server, 'valkey_version'), field(server, 'redis_version')
local named = valkey and 'valkey ' .. valkey or version and 'redis ' .. version or 'redis'
local counters = call('HMGET', COUNTERS, 'reaped', 'deadlocks')
return '{"now":' .. NOW .. ',"layout":2,"resources":' .. whole(resources) .. ',"requests":'
  .. whole(call('HLEN', REQUESTS)) .. ',"sessions":[' .. table.concat(sessions, ',') .. '],"reaped":'
  .. (counters[1] or '0') .. ',"deadlocks":' .. (counters[2] or '0') .. ',"server":' .. quote(named) .. ',"problems":['
  .. table.concat(problems, ',') .. ']}'
