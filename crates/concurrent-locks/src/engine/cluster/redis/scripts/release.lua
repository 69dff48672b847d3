-- session, request, name, ending. `quick/release.lua` has read the row.
local row = packed and read_row(packed)
if not row or not is_held(row) then
  return '{"lost":{}}'
end
let_go(row, ARGV[4], 'release')
load_rule().walk(row.name)
return '{"released":{}}'
