-- name or nothing. A grant that is held counts as one from before.
local history = load_history()
local names_key = PREFIX .. 'names'

local function reset(name)
  local key = STAT .. name
  call('DEL', key)
  if look(name).writer or look(name).reader then
    call('RPUSH', key, cmsgpack.pack('sum', history.new_sum(now)))
    call('EXPIRE', key, HISTORY_SECONDS)
    note_name(name)
  else
    call('ZREM', names_key, name)
  end
end

if ARGV[1] ~= '' then
  reset(ARGV[1])
else
  for _, name in ipairs(call('ZRANGE', names_key, 0, -1)) do
    reset(name)
  end
  -- What is held for the first time has no history yet.
  for _, row in ipairs(load_rule().holders()) do
    reset(row.name)
  end
end
return '{}'
