-- Part of every script: the keys and the clock.
--
-- The whole state of a space is in the keys below, all in one slot; a script is atomic.
--
--   requests  HASH    request id -> row (MessagePack, `read_row`)
--   holders   ZSET    name \0 W|r \0 owner \0 request id; all scores 0, so the order is that of bytes:
--                     the first member of a name is a writer if there is one, readers stand by owner
--   queue     ZSET    name \0 rank \0 ticket \0 request id, and for the same request
--                     \0 owner \0 name \0 request id (names are not empty, so the two kinds keep apart)
--   seen      ZSET    session -> its last contact
--   sessions  HASH    session -> lease, pid, host, program (MessagePack). Here, because every verb of
--                     a session reads it: `stamp`, the last one; `watched`, until when somebody looks
--                     at the events of grants and releases
--   counters  HASH    sequence of the last event, reaped, deadlocks, sweep, sweep_cursor; past, epoch (`hello.lua`)
--   events    STREAM  <sequence>-0 -> JSON
--   orders    HASH    earlier \0 later -> label
--   names     ZSET    name that has a history -> when it was noted last
--   stat:NAME LIST    the history of one name (`history.lua`)
--
-- Nobody waits for a name that nobody holds: a verb that removes a holder walks along the queue.
local REQUESTS, HOLDERS, QUEUE, SEEN, SESSIONS, COUNTERS, EVENTS, ORDERS =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local PREFIX = REQUESTS:sub(1, -#'requests' - 1)
local HISTORY_SECONDS = 86400
local HEAD_START = 1000000

local call, quote = redis.call, cjson.encode
local time = call('TIME')
local now = time[1] * 1000000 + time[2]

-- Whole numbers have up to 16 digits here: Lua's own text of them, and that of cjson, has 14.
local function whole(number)
  return string.format('%.0f', number)
end

local NOW = whole(now)

-- A verb that has read these caches them, so that they are read only once.
local watched_until, last_stamp
