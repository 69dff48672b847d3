-- session: it ends, and what it still holds or waits for goes back.
local session = ARGV[1]
local rule = load_rule()
local rows, cursor = {}, '0'
repeat
  local found = call('HSCAN', REQUESTS, cursor, 'MATCH', session .. '.*', 'COUNT', 1000)
  cursor = found[1]
  for index = 1, #found[2], 2 do
    rows[#rows + 1] = found[2][index]
  end
until cursor == '0'

-- What waits goes first, so that nothing is handed on to it.
local held = {}
for _, id in ipairs(rows) do
  local row = find(id)
  if row and is_held(row) then
    held[#held + 1] = row
  elseif row then
    rule.give_up(row, 'cancel')
    rule.walk(row.name)
  end
end
for _, row in ipairs(held) do
  if find(row.request) then
    let_go(row, 'normal', 'release')
    rule.walk(row.name)
  end
end
call('ZREM', SEEN, session)
call('HDEL', SESSIONS, session)
return '{}'
