-- name, token: takes the lock from the holder with this token, re-entries included.
local name, token = ARGV[1], tonumber(ARGV[2])
local rule, view = load_rule(), load_view()
local revoked
for _, row in ipairs(rule.holders(name)) do
  if row.token == token then
    let_go(row, 'broken', not revoked and 'broken' or nil)
    push(row.session, '{"lost":' .. quote(row.request) .. '}')
    revoked = revoked or row
  end
end
if not revoked then
  return '{"none":{}}'
end
local text = view.row(revoked)
rule.walk(name)
return '{"revoked":' .. text .. '}'
