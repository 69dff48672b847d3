-- moved request, before request, name
local moved, before = find(ARGV[1]), find(ARGV[2])
if not moved or not before or is_held(moved) or is_held(before) or moved.name ~= before.name then
  return '{"moved":false}'
end
if moved.rank < before.rank or moved.rank == before.rank and moved.ticket <= before.ticket then
  return '{"moved":false}'
end
local rule = load_rule()
rule.dequeue(moved)
moved.rank = before.rank - 1
rule.enqueue(moved)
rule.walk(moved.name)
return '{"moved":true}'
