-- Part of every script: rows of requests, and the holders of a name.

-- Never the same twice, never backwards: arrival, tie-break and fencing token.
local function stamp()
  last_stamp = math.max(now, (last_stamp or tonumber(call('HGET', SESSIONS, 'stamp') or 0)) + 1)
  call('HSET', SESSIONS, 'stamp', whole(last_stamp))
  return last_stamp
end

-- Of many rows only the first three fields are read: until when they count.
local function read_row(packed)
  local session, since, max_hold, request, name, mode, owner, family, label, note, priority, pid, requested, token,
    waited, rank, ticket = cmsgpack.unpack(packed)
  if not ticket then
    error('damaged: a request has too few fields')
  end
  return {
    request = request, name = name, mode = mode, owner = owner, family = family, label = label, note = note,
    priority = priority, session = session, pid = pid, requested = requested, since = since, token = token,
    waited = waited, rank = rank, ticket = ticket, max_hold = max_hold,
  }
end

local function write_row(row)
  call('HSET', REQUESTS, row.request, cmsgpack.pack(row.session, row.since, row.max_hold, row.request, row.name,
    row.mode, row.owner, row.family, row.label, row.note, row.priority, row.pid, row.requested, row.token, row.waited,
    row.rank, row.ticket))
end

local function find(request)
  local packed = call('HGET', REQUESTS, request)
  return packed and read_row(packed)
end

-- A waiting request has no time since which it holds.
local function is_held(row)
  return row.since > 0
end

local function holder_member(row)
  return row.name .. '\0' .. (row.mode == 'write' and 'W' or 'r') .. '\0' .. row.owner .. '\0' .. row.request
end

-- Who holds a name, as far as the rule asks: `writer`, the owner who writes; else `reader`, an owner
-- who reads, and `several` if another one does as well.
local function look(name)
  local first = call('ZRANGEBYLEX', HOLDERS, '[' .. name .. '\0', '(' .. name .. '\1', 'LIMIT', 0, 1)[1]
  if not first then
    return {}
  end
  local mode, owner = first:match('^%z(.)%z(%Z*)%z', #name + 1)
  if mode == 'W' then
    return { writer = owner }
  end
  local last = call('ZREVRANGEBYLEX', HOLDERS, '(' .. name .. '\1', '[' .. name .. '\0', 'LIMIT', 0, 1)[1]
  return { reader = owner, several = last:match('^%z.%z(%Z*)%z', #name + 1) ~= owner }
end

-- Makes a request a holder.
local function hold(row, token)
  row.token, row.since, row.waited = token, now, math.max(now - row.requested, 0)
  write_row(row)
  call('ZADD', HOLDERS, 0, holder_member(row))
end

local function event(kind, row, elapsed)
  if kind == 'grant' or kind == 'release' then
    watched_until = watched_until or tonumber(call('HGET', SESSIONS, 'watched') or 0)
    if watched_until < now then
      return
    end
  end
  local sequence = whole(call('HINCRBY', COUNTERS, 'sequence', 1))
  local text = '{"sequence":' .. sequence .. ',"kind":"' .. kind .. '","at":' .. NOW .. ',"resource":' .. quote(row.name)
    .. ',"mode":"' .. row.mode .. '","owner":' .. quote(row.owner) .. ',"label":' .. quote(row.label) .. ',"pid":'
    .. whole(row.pid) .. ',"token":' .. whole(row.token) .. ',"elapsed":' .. whole(elapsed) .. '}'
  call('XADD', EVENTS, 'MAXLEN', '~', 10000, sequence .. '-0', 'event', text)
end

local function push(session, text)
  call('PUBLISH', PREFIX .. 'to:' .. session, text)
end

local function grant_json(row)
  return '{"granted":{"token":' .. whole(row.token) .. ',"since":' .. whole(row.since) .. ',"waited":'
    .. whole(row.waited) .. ',"owner":' .. quote(row.owner) .. '}}'
end

-- Ends a grant, with an event if it has a kind. The walk along the queue is the caller's.
local function let_go(row, ending, kind)
  call('HDEL', REQUESTS, row.request)
  call('ZREM', HOLDERS, holder_member(row))
  local held = math.max(now - row.since, 0)
  keep(row.name, ending, row.mode, row.label, row.pid, row.token, row.since, row.waited, held)
  if kind then
    event(kind, row, held)
  end
end
