-- name or nothing
local name = ARGV[1] ~= '' and ARGV[1] or nil
local rule, view = load_rule(), load_view()

-- Reaps what is expired among the rows, and notes whose queue moves on.
local function reap(rows, names)
  for _, row in ipairs(rows) do
    if rule.expired(row) then
      rule.reap(row)
      names[row.name] = true
    end
  end
end

local holders, waiters = rule.holders(name), rule.waiters(name)
local moved = {}
reap(holders, moved)
reap(waiters, moved)
if next(moved) then
  for moved_name in pairs(moved) do
    rule.walk(moved_name)
  end
  holders, waiters = rule.holders(name), rule.waiters(name)
end

local order, resources = {}, {}
local function add(kind, rows)
  for _, row in ipairs(rows) do
    local resource = resources[row.name]
    if not resource then
      resource = { held = {}, waiting = {} }
      resources[row.name] = resource
      order[#order + 1] = row.name
    end
    table.insert(resource[kind], row)
  end
end
add('held', holders)
add('waiting', waiters)

local texts = {}
for index, resource_name in ipairs(order) do
  local resource = resources[resource_name]
  local held, waiting = view.held(resource.held), view.rows(resource.waiting)
  texts[index] = '{"name":' .. quote(resource_name) .. ',"rows":[' .. held
    .. ((held ~= '' and waiting ~= '') and ',' or '') .. waiting .. ']}'
end
return '{"now":' .. NOW .. ',"resources":[' .. table.concat(texts, ',') .. ']}'
