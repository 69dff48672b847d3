-- request: its session is asked to search for a deadlock, if it waits.
local row = find(ARGV[1])
if row and not is_held(row) then
  push(row.session, '{"look":' .. quote(row.request) .. '}')
end
return '{}'
