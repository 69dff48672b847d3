-- name or nothing, cursor or nothing
local rule, history = load_rule(), load_history()

-- Rows by name and mode: grants that are held are counted from them.
local current = {}
local function add(kind, rows)
  for _, row in ipairs(rows) do
    local modes = current[row.name]
    if not modes then
      modes = { read = { held = {}, waiting = {} }, write = { held = {}, waiting = {} } }
      current[row.name] = modes
    end
    table.insert(modes[row.mode][kind], row)
  end
end
local function add_all_of(name)
  add('held', rule.holders(name))
  add('waiting', rule.waiters(name))
end

-- Of all names some at a time, so that nobody waits long for this: `cursor` says where to continue.
local names, next_cursor = {}, '0'
if ARGV[1] ~= '' then
  names[1] = ARGV[1]
else
  local cursor = ARGV[2] ~= '' and ARGV[2] or '0'
  local page = call('ZSCAN', PREFIX .. 'names', cursor, 'COUNT', 256)
  next_cursor = page[1]
  for index = 1, #page[2], 2 do
    names[#names + 1] = page[2][index]
  end
  if cursor == '0' then
    -- What has not been released yet is in no list of names.
    local last
    for _, queue in ipairs({ { HOLDERS, '-' }, { QUEUE, '[\1' } }) do
      for _, member in ipairs(call('ZRANGEBYLEX', queue[1], queue[2], '+')) do
        local name = member:match('^%Z*')
        if name ~= last and not call('ZSCORE', PREFIX .. 'names', name) then
          names[#names + 1] = name
        end
        last = name
      end
    end
  end
end
local listed = {}
for _, name in ipairs(names) do
  if not listed[name] then
    listed[name] = true
    listed[#listed + 1] = name
    add_all_of(name)
  end
end
names = listed

local function times_json(what, times)
  return ',"' .. what .. '_sum":' .. whole(times.sum) .. ',"' .. what .. '_min":' .. whole(times.min) .. ',"' .. what
    .. '_max":' .. whole(times.max)
end

local function buckets_json(times)
  local texts = {}
  for bucket, count in pairs(times.buckets) do
    texts[#texts + 1] = '"' .. whole(bucket) .. '":' .. whole(count)
  end
  return '{' .. table.concat(texts, ',') .. '}'
end

local function operation(kind, at, micros, label, pid, token)
  local text = '{"type":"' .. kind .. '","timestamp":' .. whole(at) .. ',"time":' .. whole(micros) .. ',"requester":'
    .. quote(label) .. ',"pid":' .. whole(pid) .. ',"token":' .. whole(token) .. '}'
  return { at = at, text = text }
end

-- An entry of a grant is two operations: how it came, and how it ended.
local function add_operations(operations, ending, mode, label, pid, token, at, waited, held)
  local list = operations[mode]
  if held >= 0 then
    list[#list + 1] = operation('acquire', at, waited, label, pid, token)
    list[#list + 1] = operation(ending == 'normal' and 'release' or 'error', at + held, held, label, pid, token)
  else
    list[#list + 1] = operation(ending == 'timeout' and 'timeout' or 'error', at, waited, label, pid, token)
  end
end

local function operations_json(list)
  for index, one in ipairs(list) do
    one.index = index
  end
  table.sort(list, function(a, b)
    return a.at < b.at or a.at == b.at and a.index < b.index
  end)
  local texts = {}
  for index = math.max(1, #list - history.KEPT + 1), #list do
    texts[#texts + 1] = list[index].text
  end
  return table.concat(texts, ',')
end

local texts = {}
for _, name in ipairs(names) do
  local list = call('LRANGE', STAT .. name, 0, -1)
  local sum, first = history.sum_of(list)
  local operations = { read = {}, write = {} }
  for index = first, #list do
    history.count(sum, cmsgpack.unpack(list[index]))
    add_operations(operations, cmsgpack.unpack(list[index]))
  end
  for _, mode in ipairs({ 'read', 'write' }) do
    local rows = current[name] and current[name][mode] or { held = {}, waiting = {} }
    for _, row in ipairs(rows.held) do
      history.count_grant(sum, mode, row.since, row.waited)
      table.insert(operations[mode], operation('acquire', row.since, row.waited, row.label, row.pid, row.token))
    end
    local numbers = sum[mode]
    if numbers.waits.count + numbers.holds.count + numbers.timeouts + numbers.errors + #rows.held + #rows.waiting > 0 then
      texts[#texts + 1] = '{"name":' .. quote(name) .. ',"mode":"' .. mode .. '","acquisitions":'
        .. whole(numbers.waits.count) .. ',"releases":' .. whole(numbers.holds.count) .. ',"timeouts":'
        .. whole(numbers.timeouts) .. ',"errors":' .. whole(numbers.errors) .. ',"deadlocks":'
        .. whole(numbers.deadlocks) .. times_json('wait', numbers.waits) .. times_json('hold', numbers.holds)
        .. ',"waits":' .. buckets_json(numbers.waits) .. ',"holds":' .. buckets_json(numbers.holds) .. ',"holders":'
        .. whole(#rows.held) .. ',"waiters":' .. whole(#rows.waiting) .. ',"operations":['
        .. operations_json(operations[mode]) .. ']}'
    end
  end
end
return '{"now":' .. NOW .. ',"resources":[' .. table.concat(texts, ',') .. '],"next":' .. (next_cursor == '0' and 'null' or quote(next_cursor)) .. '}'
