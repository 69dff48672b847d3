-- session, request, name, why, keep, still
local session, request, why, keep_grant, still = ARGV[1], ARGV[2], ARGV[4], ARGV[5], ARGV[6]
local row = find(request)
local rule = load_rule()
if why == 'deadlock' then
  -- A cycle that has ended in the meantime refuses nobody.
  local closed = row and not is_held(row)
  for id in still:gmatch('[^,]+') do
    local other = find(id)
    closed = closed and other and not is_held(other)
  end
  if not closed then
    return '{"stays":{}}'
  end
  call('HINCRBY', COUNTERS, 'deadlocks', 1)
elseif not row then
  return '{"gone":{}}'
elseif is_held(row) then
  if keep_grant == '1' then
    return grant_json(row)
  end
  let_go(row, 'normal', 'release')
  rule.walk(row.name)
  return '{"released":{}}'
end

local report = '{"left":{' .. load_view().busy(rule, row.name) .. ',"position":' .. whole(rule.position(row)) .. '}}'
rule.give_up(row, why)
rule.walk(row.name)
return report
