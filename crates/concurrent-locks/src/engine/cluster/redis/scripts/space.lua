-- Part of every script: the keys, the clock, who asks, and rows of requests.
--
-- The whole state of a space is in the keys below, all in one slot; a script is atomic.
--
--   requests  HASH    request id -> row (MessagePack, `read_row`)
--   holders   ZSET    name \0 W|r \0 owner \0 request id; all scores 0, so the order is that of bytes:
--                     the first member of a name is a writer if there is one, readers stand by owner
--   queue     ZSET    name \0 rank \0 ticket \0 request id, and for the same request
--                     \0 owner \0 name \0 request id (names are not empty, so the two kinds keep apart)
--   seen      ZSET    session -> when it was heard of last
--   sessions  HASH    session -> lease, pid, host, program (MessagePack). Here, because every verb of
--                     a session reads it: `stamp`, the last one; `watched`, until when somebody looks
--                     at the events of grants and releases
--   counters  HASH    sequence of the last event, reaped, deadlocks, sweep, sweep_cursor
--   events    STREAM  <sequence>-0 -> JSON
--   orders    HASH    earlier \0 later -> label
--   names     ZSET    name that has a history -> when it was noted last
--   stat:NAME LIST    the history of one name (`history.lua`)
--
-- Nobody waits for a name that nobody holds: whoever takes a holder away walks along the queue.
local REQUESTS, HOLDERS, QUEUE, SEEN, SESSIONS, COUNTERS, EVENTS, ORDERS =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local PREFIX = REQUESTS:sub(1, -#'requests' - 1)
local HISTORY_SECONDS = 86400
local HEAD_START = 1000000
local UNKNOWN = '{"unknown":{}}'

local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

-- Whole numbers have up to 16 digits here: Lua's own text of them, and that of cjson, has 14.
local function whole(number)
  return string.format('%.0f', number)
end

local NOW = whole(now)
local quote = cjson.encode

-- What `enter` has read, so that nobody need ask again.
local watched_until, last_stamp

-- Confirms that the session lives. Its process id, or nil if nobody said hello for it.
local function enter(session)
  local found = call('HMGET', SESSIONS, session, 'watched', 'stamp')
  watched_until, last_stamp = tonumber(found[2] or 0), tonumber(found[3] or 0)
  if not found[1] then
    return nil
  end
  call('ZADD', SEEN, NOW, session)
  local _, pid = cmsgpack.unpack(found[1])
  return pid
end

-- Never the same twice, never backwards: arrival, tie-break and fencing token.
local function stamp()
  last_stamp = math.max(now, (last_stamp or tonumber(call('HGET', SESSIONS, 'stamp') or 0)) + 1)
  call('HSET', SESSIONS, 'stamp', whole(last_stamp))
  return last_stamp
end

local function read_row(packed)
  local request, name, mode, owner, family, label, note, priority, session, pid, requested, since, token, waited, rank,
    ticket, max_hold = cmsgpack.unpack(packed)
  if not max_hold then
    error('damaged: a request has too few fields')
  end
  return {
    request = request, name = name, mode = mode, owner = owner, family = family, label = label, note = note,
    priority = priority, session = session, pid = pid, requested = requested, since = since, token = token,
    waited = waited, rank = rank, ticket = ticket, max_hold = max_hold,
  }
end

local function write_row(row)
  call('HSET', REQUESTS, row.request, cmsgpack.pack(row.request, row.name, row.mode, row.owner, row.family, row.label,
    row.note, row.priority, row.session, row.pid, row.requested, row.since, row.token, row.waited, row.rank, row.ticket,
    row.max_hold))
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
