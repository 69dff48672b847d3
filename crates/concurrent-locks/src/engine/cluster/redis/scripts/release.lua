-- session, request, name, ending
local session, request, ending = ARGV[1], ARGV[2], ARGV[4]
if not enter(session) then
  return UNKNOWN
end
local row = find(request)
if not row or not is_held(row) then
  return '{"lost":{}}'
end
let_go(row, ending, 'release')
if call('ZRANGEBYLEX', QUEUE, '[' .. row.name .. '\0', '(' .. row.name .. '\1', 'LIMIT', 0, 1)[1] then
  load_rule().walk(row.name)
end
return '{"released":{}}'
