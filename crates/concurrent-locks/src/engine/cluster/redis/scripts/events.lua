-- cursor or nothing, limit. The caller counts as watching for the next 10 s.
local WATCHED = 10000000
local cursor, limit = tonumber(ARGV[1]), ARGV[2]
call('HSET', SESSIONS, 'watched', whole(now + WATCHED))
local following = tonumber(call('HGET', COUNTERS, 'sequence') or 0) + 1
if not cursor then
  return '{"events":[],"next":' .. whole(following) .. '}'
end
local texts = {}
for index, entry in ipairs(call('XRANGE', EVENTS, whole(cursor), '+', 'COUNT', limit)) do
  following = tonumber(entry[1]:match('^%d+')) + 1
  texts[index] = entry[2][2]
end
return '{"events":[' .. table.concat(texts, ',') .. '],"next":' .. whole(following) .. '}'
