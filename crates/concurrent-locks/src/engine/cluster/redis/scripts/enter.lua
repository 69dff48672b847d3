-- Part of every script of a session: it is alive, and known.
local found = call('HMGET', SESSIONS, ARGV[1], 'watched', 'stamp')
watched_until, last_stamp = tonumber(found[2] or 0), tonumber(found[3] or 0)
if not found[1] then
  return '{"unknown":{}}'
end
call('ZADD', SEEN, NOW, ARGV[1])
