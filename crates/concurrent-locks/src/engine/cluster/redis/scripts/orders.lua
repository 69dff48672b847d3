local texts = {}
local found = call('HGETALL', ORDERS)
for index = 1, #found, 2 do
  local first, second = found[index]:match('^(%Z*)%z(%Z*)$')
  texts[#texts + 1] = '{"first":' .. quote(first) .. ',"second":' .. quote(second) .. ',"label":'
    .. quote(found[index + 1]) .. '}'
end
return '{"orders":[' .. table.concat(texts, ',') .. '],"deadlocks":'
  .. (call('HGET', COUNTERS, 'deadlocks') or '0') .. '}'
