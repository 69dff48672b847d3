-- session, request: whether this request is held.
local session, request = ARGV[1], ARGV[2]
local row = find(request)
if row and is_held(row) then
  local rule = load_rule()
  if not rule.expired(row) then
    return '{"held":{"token":' .. whole(row.token) .. ',"since":' .. whole(row.since) .. '}}'
  end
  rule.reap(row)
  rule.walk(row.name)
end
return '{"lost":{}}'
