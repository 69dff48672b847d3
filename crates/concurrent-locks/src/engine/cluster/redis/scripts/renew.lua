-- session, lease, ids held, ids waiting, names of what waits (not needed: the rows know them)
local session, lease, held_ids, waiting_ids = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local known_lease, pid, host, program = cmsgpack.unpack(found[1])
if known_lease ~= lease then
  call('HSET', SESSIONS, session, cmsgpack.pack(lease, pid, host, program))
end

local rule = load_rule()
local lost, granted = {}, {}

for id in held_ids:gmatch('[^,]+') do
  local row = find(id)
  if row and rule.expired(row) then
    rule.reap(row)
    rule.walk(row.name)
    row = nil
  end
  if not row or not is_held(row) then
    lost[#lost + 1] = quote(id)
  end
end

-- Each name once, however many of the session's requests wait for it.
local names, ticked = {}, {}
for id in waiting_ids:gmatch('[^,]+') do
  local row = find(id)
  if row and not is_held(row) and not ticked[row.name] then
    ticked[row.name] = true
    names[#names + 1] = row.name
  end
end
local next_expiry
for _, name in ipairs(names) do
  local at = rule.tick(name)
  if at and (not next_expiry or at < next_expiry) then
    next_expiry = at
  end
end
for id in waiting_ids:gmatch('[^,]+') do
  local row = find(id)
  if not row then
    lost[#lost + 1] = quote(id)
  elseif is_held(row) then
    granted[#granted + 1] = '{"request":' .. quote(id) .. ',' .. grant_json(row):sub(#'{"granted":{' + 1, -2)
  end
end

-- What nobody asks for is in nobody's way; some of it is looked at now and then, so that nothing of
-- those who are gone for a day stays.
local SWEEP_EVERY, GONE = 10000000, 86400000000
local sweep = call('HMGET', COUNTERS, 'sweep', 'sweep_cursor')
if tonumber(sweep[1] or 0) <= now then
  local scanned = call('HSCAN', REQUESTS, sweep[2] or '0', 'COUNT', 16)
  call('HSET', COUNTERS, 'sweep', whole(now + SWEEP_EVERY), 'sweep_cursor', scanned[1])
  for _, gone in ipairs(call('ZRANGEBYSCORE', SEEN, '-inf', whole(now - GONE), 'LIMIT', 0, 16)) do
    call('ZREM', SEEN, gone)
    call('HDEL', SESSIONS, gone)
  end
  for index = 1, #scanned[2], 2 do
    local row = find(scanned[2][index])
    if row and call('HEXISTS', SESSIONS, row.session) == 0 then
      rule.reap(row)
      rule.walk(row.name)
    end
  end
  local names_key = PREFIX .. 'names'
  for _, name in ipairs(call('ZRANGEBYSCORE', names_key, '-inf', whole(now - GONE), 'LIMIT', 0, 16)) do
    if call('EXISTS', STAT .. name) == 1 then
      note_name(name)
    else
      call('ZREM', names_key, name)
    end
  end
end

return '{"now":' .. NOW .. ',"lost":[' .. table.concat(lost, ',') .. '],"granted":[' .. table.concat(granted, ',')
  .. '],"next":' .. (next_expiry and whole(next_expiry) or 'null') .. '}'
