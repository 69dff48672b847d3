-- session, request, name, mode, owner, ancestors, label, note, priority, wait, max_hold
local session, request, name, mode, owner, ancestors, label, note, priority, wait, max_hold = unpack(ARGV)
local pid = enter(session)
if not pid then
  return UNKNOWN
end

local row = {
  request = request, name = name, mode = mode, owner = owner, family = ancestors:match('^[^.]+') or owner,
  label = label, note = note, priority = tonumber(priority), session = session, pid = pid, requested = now, since = 0,
  token = 0, waited = 0, rank = 0, ticket = 0, max_hold = tonumber(max_hold),
}

local function grant(token)
  hold(row, token)
  event('grant', row, 0)
  return grant_json(row)
end

local held = look(name)
if not held.writer and not held.reader then
  -- Nobody holds it, so nobody waits, and this request is not a repeated one.
  row.ticket = stamp()
  row.rank = row.ticket - row.priority * HEAD_START
  return grant(row.ticket)
end

local known = find(request)
if known then
  return is_held(known) and grant_json(known) or '{"queued":{}}'
end

local rule = load_rule()

-- Grants, or says with which rank the request would have to wait.
local function arrive()
  row.owner = owner
  for ancestor in ancestors:gmatch('[^.]+') do
    if rule.own_mode(name, ancestor, held) then
      row.owner = ancestor
      break
    end
  end
  local own = rule.own_mode(name, row.owner, held)
  if not rule.covers(own, mode) then
    row.ticket = row.ticket > 0 and row.ticket or stamp()
    row.rank = own and 0 or row.ticket - row.priority * HEAD_START
    return rule.admits(held, row.owner, mode) and rule.is_next(row) and grant(row.ticket)
  end
  row.ticket = stamp()
  row.rank = row.ticket - row.priority * HEAD_START
  return grant(rule.own_token(name, row.owner, own))
end

local granted = arrive()
if not granted then
  -- What is in the way may be dead.
  rule.tick(name)
  if rule.reaped > 0 then
    held = look(name)
    granted = arrive()
  end
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
