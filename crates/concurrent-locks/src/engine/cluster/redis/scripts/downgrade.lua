-- session, request, name: a write grant becomes a read grant, without a gap and with the same token.
local session, request = ARGV[1], ARGV[2]
local row = find(request)
if not row or not is_held(row) then
  return '{"lost":{}}'
end
if row.mode == 'write' then
  local held = math.max(now - row.since, 0)
  keep(row.name, 'normal', row.mode, row.label, row.pid, row.token, row.since, row.waited, held)
  call('ZREM', HOLDERS, holder_member(row))
  row.mode = 'read'
  if row.max_hold > 0 then
    row.max_hold = math.max(row.max_hold - held, 1)
  end
  row.since, row.waited = now, 0
  write_row(row)
  call('ZADD', HOLDERS, 0, holder_member(row))
  load_rule().walk(row.name)
end
return grant_json(row)
