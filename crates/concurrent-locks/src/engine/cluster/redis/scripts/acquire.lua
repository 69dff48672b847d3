-- session, request, name, mode, owner, ancestors, label, note, priority, wait, max_hold. What
-- `quick/acquire.lua` did not grant.
local session, _, _, mode, _, ancestors, label, note, priority, wait, max_hold = unpack(ARGV)
local known = find(request)
if known then
  return is_held(known) and grant_json(known) or '{"queued":{}}'
end

local _, pid = cmsgpack.unpack(found[1])
local row = {
  request = request, name = name, mode = mode, owner = owner, family = ancestors:match('^[^.]+') or owner,
  label = label, note = note, priority = tonumber(priority), session = session, pid = pid, requested = now, since = 0,
  token = 0, waited = 0, rank = 0, ticket = stamp(), max_hold = tonumber(max_hold),
}
local rule = load_rule()

-- Grants, or leaves the rank with which the request would have to wait.
local function arrive()
  local held = look(name)
  row.owner = owner
  for ancestor in ancestors:gmatch('[^.]+') do
    if rule.own_mode(name, ancestor, held) then
      row.owner = ancestor
      break
    end
  end
  local own = rule.own_mode(name, row.owner, held)
  local enters_again = rule.covers(own, mode)
  row.rank = own and not enters_again and 0 or row.ticket - row.priority * HEAD_START
  if not enters_again and not (rule.admits(held, row.owner, mode) and rule.is_next(row)) then
    return nil
  end
  hold(row, enters_again and rule.own_token(name, row.owner, own) or row.ticket)
  event('grant', row, 0)
  return grant_json(row)
end

local granted = arrive()
if not granted then
  -- What is in the way may be dead.
  rule.tick(name)
  granted = rule.reaped > 0 and arrive()
end
if granted then
  return granted
end
if wait == '0' then
  return '{"busy":{' .. load_view().busy(rule, name) .. '}}'
end
rule.enqueue(row)
event('wait', row, 0)
return '{"queued":{}}'
